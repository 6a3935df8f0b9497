from __future__ import annotations

import pytest

from layered_backend import UnitOfWorkError
from layered_backend.session import SavepointStack, drive


class TestSavepointStack:
    def test_the_first_error_is_kept(self) -> None:
        stack = SavepointStack()
        first = KeyError()
        stack.remember(first)
        stack.remember(ValueError())

        assert stack.error is first

    def test_a_rolled_back_savepoint_takes_its_errors_and_those_inside_with_it(self) -> None:
        stack = SavepointStack()
        stack.push("outer")
        stack.push("inner")
        stack.remember(KeyError())
        stack.discard("outer")

        assert stack.error is None
        assert stack.top.savepoint is None

    def test_a_released_savepoint_hands_everything_on(self) -> None:
        stack = SavepointStack()
        stack.push("one")
        stack.push("two")
        error = KeyError()
        stack.remember(error)
        stack.top.hooks.append(print)
        stack.merge("one")

        assert stack.top.savepoint is None
        assert stack.error is error
        assert stack.top.hooks == [print]

    def test_an_unknown_savepoint_leaves_the_transaction(self) -> None:
        stack = SavepointStack()
        stack.remember(KeyError())
        stack.merge("unknown")
        stack.discard("unknown")

        assert isinstance(stack.error, KeyError)


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
