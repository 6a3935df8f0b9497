"""Where the results of a whole run go: a file, and the page of the documentation with its tables and its chart."""

from __future__ import annotations

from pathlib import Path

from benchmarks.results import Results
from benchmarks.tables import markdown_of

__all__ = ["CHART", "PAGE", "RESULTS", "publish", "results_in", "stored_results", "with_results"]

_ROOT = Path(__file__).parents[1]
RESULTS = _ROOT / "benchmarks" / "results.json"
PAGE = _ROOT / "docs" / "performance.md"
CHART = _ROOT / "docs" / "performance.svg"

_BEGIN = "<!-- results: written by `hatch run bench` -->\n"
_END = "\n<!-- end of results -->"


def stored_results() -> Results:
    """Return the results of the last whole run."""
    return Results.model_validate_json(RESULTS.read_bytes())


def publish(results: Results) -> None:
    """Write the file, the tables and the chart."""
    from benchmarks.chart import draw  # needs matplotlib, which the tests of this module have not

    RESULTS.write_text(results.model_dump_json(indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(with_results(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    draw(results, CHART)


def with_results(page: str, results: Results) -> str:
    """Return *page* with the tables of *results* in the place of those that it has."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    assert after, "the page has no place for results"
    return f"{before}{_BEGIN}{results_in(results)}{_END}{after}"


def results_in(results: Results) -> str:
    """Return the results in Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in results.packages.items())
    tables = (f"### {database.name} {database.version}\n\n{markdown_of(database)}" for database in results.databases)
    measured = f"Python {results.python}, {versions}; {results.rounds} rounds."
    return "\n\n".join((measured, *tables)) + "\n"
