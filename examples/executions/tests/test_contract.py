"""What the OpenAPI document says is what happens: schemathesis asks, logged in, and follows the links between operations."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis.engine import events, from_schema
from schemathesis.python.asgi import shutdown_lifespans

from examples.executions.application import create_app
from examples.executions.models import User
from examples.executions.settings import ExecutionsSettings
from examples.executions.unit_of_work import ExecutionsUnitOfWork
from layered_backend import Database

_REFUSED = ["2xx", "401", "403", "404", "409"]  # of what the document allows, for what is in the database
_PLANS = {"positive_data_acceptance": {"expected-statuses": [*_REFUSED, "422"]}}  # steps may wait for each other


def _token(settings: ExecutionsSettings, database: Database) -> str:
    async def ann() -> User:
        async with database, ExecutionsUnitOfWork(database) as uow:
            with uow.without("tenant"):
                return await uow.users.one(User.name == "ann")

    user = asyncio.run(ann())
    claims = {"group": str(user.group_id), "name": "north/ann"}
    return settings.access_tokens().issue(str(user.id), scopes=user.scopes, claims=claims)


@pytest.mark.slow
def test_what_the_document_says_is_what_happens(own_file: Path, settings: ExecutionsSettings) -> None:
    database = Database(f"sqlite:///{own_file}")
    configuration: Any = schemathesis.Config
    config = configuration.from_dict({
        "headers": {"Authorization": f"Bearer {_token(settings, database)}"},
        "generation": {"max-examples": 15, "deterministic": True, "database": "none"},
        "checks": {"positive_data_acceptance": {"expected-statuses": _REFUSED}},
        "operations": [
            {"include-path-regex": "^/(crews|flows)", "checks": _PLANS},
            # What a tool or a crew in effect is, the document cannot say.
            {"include-path-regex": "^/executions", "include-method": ["POST"], "checks": _PLANS},
        ],
    })  # fmt: skip
    app = create_app(settings, database)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)

    seen: Counter[str] = Counter()
    found = sorted({*_failures(schema, seen)})
    shutdown_lifespans()

    assert not found, "\n\n".join(found)
    assert seen["requests"] > 500
    assert seen["stateful"] > 20
    assert seen["201"] > 10


def _failures(schema: Any, seen: "Counter[str]") -> Iterator[str]:
    """Yield what is wrong with the answers to the requests that schemathesis makes."""
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished():
                interactions = event.recorder.interactions.values()
                seen["requests"] += len(interactions)
                seen[str(event.phase.value).lower()] += len(interactions)
                seen.update(str(each.response.status_code) for each in interactions if each.response is not None)
                yield from _failed_checks(event)
            case events.NonFatalError():
                yield f"{event.label}: {event.value!r}"
            case events.FatalError():
                yield repr(event.exception)
            case _:
                pass


def _failed_checks(event: events.ScenarioFinished) -> Iterator[str]:
    for checks in event.recorder.checks.values():
        for check in checks:
            if check.failure_info is not None:
                yield f"{event.label}: {check.failure_info.failure}\n{check.failure_info.code_sample}"
