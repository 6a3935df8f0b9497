"""Shared rows, rows of a group that override them, and who may change which."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx2
import pytest

from examples.executions.models import SHARED
from examples.executions.tests.conftest import Login, Run

Headers = Mapping[str, str]


@pytest.fixture
async def ann(login: Login) -> Headers:
    return await login("north/ann")


@pytest.fixture
async def bob(login: Login) -> Headers:
    return await login("south/bob")


@pytest.fixture
async def operator(login: Login) -> Headers:
    return await login("shared/operator")


class Tools:
    """The tools, as a member sees and changes them."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def named(self, headers: Headers, **query: Any) -> list[dict[str, Any]]:
        given = {"name": "word counter", **query}
        found: list[dict[str, Any]] = (await self._client.get("/tools", params=given, headers=headers)).json()["items"]
        return found

    async def in_effect(self, headers: Headers) -> list[str]:
        return [row["function"] for row in await self.named(headers, in_effect=True)]

    async def add(self, headers: Headers, function: str = "tidy", **values: Any) -> dict[str, Any]:
        body = {"name": "word counter", "function": function, **values}
        answer = await self._client.post("/tools", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        row: dict[str, Any] = answer.json()
        return row

    async def enable(self, headers: Headers, row: Mapping[str, Any], *, is_enabled: bool) -> None:
        body = {"name": row["name"], "function": row["function"], "is_enabled": is_enabled}
        assert (await self._client.put(f"/tools/{row['id']}", json=body, headers=headers)).status_code == 200


@pytest.fixture
def tools(client: httpx2.AsyncClient) -> Tools:
    return Tools(client)


async def test_everybody_has_the_shared_rows(tools: Tools, ann: Headers, bob: Headers, operator: Headers) -> None:
    for headers in (ann, bob, operator):
        assert [(row["function"], UUID(row["group_id"])) for row in await tools.named(headers)] == [
            ("count_words", SHARED)
        ]


async def test_a_row_of_the_group_overrides_the_shared_one_of_its_name(
    tools: Tools, ann: Headers, bob: Headers, operator: Headers
) -> None:
    await tools.add(ann)

    assert await tools.in_effect(ann) == ["tidy"]
    assert await tools.in_effect(bob) == await tools.in_effect(operator) == ["count_words"]
    assert len(await tools.named(ann)) == 2
    assert [row["function"] for row in await tools.named(ann, in_effect=False)] == ["count_words"]


async def test_a_shared_row_that_is_disabled_hides_the_override_as_well(
    tools: Tools, ann: Headers, operator: Headers
) -> None:
    await tools.add(ann)
    (shared,) = await tools.named(operator)

    await tools.enable(operator, shared, is_enabled=False)

    assert await tools.in_effect(ann) == []
    assert len(await tools.named(ann, in_effect=False)) == 2
    await tools.enable(operator, shared, is_enabled=True)
    assert await tools.in_effect(ann) == ["tidy"]


async def test_a_group_turns_a_shared_row_off_for_itself(tools: Tools, ann: Headers, bob: Headers) -> None:
    await tools.add(ann, is_enabled=False)

    assert await tools.in_effect(ann) == []
    assert await tools.in_effect(bob) == ["count_words"]


async def test_what_is_run_is_what_is_in_effect(tools: Tools, ann: Headers, bob: Headers, run: Run) -> None:
    await tools.add(ann, "extract_keywords")

    assert (await run(ann, "Full report", "tea and more tea", "flow"))["result"]["words"] == "tea, more"
    counted = "4 words, 1 sentences, 16 characters"
    assert (await run(bob, "Full report", "tea and more tea", "flow"))["result"]["words"] == counted


@pytest.mark.parametrize("kind", ["tools", "crews", "flows"])
async def test_a_shared_row_is_changed_by_operators_alone(
    client: httpx2.AsyncClient, ann: Headers, operator: Headers, kind: str
) -> None:
    row = (await client.get(f"/{kind}", headers=ann)).json()["items"][0]
    path, own = f"/{kind}/{row['id']}", {"name", "description", "is_enabled", "function", "plan"}
    body = {**{name: value for name, value in row.items() if name in own}, "description": "mine"}

    refused = [await client.put(path, json=body, headers=ann), await client.delete(path, headers=ann)]
    changed = await client.put(path, json=body, headers=operator)

    assert [answer.status_code for answer in refused] == [403, 403]
    assert refused[0].json()["detail"].startswith("Only operators change a shared row")
    assert (changed.status_code, changed.json()["description"]) == (200, "mine")


async def test_a_name_is_there_once_in_a_group(
    client: httpx2.AsyncClient, tools: Tools, ann: Headers, bob: Headers
) -> None:
    await tools.add(ann)
    await tools.add(bob)

    again = await client.post("/tools", json={"name": "word counter", "function": "tidy"}, headers=ann)

    assert (again.status_code, again.json()) == (409, {"detail": "Another row already has the same group_id and name"})


@pytest.mark.parametrize(
    "plan",
    [
        {"steps": [{"name": "a", "tool": "tidier", "after": ["b"]}, {"name": "b", "tool": "tidier", "after": ["a"]}]},
        {"steps": [{"name": "a", "tool": "tidier", "after": ["c"]}]},
        {"steps": []},
    ],
)
async def test_a_flow_that_is_no_graph_is_refused_where_it_is_wrong(
    client: httpx2.AsyncClient, ann: Headers, plan: dict[str, Any]
) -> None:
    answer = await client.post("/flows", json={"name": "mine", "plan": plan}, headers=ann)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:2] == ["body", "plan"]


@pytest.mark.parametrize(
    "username", ["north/ann", "north/nobody", "nowhere/ann", "ann", "", "north/ann/x", "NORTH/ann"]
)
async def test_a_wrong_login_does_not_say_what_was_wrong(client: httpx2.AsyncClient, username: str) -> None:
    answer = await client.post("/login", data={"username": username or "/", "password": "a guess"})

    assert (answer.status_code, answer.json()) == (401, {"detail": "The name or the password is wrong"})
