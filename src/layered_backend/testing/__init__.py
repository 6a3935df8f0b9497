"""Tests of an application: each in a transaction of its own that is rolled back, however often the code commits."""

from layered_backend.testing.bound_database import in_one_transaction, in_one_transaction_sync
from layered_backend.testing.mocks import MockedMethod, mock_repository, mock_uow, mocked

__all__ = [
    "MockedMethod",
    "in_one_transaction",
    "in_one_transaction_sync",
    "mock_repository",
    "mock_uow",
    "mocked",
]
