"""Measuring: contenders take turns, so that whatever else the machine does falls on all of them alike."""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["HAND", "Operation", "Work", "WrongResultError", "check", "measured"]

HAND = "hand-written"

Work = Callable[[int], Awaitable[Any]]
"""Does an operation once, with a number that no other call gets: for a key, or for a name that must be new."""


class WrongResultError(AssertionError):
    """A contender does something else than what it is measured against."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation, done by several contenders.

    Attributes:
        section: The table that it belongs to.
        name: What is done.
        contenders: How each does it; `HAND` is what the others are measured against.
        outcome: Returns what a call has achieved, given the contender, the result and the number: what all must agree on.
        chunk: How many calls a contender makes when it is its turn.
        turns: How many turns a contender has in a round.
        before: Is called before a turn with the contender and its numbers; it is not measured.
        after: Is called after a turn; it is not measured.
        finish: Is called when all is measured, and between the contenders when they are compared.
        elapsed: Whether time is measured as it passes, where most of it is another process's, such as the database's.
    """

    section: str
    name: str
    contenders: Mapping[str, Work]
    outcome: Callable[[str, Any, int], Awaitable[Any]]
    chunk: int = 10
    turns: int = 15
    before: Callable[[str, Sequence[int]], Awaitable[None]] | None = None
    after: Callable[[], Awaitable[None]] | None = None
    finish: Callable[[], Awaitable[None]] | None = None
    elapsed: bool = False


async def check(operation: Operation) -> None:
    """Compare what the contenders achieve.

    Raises:
        WrongResultError: One differs from what is written by hand.
    """
    expected: Any = None
    for name in (HAND, *(name for name in operation.contenders if name != HAND)):
        outcome = await _outcome(operation, name, number=17)
        if name == HAND:
            expected = outcome
        elif outcome != expected:
            raise WrongResultError(f"{operation.name}: {name} gives\n{outcome!r:.500}\nand not\n{expected!r:.500}")


async def _outcome(operation: Operation, name: str, number: int) -> Any:
    if operation.before:
        await operation.before(name, [number])
    try:
        result = await operation.contenders[name](number)
        return await operation.outcome(name, result, number)
    finally:
        for clear in filter(None, (operation.after, operation.finish)):
            await clear()


async def measured(operation: Operation, rounds: int) -> Mapping[str, Sequence[float]]:
    """Return the seconds that a call takes, for each contender and each round: those of the round's median turn.

    The first turns are not measured: they fill caches. Each turn begins with no garbage of the turn before it.
    """
    numbers = itertools.count(100)
    for name in operation.contenders:
        await _turn(operation, name, numbers)
    times: dict[str, list[float]] = {name: [] for name in operation.contenders}
    with _only_new_garbage():
        for number in range(rounds):
            for name, turns in (await _round(operation, numbers, first=number)).items():
                times[name].append(statistics.median(turns))
    return times


async def _round(operation: Operation, numbers: Iterator[int], first: int) -> Mapping[str, Sequence[float]]:
    turns: dict[str, list[float]] = {name: [] for name in operation.contenders}
    names = list(operation.contenders)
    for turn in range(operation.turns):
        start = (first + turn) % len(names)
        for name in names[start:] + names[:start]:
            turns[name].append(await _turn(operation, name, numbers))
    return turns


async def _turn(operation: Operation, name: str, numbers: Iterator[int]) -> float:
    """Return the seconds that one call takes."""
    own = list(itertools.islice(numbers, operation.chunk))
    if operation.before:
        await operation.before(name, own)
    work, clock = operation.contenders[name], time.perf_counter if operation.elapsed else time.process_time
    gc.collect()
    start = clock()
    for number in own:
        await work(number)
    seconds = clock() - start
    if operation.after:
        await operation.after()
    return seconds / len(own)


@contextmanager
def _only_new_garbage() -> Generator[None]:
    """Have the garbage collector pass over what is there already, as it would in a server that has run for long."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
