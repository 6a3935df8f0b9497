"""Tests of an application: each in a transaction of its own that is rolled back, however often the code commits.

The fixtures of the pytest plugin are made of this; they need no import.
"""

from layered_backend.testing.bound_engines import in_one_transaction, in_one_transaction_sync
from layered_backend.testing.clients import client_of
from layered_backend.testing.hooks import CapturedHooks, capture_hooks
from layered_backend.testing.mocks import MockedMethod, mock_repository, mock_uow, mocked
from layered_backend.testing.queries import Queries, count_queries
from layered_backend.testing.seeding import seed

__all__ = [
    "CapturedHooks",
    "MockedMethod",
    "Queries",
    "capture_hooks",
    "client_of",
    "count_queries",
    "in_one_transaction",
    "in_one_transaction_sync",
    "mock_repository",
    "mock_uow",
    "mocked",
    "seed",
]
