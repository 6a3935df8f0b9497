"""Writing: what a column gets of a value that a caller gives.

It gets what was given, in the form that every driver takes alike, or the value is refused: each function raises ValueError
with the end of a sentence that begins with the column's name. Nothing that hides a value, as a secret does, is written in its place.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import is_dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from numbers import Integral, Rational, Real
from pathlib import PurePath
from typing import Any, cast

from pydantic import BaseModel, Secret, SecretBytes, SecretStr, TypeAdapter
from pydantic_core import PydanticSerializationError, to_jsonable_python
from sqlalchemy import JSON

from layered_backend.memoization import unique

__all__ = ["is_expression", "write_array", "write_json", "write_number", "write_single", "write_text", "write_whole"]

_SECRETS = (Secret, SecretBytes, SecretStr)
_WRITTEN_OUT = (IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, PurePath)
_COLLECTIONS = (Mapping, list, tuple, set, frozenset)
_MASK = "*" * 10  # as Pydantic writes any secret in JSON
_HIDDEN = "would get asterisks for a secret; give it what get_secret_value() returns"
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


def is_expression(value: object) -> bool:
    """Tell whether the database computes *value*."""
    return hasattr(value, "__clause_element__") or value is JSON.NULL


def write_single(value: object) -> Any:
    """Return *value* for a column that holds one value a row: a secret as what it hides, all else as it is."""
    if isinstance(value, _SECRETS):
        return cast("Any", value).get_secret_value()
    kind: type[object] = type(value)
    if issubclass(kind, (*_COLLECTIONS, BaseModel)) or is_dataclass(kind):
        # asyncmy would write the keys of a mapping into the statement as they are.
        raise ValueError(f"takes a single value, not a {'mapping' if issubclass(kind, Mapping) else kind.__name__}")
    return value


def write_text(value: object) -> Any:
    """Return *value* for text: an address, a path, or a member of an enumeration as its text."""
    value = write_single(value)
    if not isinstance(value, str | bytes):
        text = _plain_or_none(value)
        return text if isinstance(text, str) else value
    return str.__str__(value) if isinstance(value, str) else value


def write_whole(value: object) -> Any:
    """Return *value* for a whole number: a member of an enumeration, or NumPy's integer, as the number that it is."""
    value = write_single(value)
    number: Any = value.value if isinstance(value, Enum) else value
    return operator.index(number) if hasattr(number, "__index__") else value


def write_number(value: object) -> Any:
    """Return *value* for a number: NumPy's integers and floats as Python's."""
    value = write_single(value)
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) and not isinstance(value, Rational) else value


def write_array(value: Any, write: Callable[[Any], Any]) -> Any:
    """Return *value* for an array, each item by *write*."""
    if not _is_a((list, tuple, set, frozenset), value):
        return value
    return [write_array(item, write) if _is_a((list, tuple), item) else write(item) for item in value]


def write_json(value: object) -> Any:
    """Return *value* as Pydantic has it in JSON, whatever is nested in it, and each secret as what it hides."""
    try:
        plain = to_jsonable_python(value, by_alias=False, fallback=_dumped)
        python = _ANYTHING.dump_python(value, by_alias=False, warnings=False)
        return plain if plain == python else _with_secrets(plain, python)
    except (PydanticSerializationError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError("takes JSON, and a part of the value has no form in it") from error


def _dumped(value: object) -> object:
    """Return a value that Pydantic does not know by itself: a secret as what it hides, all else by the schema of its class."""
    if isinstance(value, _SECRETS):
        return cast("Any", value).get_secret_value()
    if isinstance(value, _WRITTEN_OUT):
        return str(value)
    if hasattr(type(value), "__get_pydantic_core_schema__"):
        return _adapter_of(type(value)).dump_python(value, mode="json")
    raise PydanticSerializationError(f"{type(value).__name__} is not JSON")


@unique
def _adapter_of(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _with_secrets(plain: Any, python: Any) -> Any:
    """Return *plain*, which a model has dumped as JSON, with what the secrets in its dump for Python hide.

    A serializer of the model's own, which has written something else than the usual asterisks, has the last word.
    """
    if _is_a(_SECRETS, python):
        return write_json(python.get_secret_value()) if plain in (str(python), _MASK) else plain
    if not _holds_secret(python):
        return plain
    if _is_a(dict, python) and _is_a(dict, plain) and not any(map(_holds_secret, python)):
        return dict(zip(plain, _each_with_secrets(plain.values(), python.values()), strict=True))
    if _is_a((list, tuple), python) and _is_a(list, plain):
        return _each_with_secrets(plain, python)
    raise ValueError(_HIDDEN)


def _each_with_secrets(plain: Collection[Any], python: Collection[Any]) -> list[Any]:
    if len(plain) != len(python):
        raise ValueError(_HIDDEN)
    return [_with_secrets(*pair) for pair in zip(plain, python, strict=True)]


def _holds_secret(value: Any) -> bool:
    if _is_a(dict, value):
        return any(map(_holds_secret, value)) or any(map(_holds_secret, value.values()))
    if _is_a((list, tuple, set, frozenset), value):
        return any(map(_holds_secret, value))
    return _is_a(_SECRETS, value)


def _is_a(kinds: type | tuple[type, ...], value: object) -> bool:
    return isinstance(value, kinds)


def _plain_or_none(value: object) -> Any:
    try:
        return to_jsonable_python(value, fallback=_dumped)
    except (PydanticSerializationError, RecursionError, ValueError):
        return None
