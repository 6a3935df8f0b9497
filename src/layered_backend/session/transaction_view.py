"""A session's transaction, as others may look at it."""

from __future__ import annotations

from typing import Any, NoReturn, cast

from sqlalchemy.orm import SessionTransaction

from layered_backend.session.connection import refuse

__all__ = ["view_of"]


class TransactionView:
    """A session's transaction, to look at: reading passes through, and its end belongs to the unit of work."""

    def __init__(self, transaction: SessionTransaction) -> None:
        self._transaction = transaction

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)

    @property
    def parent(self) -> SessionTransaction | None:
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


def view_of(transaction: SessionTransaction | None) -> SessionTransaction | None:
    """Return a view of *transaction*; None for None."""
    return None if transaction is None else cast("SessionTransaction", TransactionView(transaction))
