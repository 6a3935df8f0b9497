"""The chart of a run: every ratio, on a scale where twice as fast is as far from 1 as twice as slow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.contenders import (
    ADVANCED_ALCHEMY,
    ALONE,
    ENTITIES,
    ENTITIES_DEFERRED,
    FASTAPI_PAGINATION,
    FASTCRUD,
    KEYSET,
    PROJECTION,
    PROJECTION_DEFERRED,
    SQLAKEYSET,
)
from benchmarks.results import Cell, Results, Row

__all__ = ["draw"]

_TEXT = "#757d87"  # as far from white as from black
_RATIOS = {"cpu", "wall"}
_LOOKS = {
    ENTITIES: ("#2f81f7", "o"),
    ENTITIES_DEFERRED: ("#79c0ff", "o"),
    PROJECTION: ("#3fb950", "s"),
    PROJECTION_DEFERRED: ("#7ee787", "s"),
    ALONE: ("#a371f7", "D"),
    ADVANCED_ALCHEMY: ("#db8b28", "^"),
    FASTCRUD: ("#e5534b", "v"),
    SQLAKEYSET: ("#c96198", "<"),
    FASTAPI_PAGINATION: ("#b08800", ">"),
    KEYSET: (_TEXT, "|"),
}
_STYLE = {
    "font.size": 8,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "layered-backend",  # the same results make the same file
    "text.color": _TEXT,
    "axes.edgecolor": _TEXT,
    "axes.labelcolor": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
}


def draw(results: Results, path: Path) -> None:
    """Write the chart of *results* to *path*, as SVG without a background: it is read on white and on black."""
    names = list(dict.fromkeys(row.name for run in results.runs for each in run.databases for row in _drawn(each.rows)))
    with mpl.rc_context(_STYLE):
        height = (0.6 + 0.4 * len(names)) * len(results.runs)
        figure = Figure(figsize=(11, 0.8 + height), layout="constrained")
        grid: Any = figure.subplots(len(results.runs), len(results.databases), sharex=True, sharey=True, squeeze=False)
        panels: list[Any] = []
        for line, run in zip(grid, results.runs, strict=True):
            for axes, database in zip(line, results.databases, strict=True):
                axes.set_title(f"{database}, Python {run.minor}")
                _fill(axes, _drawn(run.rows_of(database)), names)
                panels.append(axes)
        handles = {
            label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles, loc="outside upper center", ncols=5, frameon=False)
        figure.supxlabel(
            "part of the hand-written operation: median and range; an upright line is the bar", fontsize="medium"
        )
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})


def _drawn(rows: Sequence[Row]) -> Sequence[Row]:
    return [row for row in rows if row.measure in _RATIOS]


def _fill(axes: Any, rows: Sequence[Row], names: Sequence[str]) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.axvline(1, color=_TEXT, linewidth=1)
    axes.grid(axis="x", color=_TEXT, alpha=0.2)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for name, (colour, marker) in _LOOKS.items():
        points = [(names.index(row.name), row.cells[name]) for row in rows if name in row.cells]
        _points(axes, points, name, colour, marker)


def _points(axes: Any, points: Sequence[tuple[int, Cell]], name: str, colour: str, marker: str) -> None:
    offset = (list(_LOOKS).index(name) - len(_LOOKS) / 2 + 0.5) * 0.09  # next to each other, not one on the other
    drawn = [(place + offset, cell.spread, cell.bar) for place, cell in points if cell.spread]
    for place, spread, bar in drawn:
        axes.plot([spread.least, spread.greatest], [place, place], color=colour, linewidth=1, alpha=0.6)
        if bar is not None:
            axes.plot([bar, bar], [place - 0.1, place + 0.1], color=colour, linewidth=1.5)
    if drawn:
        medians = [spread.median for _, spread, _ in drawn]
        axes.plot(medians, [place for place, _, _ in drawn], marker, color=colour, markersize=4, label=name)
