"""The arithmetic of the measurements, the conditions of publishing, and that the page shows what was measured."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks.bars import BARS, bars_of
from benchmarks.choice import Choice
from benchmarks.contenders import ENTITIES_DEFERRED, HAND, in_order
from benchmarks.databases import DATABASES
from benchmarks.measuring import Operation, WrongResultError, check, measured
from benchmarks.publishing import PAGE, results_in, stored_results, with_results
from benchmarks.quietness import BestTimes, cache_file, load_once_quiet
from benchmarks.results import Cell, DatabaseResults, Measure, Results, Row, Run, Spread, cells_of, compared
from benchmarks.shape import Shape
from benchmarks.tables import line_of, markdown_of

OURS = "entities"
PEER = "fastcrud"


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
        (0.88, 0.85, "cpu", True),
        (0.89, 0.85, "cpu", False),
        (0.04, 0.04, "wall", True),
        (0.05, 0.04, "wall", False),
        (103.0, 100, "microseconds", True),
        (103.1, 100, "microseconds", False),
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


def test_a_ratio_may_be_a_little_greater_on_sqlite() -> None:
    assert bars_of("exists", "postgresql") == {OURS: 0.95, ENTITIES_DEFERRED: 0.65}
    assert bars_of("exists", "sqlite") == {OURS: 1.0, ENTITIES_DEFERRED: 0.70}
    assert bars_of("page at row 990,000", "sqlite") == bars_of("page at row 990,000", "postgresql")
    assert bars_of("nothing", "sqlite") == {}


def test_a_bar_may_be_another_contender() -> None:
    cells = cells_of({HAND: [100, 120, 110], OURS: [105, 115, 113]}, {OURS: HAND})

    assert cells[OURS].bar == 110
    assert cells[HAND].bar is None


def test_a_peer_that_costs_less_is_named() -> None:
    cells = {OURS: _cell(1.0, None), PEER: _cell(0.9, None), "advanced-alchemy": _cell(1.1, None)}
    row = Row(section="", name="create", measure="cpu", microseconds=1, cells=cells)

    assert row.cheaper_peers == [PEER]


def test_columns_come_in_one_order() -> None:
    assert in_order({PEER, ENTITIES_DEFERRED, OURS, HAND}) == [HAND, OURS, ENTITIES_DEFERRED, PEER]


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


def _run(
    microseconds: Mapping[str, float], *, python: str = "3.13.0", database: str = "SQLite", median: float = 0.9
) -> Run:
    rows = [
        Row(section="Reading", name=name, measure="cpu", microseconds=time, cells={OURS: _cell(median, 1.0)})
        for name, time in microseconds.items()
    ]
    databases = [DatabaseResults(name=database, version="1", rows=rows)]
    return Run(measured=date(2026, 11, 28), python=python, packages={}, rounds=7, databases=databases)


def test_a_run_takes_the_place_of_an_earlier_one_with_the_same_python() -> None:
    old, newer = _run({"get": 500}, python="3.13.0"), _run({"get": 510}, python="3.13.1")
    oldest_python = _run({"get": 600}, python="3.9.7")

    assert Results(runs=[old]).with_run(oldest_python).with_run(newer).runs == [oldest_python, newer]


def test_each_python_has_a_line_in_the_tables() -> None:
    runs = [_run({"get": 600}, python="3.11.7", median=0.98), _run({"get": 500}, python="3.13.0", median=1.2)]

    assert markdown_of(Results(runs=runs), "SQLite").splitlines() == [
        "| Reading | Python | hand-written | entities |",
        "| --- | ---: | ---: | ---: |",
        "| get | 3.11 | 600 µs | 0.98 (0.49-1.96), bar 1 |",
        "| get | 3.13 | 500 µs | 1.20 (0.60-2.40), bar 1 **missed** |",
    ]


def test_the_best_times_of_a_machine_are_kept_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "caches" / "times.json"
    BestTimes(path).record(_run({"get": 500, "list": 2_000}))
    BestTimes(path).record(_run({"get": 450, "list": 2_100}))

    assert BestTimes(path).slow_operations(_run({"get": 517, "list": 2_300, "count": 9_999})) == []
    assert [str(each) for each in BestTimes(path).slow_operations(_run({"get": 540, "list": 2_400}))] == [
        "SQLite 1, get: 540 µs, 20% above the best of 450 µs",
        "SQLite 1, list: 2,400 µs, 20% above the best of 2,000 µs",
    ]


@pytest.mark.parametrize("other", [_run({"get": 900}, python="3.11.7"), _run({"get": 900}, database="PostgreSQL")])
def test_best_times_belong_to_one_python_and_one_database(other: Run, tmp_path: Path) -> None:
    best = BestTimes(tmp_path / "times.json")
    best.record(_run({"get": 500}))

    assert best.slow_operations(other) == []
    assert len(best.slow_operations(_run({"get": 900}))) == 1


def test_a_file_that_holds_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    path.write_text("[1]", encoding="utf-8")

    with pytest.raises(ValueError, match=r"times\.json does not hold the best times of this benchmark; delete it"):
        BestTimes(path)


def test_the_file_is_in_the_cache_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")

    assert cache_file() == Path("/caches/layered-backend/benchmark-times.json")


def test_the_load_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    loads, slept = [2.0, 0.9, 0.4], list[float]()
    monkeypatch.setattr(os, "getloadavg", lambda: (loads.pop(0), 0, 0))
    monkeypatch.setattr(time, "sleep", slept.append)

    assert load_once_quiet() == 0.4
    assert len(slept) == 2


class _Command:
    """The command with a run that is made up.

    Attributes:
        published: The results that it has published.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self._patch, self._path = monkeypatch, path
        self.published: list[Results] = []
        monkeypatch.setattr(command, "publish", self.published.append)
        monkeypatch.setattr(command, "stored_results", lambda: Results(runs=[]))

    def run(self, measured: Run, *options: str, load: float = 0.1) -> None:
        async def run(choice: Choice, show: object) -> Run:
            return measured

        running = ModuleType("benchmarks.running")  # which the peers are needed for
        self._patch.setattr(running, "run", run, raising=False)
        self._patch.setitem(sys.modules, running.__name__, running)
        self._patch.setattr(command, "load_once_quiet", lambda: load)
        self._patch.setattr(sys, "argv", ["benchmarks", "--best-times", str(self._path), *options])
        command.main()


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> _Command:
    return _Command(monkeypatch, tmp_path / "times.json")


def test_a_quiet_run_is_published(made_up: _Command) -> None:
    measured = _run({"get": 500})

    made_up.run(measured)

    assert made_up.published == [Results(runs=[measured])]


def test_a_run_on_a_machine_that_was_faster_is_refused(made_up: _Command) -> None:
    made_up.run(_run({"get": 500, "list": 2_000}), "--quick")

    with pytest.raises(
        SystemExit, match=r"Not published\.[^,]*\n  SQLite 1, get: 600 µs, 20% above .*\nEnd what else runs"
    ):
        made_up.run(_run({"get": 600, "list": 2_000}))
    assert made_up.published == []


def test_nothing_is_measured_for_publishing_under_load(made_up: _Command) -> None:
    with pytest.raises(SystemExit, match=r"Nothing is measured: the load is 0\.60"):
        made_up.run(_run({"get": 500}), load=0.6)
    assert made_up.published == []


@pytest.mark.parametrize(
    "options", [["--quick"], ["--only", "get"], ["--database", "SQLite"], ["--rounds", "3"], ["--no-publish"]]
)
def test_a_part_of_a_run_is_only_shown(
    options: list[str], made_up: _Command, capsys: pytest.CaptureFixture[str]
) -> None:
    made_up.run(_run({"get": 500}), *options, load=9)

    assert made_up.published == []
    assert "Every bar is met." in capsys.readouterr().out


def test_the_page_has_the_tables_of_the_stored_results() -> None:
    page, results = PAGE.read_text(encoding="utf-8"), stored_results()

    assert results_in(results) in page
    assert with_results(page, results) == page


def test_each_bar_was_measured_against_with_each_python() -> None:
    for run in stored_results().runs:
        assert [each.name for each in run.databases] == list(DATABASES)
        for database in run.databases:
            barred = {row.name for row in database.rows if any(cell.bar is not None for cell in row.cells.values())}
            assert barred == set(BARS)


def test_the_steps_of_each_operation_are_counted() -> None:
    options = ("--database", "SQLite", "--list", "get")
    answer = subprocess.run(  # whose classes are not among those of the tests
        [sys.executable, "-m", "benchmarks.steps", *options], capture_output=True, check=True, text=True
    )

    found = re.findall(r"^SQLite +(\w+) +(\d+) functions in +(\d+) files, +(\d+) calls$", answer.stdout, re.MULTILINE)
    assert [operation for operation, *_ in found] == ["get", "create", "page", "upsert"]
    assert all(int(files) <= int(functions) <= int(calls) for _, functions, files, calls in found)
    assert "unit_of_work.py  UnitOfWork.__aexit__  1" in answer.stdout
    assert "comp>" not in answer.stdout


_MODULE = '''"""A module."""

from elsewhere import _inner


class Thing:
    """A class."""

    size: int
    """How large."""

    def __init__(self) -> None:
        self._size = 1  # a comment

    def grow(self, other: object) -> int:
        """Grow."""
        self._check(other)
        return getattr(other, "_hidden") + self._size

    def _check(self, other: Any) -> None:
        assert other._shown  # type: ignore[attr-defined]
'''


def test_the_shape_of_a_package_is_counted(tmp_path: Path) -> None:
    (tmp_path / "thing.py").write_text(_MODULE, encoding="utf-8")

    shape = Shape.of(tmp_path)

    (module,) = shape.modules
    assert len(module.code) == 10
    assert [(each.name, each.lines) for each in shape.functions] == [
        ("Thing.__init__", 1),
        ("Thing.grow", 2),
        ("Thing._check", 1),
    ]
    assert [each.name for each in shape.called_once] == ["Thing._check"]
    assert shape.undocumented == {"_inner": 1, "_hidden": 1, "_shown": 1}
    assert shape.repeated == 0


def test_repeated_code_is_counted_in_lines(tmp_path: Path) -> None:
    same = "".join(f"value_{number} = function(1, 2)\n" for number in range(7))
    (tmp_path / "one.py").write_text(f"first = 1\n{same}", encoding="utf-8")
    (tmp_path / "two.py").write_text(f"{same}second = 2\n", encoding="utf-8")

    assert Shape.of(tmp_path).repeated == 14
