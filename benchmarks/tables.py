"""The tables of results: at the terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from benchmarks.contenders import HAND, in_order
from benchmarks.results import Cell, Measure, Results, Row, Run

__all__ = ["line_of", "markdown_of", "tables_of"]

_SMALL = 0.1  # ratios below it are written with two significant digits
_LONG = 10_000  # microseconds, from which on a time is written in milliseconds
_UNITS = {"cpu": "", "wall": " (elapsed)", "microseconds": " (µs)", "mebibytes": " (MiB)"}

_Lines = Sequence[tuple[str, Row]]
"""Rows, each with the version of Python that it was measured with."""


def line_of(database: str, row: Row) -> str:
    """Return one row as a line of text."""
    cells = ", ".join(f"{name} {_plain(cell, row.measure)}" for name, cell in row.cells.items())
    return f"{database}, {row.name}{_UNITS[row.measure]}: {cells}"


def tables_of(run: Run) -> Iterator[Table]:
    """Yield the tables of a run for the terminal; a cell that misses its bar is red."""
    results = Results(runs=[run])
    for database in results.databases:
        for section, lines in _sections(results, database):
            contenders = _contenders_of(lines)
            table = Table(title=f"{database}, Python {run.minor}: {section}")
            for name in ("", HAND, *contenders):
                table.add_column(name, justify="right" if name else "left")
            for _, row in lines:
                cells = (_coloured(row.cells.get(name), row.measure) for name in contenders)
                table.add_row(row.name + _UNITS[row.measure], _hand_written(row), *cells)
            yield table


def markdown_of(results: Results, database: str) -> str:
    """Return the tables of a database in Markdown: one for each section, with a line for each Python."""
    return "\n\n".join(_table(section, lines) for section, lines in _sections(results, database))


def _sections(results: Results, database: str) -> Iterator[tuple[str, _Lines]]:
    """Yield each section with its lines: operations in the order in which they were measured, Pythons side by side."""
    sections: dict[str, dict[str, list[tuple[str, Row]]]] = {}
    for run in results.runs:
        for row in run.rows_of(database):
            sections.setdefault(row.section, {}).setdefault(row.name, []).append((run.minor, row))
    for section, operations in sections.items():
        yield section, [line for lines in operations.values() for line in lines]


def _contenders_of(lines: _Lines) -> Sequence[str]:
    """Return the contenders of any of the lines, besides the hand-written code."""
    return in_order({name for _, row in lines for name in row.cells} - {HAND})


def _table(section: str, lines: _Lines) -> str:
    contenders = _contenders_of(lines)
    cells = [(section, "Python", HAND, *contenders), ("---", *["---:"] * (len(contenders) + 2))]
    for python, row in lines:
        numbers = (_plain(row.cells.get(contender), row.measure) for contender in contenders)
        cells.append((row.name + _UNITS[row.measure], python, _hand_written(row), *numbers))
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _coloured(cell: Cell | None, measure: Measure) -> str:
    if cell is None or cell.is_met(measure) is None:
        return _numbers(cell, measure)
    colour = "green" if cell.is_met(measure) else "red"
    return f"[{colour}]{_numbers(cell, measure)}\n[dim]bar {cell.bar:.4g}[/dim][/{colour}]"


def _plain(cell: Cell | None, measure: Measure) -> str:
    numbers = _numbers(cell, measure)
    if cell is None or cell.is_met(measure) is None:
        return numbers
    return f"{numbers}, bar {cell.bar:.4g}{'' if cell.is_met(measure) else ' **missed**'}"


def _numbers(cell: Cell | None, measure: Measure) -> str:
    if cell is None:
        return ""
    if cell.spread is None:
        return "none"
    least, median, greatest = (
        _number(value, measure) for value in (cell.spread.least, cell.spread.median, cell.spread.greatest)
    )
    return median if least == greatest else f"{median} ({least}-{greatest})"


def _number(value: float, measure: Measure) -> str:
    if measure in {"microseconds", "mebibytes"}:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= _SMALL else f"{value:.2g}"


def _hand_written(row: Row) -> str:
    if row.microseconds is None:
        return _numbers(row.cells.get(HAND), row.measure)
    if row.microseconds >= _LONG:
        return f"{row.microseconds / 1000:,.0f} ms"
    return f"{row.microseconds:,.0f} µs"
