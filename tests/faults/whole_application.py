"""The application of these tests with the routes that each of them brings, and a journal of what it does."""

from __future__ import annotations

from tests.faults import (
    application,
    failing_commit,
    test_05_response_model_error,
    test_06_use_after_the_response,
    test_07_one_unit_of_work,
    test_09_aborted_clients,
)
from tests.faults.journal import keep_journal

__all__ = ["app"]

_WITH_ROUTES = (
    failing_commit,
    test_05_response_model_error,
    test_06_use_after_the_response,
    test_07_one_unit_of_work,
    test_09_aborted_clients,
)

for module in _WITH_ROUTES:
    application.app.include_router(module.router)
app = keep_journal(application.app, application.database.engine.sync_engine)
