"""Cursors: a place in an order, as text that only this module reads.

A cursor holds the values that its row is sorted by, and a fingerprint of its sort and filter. Another query, in which it
would mean another place, refuses it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

from sqlalchemy import Column, Dialect, and_
from sqlalchemy.types import TypeEngine

from layered_backend.columns import NOTATIONS
from layered_backend.errors import InvalidCursorError
from layered_backend.query.criteria import Criterion
from layered_backend.query.sort_terms import Term

__all__ = ["Cursor", "decoded", "encoded", "fingerprint"]

_NUMBERS = (int, float, Decimal)
_MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_LARGEST_EXPONENT = 1_000  # no sum of integers has more digits, and to make an integer of millions takes minutes
_FINGERPRINT_SIZE = 9  # bytes, which base64 makes 12 characters of


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in an order.

    Attributes:
        values: The values that the row at that place is sorted by.
        is_backward: Whether the page ends before that place, or begins behind it.
        is_inclusive: Whether the row at that place is on the page.
    """

    values: tuple[Any, ...]
    is_backward: bool = False
    is_inclusive: bool = False


def fingerprint(terms: Sequence[Term], where: Sequence[Criterion], entity: str, dialect: Dialect) -> str:
    """Return a digest of a query: of its entity, its sort, and its filter with the values in it."""
    described = [entity, *(_described(term, dialect) for term in terms)]
    if where:
        compiled = and_(*where).compile(dialect=dialect)
        described += [str(compiled), repr(sorted(compiled.params.items()))]
    digest = hashlib.sha256("\n".join(described).encode(errors="backslashreplace"))
    return base64.urlsafe_b64encode(digest.digest()[:_FINGERPRINT_SIZE]).decode()


def _described(term: Term, dialect: Dialect) -> str:
    expression = term.expression
    is_column = isinstance(expression, Column)  # its name is quicker to get than its SQL
    name = f"{expression.table}.{expression.key}" if is_column else expression.compile(dialect=dialect)
    return f"{name} {term.is_descending} {term.nulls_first}"


def encoded(cursor: Cursor, fingerprint: str) -> str:
    """Return *cursor* as text for a URL.

    Raises:
        TypeError: A value is of a type that cannot be put into a cursor.
    """
    values = [_tagged(value) for value in cursor.values]
    content = json.dumps([cursor.is_backward, cursor.is_inclusive, values], separators=(",", ":"))
    return fingerprint + base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def decoded(text: str, fingerprint: str, types: Sequence[TypeEngine[Any]]) -> Cursor:
    """Return the cursor that *text* holds, with values of *types*.

    Raises:
        InvalidCursorError: It is broken, or belongs to another query.
    """
    if not text.startswith(fingerprint):
        raise InvalidCursorError
    content = text.removeprefix(fingerprint)
    try:
        raw = base64.b64decode(content + "=" * (-len(content) % 4), altchars=b"-_", validate=True)
        is_backward, is_inclusive, values = json.loads(raw)
        read = [_untagged(value, column_type) for value, column_type in zip(values, types, strict=True)]
    except _MALFORMED as error:
        raise InvalidCursorError from error
    return Cursor(tuple(read), is_backward is True, is_inclusive is True)


def _tagged(value: object) -> object:
    """Return *value* as JSON has it, or as a pair of its type and its text where JSON does not."""
    if value is None or isinstance(value, bool | str | int | float):
        return value
    for tag, notation in NOTATIONS.items():
        if isinstance(value, notation.type):
            return [tag, notation.write(value)]
    raise TypeError(f"a cursor cannot hold a {type(value).__name__}; sort by something simpler")


def _untagged(value: object, column_type: TypeEngine[Any]) -> object:
    if isinstance(value, list):
        tag, text = cast("tuple[str, str]", value)
        value = NOTATIONS[tag].read(text)
    if not _fits(value, column_type):
        raise TypeError
    return value


def _fits(value: object, column_type: TypeEngine[Any]) -> bool:
    """Tell whether *value* can be compared with a *column_type*: a client may have forged the cursor."""
    try:
        expected = column_type.python_type
    except NotImplementedError:
        return not isinstance(value, dict)
    if value is None or not issubclass(expected, _NUMBERS):
        return value is None or isinstance(value, expected)
    if not isinstance(value, _NUMBERS) or (isinstance(value, bool) and not issubclass(expected, int)):
        return False
    number = Decimal(value)  # a sum of integers may come as one
    return not issubclass(expected, int) or (number.is_finite() and number.adjusted() <= _LARGEST_EXPONENT)
