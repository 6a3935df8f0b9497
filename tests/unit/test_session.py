from __future__ import annotations

import pytest

from layered_backend import UnitOfWorkError
from layered_backend.session import TransactionState, drive


class TestTransactionState:
    def test_the_first_error_is_kept(self) -> None:
        state = TransactionState()
        first = KeyError()
        state.remember(first)
        state.remember(ValueError())

        assert state.error is first

    def test_a_rolled_back_savepoint_takes_its_errors_and_those_inside_with_it(self) -> None:
        state = TransactionState()
        state.open_savepoint("outer")
        state.open_savepoint("inner")
        state.remember(KeyError())
        state.undo_savepoint("outer")

        assert state.error is None
        assert state.top.savepoint is None

    def test_a_released_savepoint_hands_everything_on(self) -> None:
        state = TransactionState()
        state.open_savepoint("one")
        state.open_savepoint("two")
        error = KeyError()
        state.remember(error)
        state.top.hooks.append(print)
        state.release_savepoint("one")

        assert state.top.savepoint is None
        assert state.error is error
        assert state.top.hooks == [print]

    def test_an_unknown_savepoint_leaves_the_transaction(self) -> None:
        state = TransactionState()
        state.remember(KeyError())
        state.release_savepoint("unknown")
        state.undo_savepoint("unknown")

        assert isinstance(state.error, KeyError)


class TestDrive:
    def test_it_returns_what_the_coroutine_returns(self) -> None:
        async def answer() -> int:
            return 42

        assert drive(answer()) == 42

    def test_errors_come_through(self) -> None:
        async def fail() -> None:
            raise RuntimeError("of the application")

        with pytest.raises(RuntimeError, match="of the application"):
            drive(fail())

    def test_a_coroutine_that_waits_is_named(self) -> None:
        class Waits:
            def __await__(self) -> object:
                yield

        async def waits() -> None:
            await Waits()  # type: ignore[misc]  # pyright: ignore  # the least that suspends

        with pytest.raises(UnitOfWorkError, match="waits awaits something other than the database"):
            drive(waits())
