"""The tables of a run: at the terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from benchmarks.contenders import HAND, in_order
from benchmarks.results import Cell, DatabaseResults, Measure, Row

__all__ = ["contenders_of", "line_of", "markdown_of", "tables_of"]

_SMALL = 0.1  # ratios below it are written with two digits that count
_LONG = 10_000  # microseconds, from which on a time is written in milliseconds
_UNITS = {"cpu": "", "wall": " (elapsed)", "microseconds": " (µs)", "mebibytes": " (MiB)"}


def contenders_of(rows: Sequence[Row]) -> Sequence[str]:
    """Return who takes part in any of the rows, beside what is written by hand."""
    return in_order({name for row in rows for name in row.cells} - {HAND})


def line_of(database: str, row: Row) -> str:
    """Return one row as a line of text."""
    cells = ", ".join(f"{name} {_plain(cell, row.measure)}" for name, cell in row.cells.items())
    return f"{database}, {row.name}{_UNITS[row.measure]}: {cells}"


def tables_of(database: DatabaseResults) -> Iterator[Table]:
    """Yield the tables of a database for the terminal; what misses its bar is red."""
    for section, rows in database.sections.items():
        contenders = contenders_of(rows)
        table = Table(title=f"{database.name}: {section}")
        for name in ("", "by hand", *contenders):
            table.add_column(name, justify="right" if name else "left")
        for row in rows:
            cells = (_coloured(row.cells.get(name), row.measure) for name in contenders)
            table.add_row(row.name + _UNITS[row.measure], _by_hand(row), *cells)
        yield table


def markdown_of(database: DatabaseResults) -> str:
    """Return the tables of a database in Markdown, one for each section."""
    return "\n\n".join(_section(name, rows) for name, rows in database.sections.items())


def _section(name: str, rows: Sequence[Row]) -> str:
    contenders = contenders_of(rows)
    lines = [(name, "by hand", *contenders), ("---", *["---:"] * (len(contenders) + 1))]
    for row in rows:
        cells = (_plain(row.cells.get(contender), row.measure) for contender in contenders)
        lines.append((row.name + _UNITS[row.measure], _by_hand(row), *cells))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _coloured(cell: Cell | None, measure: Measure) -> str:
    if cell is None or cell.is_met(measure) is None:
        return _numbers(cell, measure)
    colour = "green" if cell.is_met(measure) else "red"
    return f"[{colour}]{_numbers(cell, measure)}\n[dim]bar {cell.bar:g}[/dim][/{colour}]"


def _plain(cell: Cell | None, measure: Measure) -> str:
    numbers = _numbers(cell, measure)
    if cell is None or cell.is_met(measure) is None:
        return numbers
    return f"{numbers}, bar {cell.bar:g}{'' if cell.is_met(measure) else ' **missed**'}"


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


def _by_hand(row: Row) -> str:
    if row.microseconds is None:
        return _numbers(row.cells.get(HAND), row.measure)
    if row.microseconds >= _LONG:
        return f"{row.microseconds / 1000:,.0f} ms"
    return f"{row.microseconds:,.0f} µs"
