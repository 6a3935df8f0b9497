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

from benchmarks.contenders import HAND
from benchmarks.results import Measure

__all__ = ["Operation", "Work", "WrongResultError", "check", "checked_and_measured", "measured"]

Work = Callable[[int], Awaitable[Any]]
"""Does an operation once, with a number that no other call gets: for a key, or for a name that must be new."""


class WrongResultError(AssertionError):
    """A contender does something else than what it is measured against."""


async def nothing(*_: object) -> None:
    """Do nothing."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation, done by several contenders.

    Attributes:
        section: The table that it belongs to.
        name: What is done.
        contenders: How each does it, the baseline first.
        outcome: Returns what a call has achieved, given the contender, the result and the number: what all must agree on.
        chunk: How many calls a contender makes when it is its turn.
        turns: How many turns a contender has in a round.
        begin: Is called before anything else.
        before: Is called before a turn, with the contender and its numbers. Like the others, it is not measured.
        after: Is called after a turn.
        restore: Is called when what the turns have written must be undone.
        end: Is called when all is done.
        measure: What the numbers say: "cpu" is this process's time, "wall" is time as it passes, where most of it is
            another process's, such as the database's; "microseconds" are this process's, as an amount.
        baseline: Whom the others are measured against.
    """

    section: str
    name: str
    contenders: Mapping[str, Work]
    outcome: Callable[[str, Any, int], Awaitable[Any]]
    chunk: int = 10
    turns: int = 15
    begin: Callable[[], Awaitable[None]] = nothing
    before: Callable[[str, Sequence[int]], Awaitable[None]] = nothing
    after: Callable[[], Awaitable[None]] = nothing
    restore: Callable[[], Awaitable[None]] = nothing
    end: Callable[[], Awaitable[None]] = nothing
    measure: Measure = "cpu"
    baseline: str = HAND


async def checked_and_measured(operation: Operation, rounds: int) -> Mapping[str, Sequence[float]]:
    """Return the seconds that a call takes, for each contender and each round, once all agree on what it achieves.

    Raises:
        WrongResultError: One does something else than the baseline.
    """
    await operation.begin()
    try:
        await check(operation)
        return await measured(operation, rounds)
    finally:
        await operation.restore()
        await operation.end()


async def check(operation: Operation) -> None:
    """Compare what the contenders achieve.

    Raises:
        WrongResultError: One differs from the hand-written operation.
    """
    expected: Any = None
    for name in operation.contenders:
        outcome = await _outcome(operation, name, number=17)
        if name == operation.baseline:
            expected = outcome
        elif outcome != expected:
            raise WrongResultError(f"{operation.name}: {name} gives\n{outcome!r:.500}\nand not\n{expected!r:.500}")


async def _outcome(operation: Operation, name: str, number: int) -> Any:
    await operation.before(name, [number])
    try:
        result = await operation.contenders[name](number)
        return await operation.outcome(name, result, number)
    finally:
        await operation.after()
        await operation.restore()


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
    await operation.before(name, own)
    work, clock = operation.contenders[name], time.perf_counter if operation.measure == "wall" else time.process_time
    gc.collect()
    start = clock()
    for number in own:
        await work(number)
    seconds = clock() - start
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
