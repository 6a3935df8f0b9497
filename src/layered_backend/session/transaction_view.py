"""A transaction of a session, or of its connection, as others may look at it."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar, cast

from layered_backend.session.errors import refuse

__all__ = ["view_of"]

T = TypeVar("T")


class TransactionView:
    """A transaction to look at: reading passes through, and its end belongs to the unit of work."""

    def __init__(self, transaction: Any) -> None:
        self._transaction = transaction

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)

    @property
    def parent(self) -> Any:
        return view_of(self._transaction.parent)

    def commit(self) -> None:
        refuse("transaction.commit()")

    def rollback(self) -> None:
        refuse("transaction.rollback()")

    def close(self) -> None:
        refuse("transaction.close()")

    def prepare(self) -> None:
        refuse("transaction.prepare()")

    def __enter__(self) -> NoReturn:
        refuse("`with transaction:`")

    def __exit__(self, *details: object) -> None:
        """Do nothing: `__enter__` refuses."""


def view_of(transaction: T) -> T:
    """Return a view of *transaction*, which can be read and not ended; None for None."""
    return transaction if transaction is None else cast("T", TransactionView(transaction))
