"""Executions over HTTP, each test in a transaction that is rolled back."""

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from examples.executions import running
from examples.executions.models import Execution
from examples.executions.tests.conftest import Login, Run
from examples.executions.tools import ToolError
from examples.executions.unit_of_work import ExecutionsUnitOfWork
from layered_backend import background_idle

TEXT = "The  cat sat on the mat. Cats like mats , and the mat likes the cat. It weighs 5 kg."


@pytest.fixture
async def ann(login: Login) -> Mapping[str, str]:
    return await login("north/ann")


async def test_a_crew_does_its_tasks_one_after_the_other(client: httpx2.AsyncClient, ann: Any, run: Run) -> None:
    execution = await run(ann, "Reading room", TEXT)

    assert (execution["status"], execution["done"], execution["total"]) == ("COMPLETED", 4, 4)
    assert execution["name"] == "Reading room: cat, mat, sat"
    assert execution["result"]["tidy"].startswith("The cat sat on the mat. Cats like mats, and")
    assert execution["result"]["summary"] == "Cats like mats, and the mat likes the cat."
    assert execution["started_at"] <= execution["ended_at"]
    logs = (await client.get(f"/executions/{execution['id']}/logs", headers=ann)).json()
    assert [(entry["position"], entry["step"], entry["tool"]) for entry in logs] == [
        (1, "tidy", "tidier"),
        (2, "summary", "summariser"),
        (3, "keywords", "keyword extractor"),
        (4, "readability", "readability"),
    ]
    assert {entry["step"]: entry["output"] for entry in logs} == execution["result"]
    assert all(entry["milliseconds"] > 0 for entry in logs)


async def test_a_flow_gives_each_step_what_it_waits_for(ann: Any, run: Run) -> None:
    result = (await run(ann, "Full report", TEXT, "flow"))["result"]

    assert result["words of the summary"] == "9 words, 1 sentences, 42 characters"
    assert result["in short"] == " ".join([result["words"], result["readability"], result["summary"]])


async def test_a_tool_that_cannot_do_it_fails_the_execution_with_its_message(
    client: httpx2.AsyncClient, ann: Any, run: Run
) -> None:
    execution = await run(ann, "Travel desk", "nothing to convert")

    assert (execution["status"], execution["done"]) == ("FAILED", 0)
    assert execution["error"] == "convert: there is no length or weight to convert"
    failed = (await client.get("/executions", params={"status": "FAILED"}, headers=ann)).json()["items"]
    assert [each["id"] for each in failed] == [execution["id"]]


@pytest.mark.parametrize(
    ("error", "message"), [(ValueError("of the tool"), "of the tool"), (ToolError("cannot"), "cannot")]
)
async def test_a_task_that_raises_anything_fails_the_execution(
    ann: Any, run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def broken(*_: object) -> str:
        raise error

    monkeypatch.setattr(running, "use", broken)

    execution = await run(ann, "Travel desk", TEXT)

    assert (execution["status"], execution["error"]) == ("FAILED", f"convert: {message}")


async def test_a_step_that_takes_too_long_fails_the_execution(
    ann: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = threading.Event()

    def slow(*_: object) -> str:
        is_over.wait(20)
        return ""

    monkeypatch.setattr(running, "use", slow)
    monkeypatch.setattr(running, "run_execution", partial(_run_in_a_moment, running.run_execution))

    execution = await run(ann, "Travel desk", TEXT)
    is_over.set()

    assert (execution["status"], execution["error"]) == ("FAILED", "convert: it took more than 0.05 seconds")


async def _run_in_a_moment(run: Any, uow: ExecutionsUnitOfWork, execution_id: UUID, step_limit: float) -> None:
    """Run an execution whose steps may hardly take any time."""
    await run(uow, execution_id, 0.05)


async def test_one_that_runs_is_cancelled_after_its_step(
    client: httpx2.AsyncClient, app: FastAPI, ann: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on, used = threading.Event(), list[str]()

    def waits(function: str, *_: object) -> str:
        used.append(function)
        may_go_on.wait(20)
        return "done"

    monkeypatch.setattr(running, "use", waits)
    created = await _created(client, ann, "Reading room")
    await _until(lambda: bool(used))
    path = f"/executions/{created['id']}"

    cancelled = await client.post(f"{path}/cancel", headers=ann)
    may_go_on.set()
    await background_idle(app)

    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "CANCELLED")
    execution = (await client.get(path, headers=ann)).json()
    assert (execution["status"], execution["done"], execution["result"], len(used)) == ("CANCELLED", 0, None, 1)
    again = await client.post(f"{path}/cancel", headers=ann)
    assert (again.status_code, again.json()) == (409, {"detail": "The execution has ended"})


async def test_one_that_waits_is_cancelled_and_never_begins(
    client: httpx2.AsyncClient, app: FastAPI, ann: Any, captured_hooks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(*_: object) -> str:
        pytest.fail("it has begun")

    monkeypatch.setattr(running, "use", begun)
    created = await _created(client, ann, "Reading room")
    await client.post(f"/executions/{created['id']}/cancel", headers=ann)

    await captured_hooks.run()
    await background_idle(app)

    execution = (await client.get(f"/executions/{created['id']}", headers=ann)).json()
    assert (execution["status"], execution["started_at"]) == ("CANCELLED", None)


async def test_a_text_that_grows_with_each_step_has_an_end(
    client: httpx2.AsyncClient, ann: Mapping[str, str], run: Run
) -> None:
    names = [f"s{number}" for number in range(50)]
    steps = [{"name": name, "tool": "tidier", "after": names[max(0, at - 2) : at]} for at, name in enumerate(names)]
    await client.post("/flows", json={"name": "Growing", "plan": {"steps": steps}}, headers=ann)

    execution = await run(ann, "Growing", "tea " * 100, "flow")

    assert execution["status"] == "FAILED"
    assert execution["error"].endswith(": the text has more than 15,000 characters")


async def test_a_step_reads_what_it_comes_after_even_if_that_is_nothing(
    client: httpx2.AsyncClient, ann: Mapping[str, str], run: Run
) -> None:
    steps = [
        {"name": "words", "tool": "keyword extractor"},
        {"name": "count", "tool": "word counter", "after": ["words"]},
    ]
    await client.post("/flows", json={"name": "Nothing", "plan": {"steps": steps}}, headers=ann)

    execution = await run(ann, "Nothing", "1 2 3", "flow")

    assert execution["result"] == {"words": "", "count": "0 words, 0 sentences, 0 characters"}


async def test_what_is_refused_is_not_started(client: httpx2.AsyncClient, ann: Any, login: Login) -> None:
    operator = await login("shared/operator")
    plan = (await client.get("/crews", params={"name": "Travel"}, headers=ann)).json()["items"][0]
    body = {"kind": "crew", "plan_id": plan["id"], "text": TEXT}

    as_flow = await client.post("/executions", json={**body, "kind": "flow"}, headers=ann)
    tools = (await client.get("/tools", params={"name": "unit"}, headers=operator)).json()["items"]
    await client.delete(f"/tools/{tools[0]['id']}", headers=operator)
    without_tool = await client.post("/executions", json=body, headers=ann)

    assert (as_flow.status_code, as_flow.json()) == (404, {"detail": "Flow not found"})
    assert without_tool.status_code == 422
    assert without_tool.json() == {"detail": "No tool or configuration in effect is called unit converter"}
    assert (await client.get("/executions", headers=ann)).json()["items"] == []


async def test_lists_are_filtered_sorted_and_walked(client: httpx2.AsyncClient, ann: Any, run: Run) -> None:
    for number in range(3):
        await run(ann, "Full report", f"tea number {'abc'[number]}", "flow")
    await run(ann, "Travel desk", "5 kg")

    async def names(**query: Any) -> list[str]:
        page = (await client.get("/executions", params=query, headers=ann)).json()
        return [each["name"] for each in page["items"]]

    assert len(await names(kind="flow")) == 3
    assert await names(name="NUMBER, B") == ["Full report: tea, number, b"]
    assert await names(sort="name", status=["FAILED", "COMPLETED"]) == sorted(await names())
    assert (await names())[0] == "Travel desk: kg"
    walked: list[str] = []
    query: dict[str, Any] = {"size": 2, "sort": "-name"}
    while query:
        page = (await client.get("/executions", params=query, headers=ann)).json()
        walked += [each["name"] for each in page["items"]]
        query = {**query, "cursor": page["next"]} if page["next"] else {}
    assert walked == sorted(await names(), reverse=True)


async def test_a_name_is_generated_without_an_execution(client: httpx2.AsyncClient, ann: Any) -> None:
    plan = (await client.get("/flows", params={"name": "Full"}, headers=ann)).json()["items"][0]
    body = {"kind": "flow", "plan_id": plan["id"], "text": "Tea, tea and sugar"}

    answer = await client.post("/executions/generate-name", json=body, headers=ann)

    assert (answer.status_code, answer.json()) == (200, {"name": "Full report: tea, sugar"})
    assert (await client.get("/executions", headers=ann)).json()["items"] == []


async def test_its_events_tell_of_each_change_until_it_has_ended(
    client: httpx2.AsyncClient, ann: Any, run: Run
) -> None:
    execution = await run(ann, "Reading room", TEXT)

    answer = await client.get(f"/executions/{execution['id']}/events", headers=ann)

    assert answer.headers["content-type"].startswith("text/event-stream")
    told = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert [(each["id"], each["status"], each["done"]) for each in told] == [(execution["id"], "COMPLETED", 4)]


async def test_one_whose_process_has_died_is_ended(
    client: httpx2.AsyncClient, ann: Any, captured_hooks: Any, uow: ExecutionsUnitOfWork
) -> None:
    dead, alive = [(await _created(client, ann, "Reading room"))["id"] for _ in range(2)]
    with uow.without("tenant"):
        long_ago = datetime.now(UTC) - timedelta(seconds=1)
        await uow.executions.update_where(Execution.id == UUID(dead), values={"lease_until": long_ago})

        await running.end_abandoned(uow)

    found = {each["id"]: each for each in (await client.get("/executions", headers=ann)).json()["items"]}
    assert (found[dead]["status"], found[dead]["error"]) == ("FAILED", "The server stopped before it had ended")
    assert found[alive]["status"] == "PENDING"


async def test_one_that_the_server_cannot_go_on_with_has_failed(
    client: httpx2.AsyncClient, ann: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> float:
        raise KeyError("of the server's")

    monkeypatch.setattr(running, "perf_counter", broken)

    execution = await run(ann, "Reading room", TEXT)

    assert (execution["status"], execution["error"]) == ("FAILED", "The server could not go on with it")


async def _created(client: httpx2.AsyncClient, headers: Any, name: str) -> dict[str, Any]:
    plan = (await client.get("/crews", params={"name": name}, headers=headers)).json()["items"][0]
    body = {"kind": "crew", "plan_id": plan["id"], "text": TEXT}
    execution: dict[str, Any] = (await client.post("/executions", json=body, headers=headers)).json()
    return execution


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110  # a thread makes it so
            await asyncio.sleep(0.01)
