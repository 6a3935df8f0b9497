"""Rows sent to PostgreSQL as one array for each column: one statement, however many there are.

An array is written as text, all its values at once: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO. The
drivers write it value by value, in Python, at several times the cost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Connection, Dialect, Insert, Table, bindparam, cast, func, insert, select
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB
from sqlalchemy.exc import CompileError
from sqlalchemy.types import (
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Double,
    Enum,
    Integer,
    Numeric,
    SmallInteger,
    Text,
    TypeDecorator,
    TypeEngine,
    Uuid,
)

from layered_backend.dialects.rows import Rows, processed

__all__ = ["inserted_from_arrays", "upserted_from_arrays"]

_LONGEST = 16 * 2**20  # characters of an array; where rows are so large, what SQLAlchemy costs for each is little
_SEPARATOR = "\x00"  # which no text has in PostgreSQL


def inserted_from_arrays(connection: Connection, rows: Rows) -> bool:
    """Insert *rows*, and tell whether that could be done."""
    parameters = _parameters(rows, connection.dialect)
    if parameters is None:
        return False
    statement = _insert(rows.table, tuple(rows.values), tuple(rows.constants), connection.dialect)
    connection.execute(statement, parameters)
    return True


def upserted_from_arrays(connection: Connection, statement: Insert, on: Sequence[Column[Any]], rows: Rows) -> bool:
    """Execute *statement*, an upsert by the key *on*, for all of *rows* at once, and tell whether that could be done."""
    dialect = connection.dialect
    parameters = _parameters(rows, dialect)
    # One statement may not write a row twice, so keys that the server takes for equal have to come one after the other.
    if parameters is None or not all(_form(column.type, dialect).tells_apart for column in on):
        return False
    connection.execute(_from_arrays(statement, [*rows.values], [*rows.constants], dialect), parameters)
    return True


def _parameters(rows: Rows, dialect: Dialect) -> Mapping[str, Any] | None:
    """Return the parameters of the statement; None where SQLAlchemy's own way must write a value, or refuse it."""
    if not (rows.is_complete and rows.values):
        return None
    try:
        values = {column: processed(column.type, given, dialect) for column, given in rows.values.items()}
    except Exception:  # noqa: BLE001  # whatever a column type raises it raises there too, with all that hangs on it
        return None
    try:
        arrays = [_array(_form(column.type, dialect), given) for column, given in values.items()]
    except (CompileError, OverflowError, ValueError):
        return None
    constants = {f"constant_{number}": value for number, value in enumerate(rows.constants.values())}
    return {f"array_{number}": array for number, array in enumerate(arrays)} | constants


@lru_cache(maxsize=500)  # statements, as many as SQLAlchemy remembers for an engine
def _insert(
    table: Table, columns: tuple[Column[Any], ...], constants: tuple[Column[Any], ...], dialect: Dialect
) -> Insert:
    return _from_arrays(insert(table), columns, constants, dialect)


def _from_arrays(
    statement: Insert, columns: Sequence[Column[Any]], constants: Sequence[Column[Any]], dialect: Dialect
) -> Insert:
    """Return *statement*, fed by an array for each of *columns*, and a value for each of *constants*."""
    source = _expressions(statement.table)
    for number, column in enumerate(columns):
        item_type = _form(column.type, dialect).item_type
        array = cast(bindparam(f"array_{number}", type_=Text()), ARRAY(item_type, dimensions=1))
        source[column] = func.unnest(array)
    for number, column in enumerate(constants):
        source[column] = bindparam(f"constant_{number}", type_=column.type)
    return statement.from_select([*source], select(*source.values()), include_defaults=False)


def _expressions(table: Any) -> dict[Column[Any], ColumnElement[Any]]:
    """Return the columns whose defaults are computed in SQL, for each row anew."""
    defaults = {column: column.default for column in table.columns if column.default is not None}
    sequences = {column: default for column, default in defaults.items() if default.is_sequence}
    return {
        **{column: default.arg for column, default in defaults.items() if default.is_clause_element},
        **{column: sequence.next_value() for column, sequence in sequences.items() if not sequence.optional},
    }


class _Form(NamedTuple):
    """How the values of a column are written in an array.

    Attributes:
        kinds: The types that values may have. Of others each driver thinks something else.
        write: Writes values that are not None.
        item_type: What the server takes the items for; it then assigns them to the column, as those of any statement.
        tells_apart: Whether values that differ here also differ in the column.
    """

    kinds: frozenset[type]
    write: Callable[[Sequence[Any]], Iterator[str]]
    item_type: TypeEngine[Any]
    tells_apart: bool = True


def _texts(values: Sequence[str]) -> Iterator[str]:
    joined = _SEPARATOR.join(values)
    if joined.count(_SEPARATOR) != len(values) - 1:
        raise ValueError("PostgreSQL has no place for this character")
    return (f'"{text}"' for text in joined.replace("\\", r"\\").replace('"', r"\"").split(_SEPARATOR))


def _moments(values: Sequence[datetime]) -> Iterator[str]:
    if any(value.tzinfo is None for value in values):
        raise ValueError("each driver takes it for a moment of another time zone")
    return (value.astimezone(UTC).isoformat() for value in values)


def _local_moments(values: Sequence[datetime]) -> Iterator[str]:
    if any(value.tzinfo is not None for value in values):
        raise ValueError("each driver makes another local time of it")
    return map(datetime.isoformat, values)


def _floats(values: Sequence[float]) -> Iterator[str]:
    return map(repr, map(float, values))


def _booleans(values: Sequence[bool]) -> Iterator[str]:
    return ("t" if value else "f" for value in values)


def _uuids(values: Sequence[UUID]) -> Iterator[str]:
    return (value.hex for value in values)


def _strings(values: Sequence[Any]) -> Iterator[str]:
    return map(str, values)


_TEXT = _Form(frozenset({str}), _texts, Text())
# https://www.postgresql.org/docs/current/datatype.html
_FORMS: Mapping[str, _Form] = {
    "VARCHAR": _TEXT,
    "TEXT": _TEXT,
    "CHAR": _TEXT._replace(tells_apart=False),  # blanks at the end do not count
    "SMALLINT": _Form(frozenset({int}), _strings, SmallInteger()),
    "INTEGER": _Form(frozenset({int}), _strings, Integer()),
    "BIGINT": _Form(frozenset({int}), _strings, BigInteger()),
    "NUMERIC": _Form(frozenset({int, Decimal}), _strings, Numeric()),
    "REAL": _Form(frozenset({int, float}), _floats, Double(), tells_apart=False),
    "FLOAT": _Form(frozenset({int, float}), _floats, Double(), tells_apart=False),
    "DOUBLE PRECISION": _Form(frozenset({int, float}), _floats, Double(), tells_apart=False),
    "BOOLEAN": _Form(frozenset({bool}), _booleans, Boolean()),
    "UUID": _Form(frozenset({UUID}), _uuids, Uuid()),
    "DATE": _Form(frozenset({date}), _strings, Date()),
    "TIMESTAMP WITH TIME ZONE": _Form(frozenset({datetime}), _moments, DateTime(timezone=True)),
    "TIMESTAMP WITHOUT TIME ZONE": _Form(frozenset({datetime}), _local_moments, DateTime()),
    "JSON": _TEXT._replace(item_type=JSON(), tells_apart=False),
    "JSONB": _TEXT._replace(item_type=JSONB(), tells_apart=False),
}
_PRECISION = re.compile(r" ?\([^)]*\)")


@lru_cache(maxsize=500)  # types of columns
def _form(column_type: TypeEngine[Any], dialect: Dialect) -> _Form:
    """Return the form of a column's values.

    Raises:
        ValueError: There is none: the type is not one of those above, or wraps its values in SQL.
    """
    own_type = column_type.dialect_impl(dialect)
    if own_type.bind_expression(bindparam(None, type_=own_type)) is not None:
        raise ValueError("a value is an expression")
    while isinstance(own_type, TypeDecorator):
        own_type = own_type.impl_instance
    if isinstance(own_type, Enum) and own_type.native_enum:
        return _TEXT._replace(item_type=own_type)
    declared = column_type.compile(dialect=dialect)
    plain = _PRECISION.sub("", declared)
    name, collate, _ = plain.partition(" COLLATE ")
    if name not in _FORMS:
        raise ValueError("the drivers know how to write it")
    form = _FORMS[name]
    rounds = plain != declared and form is not _TEXT
    return form._replace(tells_apart=form.tells_apart and not (rounds or collate))


def _array(form: _Form, values: Sequence[Any]) -> str:
    """Return *values* as an array.

    Raises:
        ValueError: A value has no place in it, or the array is too long.
    """
    kinds = {*map(type, values)}
    given = [value for value in values if value is not None] if type(None) in kinds else values
    if not kinds - {type(None)} <= form.kinds:
        raise ValueError("the drivers take such a value, or refuse it, each in its own way")
    written = form.write(given) if given else iter(())
    items = written if given is values else ("NULL" if value is None else next(written) for value in values)
    array = f"{{{','.join(items)}}}"
    if len(array) > _LONGEST:
        raise ValueError("too long")
    return array
