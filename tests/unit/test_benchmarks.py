"""The arithmetic of the measurements, and that the page says what was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.bars import BARS, bars_of
from benchmarks.contenders import HAND, in_order
from benchmarks.measuring import Operation, WrongResultError, check, measured
from benchmarks.publishing import PAGE, results_in, stored_results, with_results
from benchmarks.results import Cell, Measure, Row, Spread, compared
from benchmarks.tables import line_of

OURS = "entities"


def _cell(median: float, bar: float | None) -> Cell:
    return Cell(spread=Spread(least=median / 2, median=median, greatest=median * 2), bar=bar)


def test_a_contender_is_compared_round_by_round() -> None:
    times = {HAND: [0.1, 0.2], OURS: [0.05, 0.4]}

    assert compared(times, HAND, "cpu") == {OURS: [0.5, 2.0]}


def test_an_amount_is_what_lies_beyond_the_baseline() -> None:
    times = {"bare": [0.000_1], OURS: [0.000_13]}

    (beyond,) = compared(times, "bare", "microseconds")[OURS]
    assert round(beyond, 6) == 30


def test_a_spread_is_the_least_the_median_and_the_greatest() -> None:
    assert Spread.of([3, 1, 2, 9, 2.5]) == Spread(least=1, median=2.5, greatest=9)


@pytest.mark.parametrize(
    ("median", "bar", "measure", "is_met"),
    [
        (0.90, 0.85, "cpu", True),
        (0.91, 0.85, "cpu", False),
        (0.03, 0.03, "wall", True),
        (0.04, 0.03, "wall", False),
        (60.0, 60, "microseconds", True),
        (60.04, 60, "microseconds", False),
        (10.04, 10, "mebibytes", False),
        (9.0, None, "cpu", None),
    ],
)
def test_a_bar_is_met_by_the_median(median: float, bar: float | None, measure: Measure, is_met: bool | None) -> None:
    assert _cell(median, bar).is_met(measure) is is_met


def test_an_operation_that_is_not_there_misses_its_bar() -> None:
    row = Row(section="", name="create", measure="cpu", microseconds=1, cells={OURS: Cell(spread=None, bar=0.6)})

    assert row.missed == [OURS]
    assert line_of("SQLite", row) == "SQLite, create: entities none, bar 0.6 **missed**"


def test_a_bar_may_differ_between_databases() -> None:
    assert bars_of("upsert 10,000 rows", "postgresql") == {OURS: 0.65}
    assert bars_of("upsert 10,000 rows", "sqlite") == {OURS: 1.0}
    assert bars_of("nothing", "sqlite") == {}


def test_columns_come_in_one_order() -> None:
    assert in_order({"fastcrud", OURS, HAND}) == [HAND, OURS, "fastcrud"]


class _Turns:
    """Two contenders that do nothing but say that it is their turn."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.numbers: list[int] = []
        contenders = {HAND: self._contender("hand"), OURS: self._contender("ours")}
        self.operation = Operation(section="", name="", contenders=contenders, outcome=self._outcome, chunk=2, turns=2)

    def _contender(self, name: str) -> Any:
        async def work(number: int) -> int:
            self.taken.append(name)
            self.numbers.append(number)
            return number

        return work

    async def _outcome(self, contender: str, result: Any, number: int) -> Any:
        return result


async def test_contenders_take_turns_in_an_order_that_changes() -> None:
    turns = _Turns()

    times = await measured(turns.operation, rounds=1)

    in_pairs = turns.taken[::2]
    assert in_pairs == turns.taken[1::2]
    assert in_pairs == ["hand", "ours", "hand", "ours", "ours", "hand"]  # the first two fill caches
    assert len(set(turns.numbers)) == len(turns.numbers)
    assert {name: len(rounds) for name, rounds in times.items()} == {HAND: 1, OURS: 1}


async def test_a_wrong_result_ends_the_run() -> None:
    async def wrong(number: int) -> int:
        return -number

    turns = _Turns()
    operation = replace(turns.operation, contenders={**turns.operation.contenders, OURS: wrong})

    await check(turns.operation)
    with pytest.raises(WrongResultError, match=r"entities gives\n-17\nand not\n17"):
        await check(operation)


def test_the_page_has_the_tables_of_the_stored_results() -> None:
    page, results = PAGE.read_text(encoding="utf-8"), stored_results()

    assert results_in(results) in page
    assert with_results(page, results) == page


def test_each_bar_was_measured_against() -> None:
    for database in stored_results().databases:
        barred = {row.name for row in database.rows if any(cell.bar is not None for cell in row.cells.values())}
        assert barred == set(BARS)
