"""Routers of `crud_router` against their own document: schemathesis makes requests, good ones and bad ones, and judges the answers.

No answer is a 500, has a status, a header or a body that the document does not name, or takes what the document refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from schemathesis.engine import events, from_schema
from schemathesis.python.asgi import shutdown_lifespans

from layered_backend import Database
from tests.contract.stalls import exact_application, loose_application, tables_for
from tests.databases import ASYNC_BACKENDS, MUST_HAVE_SERVERS, Backend, ServerMissingError

_BACKENDS = [backend for backend in ASYNC_BACKENDS if backend.driver != "psycopg"]
_GENERATION = {"max-examples": 6, "deterministic": True, "database": "none"}
# A version that is not the row's is refused, however well it is written.
_EXACT = {"positive_data_acceptance": {"expected-statuses": ["2xx", "304", "404", "409", "412"]}}
# What a schema leaves open, the database may refuse; and Pydantic takes more than a schema says, such as false for 0.
_LOOSE = {"positive_data_acceptance": {"enabled": False}, "negative_data_rejection": {"enabled": False}}


@pytest.mark.parametrize(
    ("application", "checks"),
    [(exact_application, _EXACT), (loose_application, _LOOSE)],
    ids=["exact", "loose"],
)
@pytest.mark.parametrize("backend", _BACKENDS, ids=str)
def test_what_the_document_says_is_what_happens(
    backend: Backend, application: Callable[[Database], FastAPI], checks: dict[str, Any], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"generation": _GENERATION, "checks": checks}
    configuration: Any = schemathesis.Config
    config = configuration.from_dict(settings)
    try:
        with tables_for(backend, tmp_path) as url:
            app = application(Database(url))
            schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)
            found = sorted({*_failures(schema)})
            shutdown_lifespans()
    except ServerMissingError as error:
        (pytest.fail if MUST_HAVE_SERVERS else pytest.skip)(str(error))

    assert not found, "\n\n".join(found)


def _failures(schema: Any) -> Iterator[str]:
    """Yield what is wrong with the answers to the requests that schemathesis makes."""
    requests = 0
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished():
                requests += len(event.recorder.interactions)
                yield from _failed_checks(event)
            case events.NonFatalError():
                yield f"{event.label}: {event.value!r}"
            case events.FatalError():
                yield repr(event.exception)
            case _:
                pass
    assert requests > 100, "hardly anything was asked"


def _failed_checks(event: events.ScenarioFinished) -> Iterator[str]:
    for checks in event.recorder.checks.values():
        for check in checks:
            if check.failure_info is not None:
                yield f"{event.label}: {check.failure_info.failure}\n{check.failure_info.code_sample}"
