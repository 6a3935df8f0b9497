"""A group never learns of another's rows: each operation of the OpenAPI document is tried with each row of others."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from examples.executions import events
from examples.executions.__main__ import add_user
from examples.executions.models import Execution, Table
from examples.executions.seeds.groups import PASSWORD
from examples.executions.tests.conftest import Login, Run
from examples.executions.tests.requests_of import Operation, operations_of, with_key
from examples.executions.unit_of_work import ExecutionsUnitOfWork
from layered_backend import Database, background_idle

Headers = Mapping[str, str]
MARK = "zebra"  # in all that others write, and in nothing else
FLOW = {"steps": [{"name": f"{MARK} step", "tool": "tidier"}]}
CREW = {"agents": [{"name": MARK}], "tasks": [{"name": f"{MARK} task", "agent": MARK, "tool": "tidier"}]}


@dataclass
class Others:
    """The rows of another group.

    Attributes:
        keys: Their ids.
        cursors: Of their lists.
    """

    keys: list[str]
    cursors: list[str]


@pytest.fixture(autouse=True)
def short_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LIMIT", 0.2)


async def rows_of(client: httpx2.AsyncClient, headers: Headers, run: Run) -> Others:
    """Write rows of every kind, and return them."""
    bodies: dict[str, dict[str, Any]] = {
        "/tools": {"name": f"{MARK} tool", "function": "tidy", "description": MARK},
        "/crews": {"name": f"{MARK} crew", "plan": CREW},
        "/flows": {"name": f"{MARK} flow", "plan": FLOW},
    }
    keys = list[str]()
    for path, body in bodies.items():
        answer = await client.post(path, json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        keys.append(answer.json()["id"])
    keys += [(await run(headers, f"{MARK} flow", f"{MARK} stripes", "flow"))["id"] for _ in range(2)]
    keys.append((await run(headers, f"{MARK} crew", f"{MARK} stripes"))["id"])
    keys += [row["id"] for row in (await client.get("/groups", headers=headers)).json()["items"]]
    first = await client.get("/executions", params={"size": 1}, headers=headers)
    return Others(keys, [first.json()["next"]])


@pytest.fixture
async def bobs(client: httpx2.AsyncClient, login: Login, run: Run) -> Others:
    return await rows_of(client, await login("south/bob"), run)


@pytest.fixture
async def ann(login: Login) -> Headers:
    return {**await login("north/ann"), "X-Request-ID": "the-same"}


async def send(
    client: httpx2.AsyncClient, operation: Operation, headers: Headers, key: str, query: Mapping[str, Any] | None = None
) -> httpx2.Response:
    path = re.sub(r"\{[^}]+\}", key, operation.path)
    body: Any = with_key(operation.body, key)
    content: dict[str, Any] = {} if body is None else {"data" if operation.is_form else "json": body}
    return await client.request(operation.method, path, headers=headers, params=query, **content)


def told(answer: httpx2.Response) -> tuple[int, dict[str, str], bytes]:
    """Return all that an answer says."""
    return answer.status_code, {name: value for name, value in answer.headers.items() if name != "date"}, answer.content


def assert_nothing_of(others: Others, answer: httpx2.Response, asked: str = "") -> None:
    text = answer.text.replace(asked, "") if asked else answer.text
    assert MARK not in text, f"{answer.request.method} {answer.request.url}: {answer.text}"
    for key in others.keys:
        assert key not in text, f"{answer.request.method} {answer.request.url}: {answer.text}"


def operations(app: FastAPI) -> list[Operation]:
    found = list(operations_of(app.openapi()))
    assert len(found) >= 22
    return found


async def test_a_foreign_id_and_a_missing_one_give_the_same_answer(
    client: httpx2.AsyncClient, app: FastAPI, ann: Headers, bobs: Others, uow: ExecutionsUnitOfWork
) -> None:
    tried = 0
    before = await snapshot(uow)
    for operation in operations(app):
        if operation.keys or "{key}" in json.dumps(operation.body):
            missing = told(await send(client, operation, ann, str(uuid4())))
            assert missing[0] in {404, 405}, (str(operation), missing)
            for key in bobs.keys:
                answer = await send(client, operation, ann, key)
                assert told(answer) == missing, f"{operation} with {key}: {answer.status_code} {answer.text}"
                tried += 1
    assert tried > 100
    assert await snapshot(uow) == before


async def snapshot(uow: ExecutionsUnitOfWork) -> list[Any]:
    """Return all rows of all tables."""
    with uow.without("tenant"):
        connection = await uow.session.connection()
        return [
            sorted((await connection.execute(table.select())).all(), key=str) for table in Table.metadata.sorted_tables
        ]


async def test_no_list_and_no_answer_has_a_row_of_others(
    client: httpx2.AsyncClient, app: FastAPI, ann: Headers, bobs: Others
) -> None:
    for operation in operations(app):
        assert_nothing_of(bobs, await send(client, operation, ann, str(uuid4())))


async def test_no_filter_no_sort_and_no_cursor_finds_a_row_of_others(
    client: httpx2.AsyncClient, app: FastAPI, ann: Headers, bobs: Others
) -> None:
    filtered = 0
    for operation in operations(app):
        for name, schema in operation.filters.items():
            for value in values_of(name, schema, bobs):
                answer = await send(client, operation, ann, str(uuid4()), {name: value})
                assert_nothing_of(bobs, answer, str(value))
                page = answer.json()
                filtered += bool(answer.status_code == 200 and page.get("items") == [] and page.get("total", 0) == 0)
    assert filtered > 5


def values_of(name: str, schema: Mapping[str, Any], others: Others) -> list[Any]:
    """Return what a parameter of a query may be given to look for rows of others."""
    if name == "cursor":
        return list(others.cursors)
    if name == "sort":
        return ["name", "-name", "created_at", "group_id", "password_hash"]
    accepted = json.dumps(schema)
    enumerated = [value for value in ("COMPLETED", "FAILED", "flow", "crew") if f'"{value}"' in accepted]
    return [MARK, *others.keys, *enumerated, True, False]


async def test_whoever_uses_a_name_of_others_does_not_learn_of_it(
    client: httpx2.AsyncClient, ann: Headers, bobs: Others, login: Login, run: Run
) -> None:
    mine = await rows_of(client, ann, run)

    assert not {*mine.keys} & {*bobs.keys}
    own_tool = {"name": f"{MARK} tool", "function": "tidy"}
    assert (await client.post("/tools", json=own_tool, headers=ann)).status_code == 409


async def test_a_plan_cannot_use_a_tool_of_others(
    client: httpx2.AsyncClient, ann: Headers, bobs: Others, app: FastAPI
) -> None:
    for name in (f"{MARK} tool", "no such tool"):
        steps = [{"name": "a", "tool": name}]
        flow = (await client.post("/flows", json={"name": name, "plan": {"steps": steps}}, headers=ann)).json()
        body = {"kind": "flow", "plan_id": flow["id"], "text": "tea"}

        answer = await client.post("/executions", json=body, headers=ann)

        assert answer.status_code == 422
        assert answer.json() == {"detail": f"No tool or configuration in effect is called {name}"}


def pages(app: FastAPI) -> list[tuple[str, str]]:
    """Return the methods and paths that the document does not have."""
    every = {(method, each.path or "") for each in iter_route_contexts(app.routes) for method in each.methods or ()}
    hidden = every - {(operation.method, re.sub(":uuid", "", operation.path)) for operation in operations(app)}
    found = sorted((method, path) for method, path in hidden if ":uuid" not in path)
    assert {path for _, path in found} >= {"/", "/events", "/session"}
    return found


async def test_the_pages_show_no_row_of_others(
    client: httpx2.AsyncClient, app: FastAPI, ann: Headers, bobs: Others
) -> None:
    for method, path in pages(app):
        for key in bobs.keys:
            form = {"plan_id": f"flow:{key}", "text": "tea"} if method == "POST" else None
            answer = await client.request(method, path, headers=ann, data=form)
            assert_nothing_of(bobs, answer, key)
    await background_idle(app)
    assert (await client.get("/executions", headers=ann)).json()["items"] == []


async def test_the_stream_of_the_page_tells_of_no_row_of_others(
    client: httpx2.AsyncClient, ann: Headers, bobs: Others, run: Run, login: Login
) -> None:
    bob = await login("south/bob")

    async def listen(headers: Headers) -> str:
        return (await client.get("/events", headers=headers)).text

    anns, own, _ = await asyncio.gather(listen(ann), listen(bob), run(bob, f"{MARK} flow", "tea", "flow"))

    assert MARK in own
    assert "data:" not in anns


async def test_nobody_reads_without_a_login(client: httpx2.AsyncClient, app: FastAPI, bobs: Others) -> None:
    for operation in operations(app):
        answer = await send(client, operation, {}, bobs.keys[0])
        is_open = operation.path == "/login" or operation.path.startswith("/health")
        assert answer.status_code in ({200, 401} if is_open else {401}), (str(operation), answer.status_code)
        assert_nothing_of(bobs, answer)


async def test_no_page_shows_anything_without_a_login_or_the_scope(
    client: httpx2.AsyncClient, app: FastAPI, database: Database, login: Login
) -> None:
    await add_user(database, "north/eve", PASSWORD, ["groups:read"])
    eve = await login("north/eve")
    open_to_all = {"/session", "/session/end", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"}
    for method, path in pages(app):
        if path not in open_to_all:
            nobody = await client.request(method, path)
            lacking = await client.request(method, path, headers=eve)
            is_led = (nobody.status_code, nobody.headers.get("Location")) == (303, "/session")
            assert is_led or nobody.status_code == 401, (method, path, nobody.status_code)
            assert lacking.status_code == 403, (method, path, lacking.status_code)


async def test_each_change_takes_a_scope_that_reading_does_not_give(
    client: httpx2.AsyncClient, app: FastAPI, database: Database, login: Login
) -> None:
    await add_user(database, "north/eve", PASSWORD, ["executions:read", "catalogue:read", "groups:read"])
    eve = await login("north/eve")
    for operation in operations(app):
        if operation.path != "/login":
            status = (await send(client, operation, eve, str(uuid4()))).status_code
            assert (status == 403) == (operation.method != "GET"), (str(operation), status)


async def test_the_operators_rows_that_are_not_of_the_catalogue_are_their_own(
    client: httpx2.AsyncClient, ann: Headers, login: Login, run: Run
) -> None:
    execution = await run(await login("shared/operator"), "Full report", f"{MARK} stripes", "flow")

    assert (await client.get(f"/executions/{execution['id']}", headers=ann)).status_code == 404
    assert (await client.get("/executions", headers=ann)).json()["items"] == []
    groups = (await client.get("/groups", headers=ann)).json()["items"]
    assert [group["name"] for group in groups] == ["north"]


async def test_what_runs_in_the_background_is_of_the_group(
    ann: Headers, run: Run, uow: ExecutionsUnitOfWork, client: httpx2.AsyncClient
) -> None:
    execution = await run(ann, "Full report", "tea", "flow")
    (group,) = (await client.get("/groups", headers=ann)).json()["items"]

    with uow.without("tenant"):
        stored = await uow.executions.one(Execution.id == UUID(execution["id"]))
        entries = await uow.logs.list()
    assert {str(group_id) for group_id in (stored.group_id, *(entry.group_id for entry in entries))} == {group["id"]}
