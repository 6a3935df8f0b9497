"""The id of the request that is being served: in its log lines, in its background jobs, in calls to other services."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["SANE_REQUEST_ID", "RequestIdFilter", "current_request_id", "request_id", "serving_request"]

SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}")
"""The form of an id, which lets it forge no line of a log and no header."""

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id, in the tasks and threads that serve the request."""


def current_request_id() -> str | None:
    """Return the id of the request that is being served here, or that began this job; None outside of both."""
    return request_id.get()


@contextmanager
def serving_request(value: str | None) -> Generator[None]:
    """Do what the block does as a part of the request of that id."""
    token = request_id.set(value)
    try:
        yield
    finally:
        request_id.reset(token)


class RequestIdFilter(logging.Filter):
    """Gives each record a `request_id`, for the format of a log line; "-" outside of requests. It lets all records pass.

    Add it to handlers, not to loggers: those are passed by what comes from loggers below them.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id"):
            record.request_id = request_id.get() or "-"
        return True
