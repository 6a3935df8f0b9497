"""Whole requests, without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, cast

from fastapi import FastAPI

from benchmarks.applications.calling import Answer, call
from benchmarks.applications.handwritten import bare_application, handwritten_application
from benchmarks.applications.layered import layered_application
from benchmarks.contenders import (
    ADVANCED_ALCHEMY,
    ALONE,
    BARE,
    ENTITIES,
    ENTITIES_DEFERRED,
    FASTCRUD,
    HAND,
    PROJECTION,
    PROJECTION_DEFERRED,
)
from benchmarks.measuring import Operation, Work
from benchmarks.operations.outcomes import items, result_as, stored
from benchmarks.peers.advanced_alchemy_application import advanced_alchemy_application
from benchmarks.peers.fastcrud_application import fastcrud_application
from benchmarks.shop import STORED, item_values
from benchmarks.stage import Stage

__all__ = ["http"]


def http(stage: Stage) -> Sequence[Operation]:
    """Return the requests."""
    hand = handwritten_application(stage.sessions)
    layered, deferred = layered_application(stage.database), layered_application(stage.deferred)
    alchemy, crud = advanced_alchemy_application(stage.engine), fastcrud_application(stage.sessions)
    request = partial(Operation, section="HTTP")

    async def created(contender: str, result: Answer, number: int) -> Any:
        rows = [row[1:] for row in await stored(stage, contender, above=STORED)]
        return rows, [row[1:] for row in _items(result)]

    return [
        request(
            name="GET one",
            contenders={
                HAND: lambda number: call(hand, "GET", f"/items/{number % STORED + 1}"),
                ENTITIES: lambda number: call(layered, "GET", f"/entities/{number % STORED + 1}"),
                ENTITIES_DEFERRED: lambda number: call(deferred, "GET", f"/entities/{number % STORED + 1}"),
                PROJECTION: lambda number: call(layered, "GET", f"/schemas/{number % STORED + 1}"),
                PROJECTION_DEFERRED: lambda number: call(deferred, "GET", f"/schemas/{number % STORED + 1}"),
                ALONE: lambda number: call(layered, "GET", f"/schemas-alone/{number % STORED + 1}"),
                ADVANCED_ALCHEMY: lambda number: call(alchemy, "GET", f"/items/{number % STORED + 1}"),
                FASTCRUD: lambda number: call(crud, "GET", f"/items/{number % STORED + 1}"),
            },
            outcome=result_as(_items),
        ),
        request(
            name="GET a list of 50",
            contenders={
                HAND: _get(hand, "/items"),
                ENTITIES: _get(layered, "/entities"),
                ENTITIES_DEFERRED: _get(deferred, "/entities"),
                PROJECTION: _get(layered, "/schemas"),
                PROJECTION_DEFERRED: _get(deferred, "/schemas"),
                ALONE: _get(layered, "/schemas-alone"),
                ADVANCED_ALCHEMY: _get(alchemy, "/items"),
                FASTCRUD: _get(crud, "/items?offset=0&limit=50&sort=id"),
            },
            outcome=result_as(_items),
            chunk=5,
        ),
        request(
            name="POST",
            contenders={
                HAND: lambda number: call(hand, "POST", "/items", _new(number)),
                ENTITIES: lambda number: call(layered, "POST", "/entities", _new(number)),
                PROJECTION: lambda number: call(layered, "POST", "/schemas", _new(number)),
                ADVANCED_ALCHEMY: lambda number: call(alchemy, "POST", "/items", _new(number)),
                FASTCRUD: lambda number: call(crud, "POST", "/items", _new(number)),
            },
            outcome=created,
            after=stage.delete_new,
        ),
        request(
            name="dependencies of an endpoint that does nothing",
            measure="microseconds",
            baseline=BARE,
            contenders={
                BARE: _get(bare_application(), "/nothing"),
                HAND: _get(hand, "/nothing"),
                ENTITIES: _get(layered, "/nothing"),
                ALONE: _get(layered, "/nothing-alone"),
                ADVANCED_ALCHEMY: _get(alchemy, "/nothing"),
            },
            outcome=result_as(lambda answer: answer.body),
            chunk=50,
        ),
    ]


def _get(app: FastAPI, target: str) -> Work:
    return lambda _: call(app, "GET", target)


def _new(number: int) -> bytes:
    return json.dumps(item_values(number, "new"), default=str).encode()


def _items(answer: Answer) -> Sequence[tuple[Any, ...]]:
    """Return the values of the items in an answer, however it is wrapped."""
    assert answer.status in {200, 201}, answer
    found: Any = json.loads(answer.body)
    if isinstance(found, Mapping):
        found = cast("Mapping[str, Any]", found).get("data", [found])
    return items({**each, "price": Decimal(str(each["price"])).quantize(Decimal("0.01"))} for each in found)
