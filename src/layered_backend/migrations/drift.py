"""The differences between the tables and the models, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Dialect, Table

__all__ = ["sentences"]

_NOUNS: Mapping[str, str] = {"fk": "foreign key", "table_comment": "the comment of table"}


def sentences(differences: Iterable[Any], dialect: Dialect) -> Iterator[str]:
    """Yield a sentence for each of the *differences* that Alembic's `compare_metadata` returned."""
    for difference in differences:
        if _is_of_column(difference):
            for kind, schema, table, column, _, before, after in difference:
                yield _of_column(kind, _place(schema, table, column), before, after, dialect)
        else:
            yield _of_whole(*difference)


def _is_of_column(difference: object) -> bool:
    """Tell whether *difference* is all that is to be changed in one column."""
    return isinstance(difference, list)


def _of_whole(kind: str, *facts: Any) -> str:
    verb, _, noun = kind.partition("_")
    if noun == "column":
        schema, table, column = facts
        return f"{verb} column {_place(schema, table, column.name)}"
    return f"{verb} {_NOUNS.get(noun, noun)} {_named(facts[0])}"


def _named(item: Any) -> str:
    if isinstance(item, Table):
        return item.fullname
    columns = ", ".join(getattr(column, "name", str(column)) for column in getattr(item, "columns", ()))
    return f"{item.name or ''} of {item.table.fullname} ({columns})".lstrip().removesuffix(" ()")


def _of_column(kind: str, place: str, before: object, after: object, dialect: Dialect) -> str:
    match kind:
        case "modify_type":
            return f"change the type of {place} from {_ddl(before, dialect)} to {_ddl(after, dialect)}"
        case "modify_nullable":
            return f"let {place} be NULL" if after else f"make {place} NOT NULL"
        case "modify_default":
            return f"{_verb(before, after)} the default of {place}"
        case _:
            return f"change the comment of {place}"


def _place(schema: str | None, table: str, column: str) -> str:
    return ".".join(filter(None, (schema, table, column)))


def _ddl(column_type: Any, dialect: Dialect) -> str:
    return str(column_type.compile(dialect=dialect))


def _verb(before: object, after: object) -> str:
    if after is None:
        return "drop"
    return "add" if before is None else "change"
