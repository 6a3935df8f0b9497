"""The place of published results: a file, and the page of the documentation with its tables and its chart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.results import Results, Run
from benchmarks.tables import markdown_of

__all__ = ["CHART", "PAGE", "RESULTS", "publish", "results_in", "stored_results", "with_results"]

_ROOT = Path(__file__).parents[1]
RESULTS = _ROOT / "benchmarks" / "results.json"
PAGE = _ROOT / "docs" / "performance.md"
CHART = _ROOT / "docs" / "performance.svg"

_BEGIN = "<!-- results: written by `hatch run bench` -->\n"
_END = "\n<!-- end of results -->"
_NONE = "No run is published yet: the operations, the columns or the bars have changed since the last one."


def stored_results() -> Results:
    """Return the published results."""
    return Results.model_validate_json(RESULTS.read_bytes())


def publish(results: Results) -> None:
    """Write the file, the tables and the chart."""
    from benchmarks.chart import draw  # needs matplotlib, which the tests of this module do not have

    RESULTS.write_text(results.model_dump_json(indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(with_results(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    if results.runs:
        draw(results, CHART)
    else:
        CHART.unlink(missing_ok=True)


def with_results(page: str, results: Results) -> str:
    """Return *page* with the tables of *results* in place of the tables that it has."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    assert after, "the page has no place for results"
    return f"{before}{_BEGIN}{results_in(results)}{_END}{after}"


def results_in(results: Results) -> str:
    """Return the results in Markdown."""
    return "\n\n".join(_parts(results) if results.runs else [_NONE]) + "\n"


def _parts(results: Results) -> Iterator[str]:
    yield f"![Each operation as a part of the hand-written one, on {' and '.join(results.databases)}]({CHART.name})"
    yield "\n".join(_conditions(run) for run in results.runs)
    for database in results.databases:
        yield f"### {database}"
        yield markdown_of(results, database)


def _conditions(run: Run) -> str:
    """Return the versions that a run was made with, as one item of a list."""
    databases = (f"{each.name} {each.version}" for each in run.databases)
    packages = (f"{name} {version}" for name, version in run.packages.items())
    versions = ", ".join((f"Python {run.python}", *databases, *packages))
    return f"- {versions}; {run.rounds} rounds on {run.measured:%Y-%m-%d}."
