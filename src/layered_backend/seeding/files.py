"""Rows in files: JSON, JSON Lines, CSV and YAML are read, and all but CSV written."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO, cast

from layered_backend.errors import SeedDataError, SeedPlanError

__all__ = ["EMPTY", "FileRows", "text_of"]

Row = Mapping[str, Any]

_WIDTH = 120  # characters of a line
_BREAKS = frozenset("\x85\u2028\u2029")


class _Empty:
    """An empty cell: the empty text, or no value, as the column decides."""

    def __repr__(self) -> str:
        return "an empty cell"


EMPTY = _Empty()


class FileRows:
    """The rows of a file, which is read anew at each iteration.

    Attributes:
        name: The file's name, for messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name: str = path.name
        reader = _READERS.get(path.suffix.lower())
        if reader is None:
            raise SeedDataError(f"rows come from {', '.join(_READERS)}", source=self.name)
        self._reader = reader

    def __iter__(self) -> Iterator[Row]:
        try:
            with self._path.open(encoding="utf-8-sig", newline="") as file:
                yield from self._reader(file)
        except OSError as error:
            raise SeedDataError(f"the file cannot be read ({error.strerror})", source=self.name) from error
        except UnicodeDecodeError as error:
            raise SeedDataError("the file is not written in UTF-8", source=self.name) from error
        except SeedDataError as error:
            error.source = error.source or self.name
            raise


def _objects(values: object) -> Iterator[Row]:
    if not isinstance(values, list):
        raise SeedDataError("the file is not a list of rows")
    for number, value in enumerate(cast("list[object]", values), start=1):
        yield _object(value, number)


def _object(value: object, number: int) -> Row:
    if not isinstance(value, dict):
        raise SeedDataError("the row is not made of names and values", row=number)
    return cast("Row", value)


def _json(file: TextIO) -> Iterator[Row]:
    try:
        values = json.load(file)
    except json.JSONDecodeError as error:
        raise SeedDataError(f"the file is no JSON, or was cut short (line {error.lineno}: {error.msg})") from error
    yield from _objects(values)


def _json_lines(file: TextIO) -> Iterator[Row]:
    number = 0
    for line in file:
        if not line.strip():
            continue
        number += 1
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise SeedDataError(f"the line is no JSON, or was cut short ({error.msg})", row=number) from error
        yield _object(value, number)


def _csv(file: TextIO) -> Iterator[Row]:
    reader = csv.reader(file, strict=True)
    number = 0
    try:
        header: list[str] = next(reader, list[str]())
        _check_header(header)
        for cells in reader:
            if not cells:  # an empty line
                continue
            number += 1
            if len(cells) != len(header):
                raise SeedDataError(f"the row has {len(cells)} cells, and the header {len(header)}", row=number)
            yield dict(zip(header, (cell or EMPTY for cell in cells), strict=True))
    except csv.Error as error:
        raise SeedDataError(f"the row is no CSV, or was cut short ({error})", row=number + 1) from error


def _check_header(header: list[str]) -> None:
    if not header:
        raise SeedDataError("the file is empty; its first line names the columns")
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise SeedDataError("the header names the column twice", column=twice)


def _yaml_package() -> Any:
    try:
        return import_module("yaml")
    except ModuleNotFoundError as error:
        raise SeedDataError("YAML needs a package: pip install 'layered-backend[yaml]'") from error


def _yaml(file: TextIO) -> Iterator[Row]:
    yaml = _yaml_package()
    try:
        values = yaml.safe_load(file)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise SeedDataError(f"the file is no YAML, or was cut short{where}") from error
    yield from _objects(values)


_READERS: Mapping[str, Callable[[TextIO], Iterator[Row]]] = {
    ".json": _json,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".csv": _csv,
    ".yaml": _yaml,
    ".yml": _yaml,
}


def text_of(rows: Sequence[Row], suffix: str) -> str:
    """Return *rows*, whose values are of JSON, as a file whose name ends in *suffix* has them.

    Raises:
        SeedPlanError: Rows are not written to such a file.
        SeedDataError: YAML is not installed.
    """
    match suffix.lower():
        case ".json":
            return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
        case ".jsonl" | ".ndjson":
            return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        case ".yaml" | ".yml":
            copy = json.loads(json.dumps(rows))  # of a value that it meets twice, YAML would write a name
            # PyYAML writes the line breaks of Unicode as they are, and reads them as blanks.
            is_unicode = _BREAKS.isdisjoint(json.dumps(rows, ensure_ascii=False))
            text: str = _yaml_package().safe_dump(copy, allow_unicode=is_unicode, sort_keys=False, width=_WIDTH)
            return text
        case _:
            raise SeedPlanError(f"rows are written to .json, .jsonl, .ndjson, .yaml and .yml, not to {suffix!r}")
