"""From Pydantic's errors to what is wrong with which variable, without the value."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic.fields import FieldInfo

__all__ = ["RefusedError", "problems_in", "unreadable"]

_NOTEWORTHY = 4  # characters: what is shorter is no secret, and is part of many a sentence
_OF_CHOICES = frozenset({"enum", "literal_error"})  # whose message has the choices, which a value may be a part of
_FIELD = re.compile(r'field "(?P<name>[^"]+)"')


class RefusedError(ValueError):
    """A refusal of a variable by our validators: the end of a sentence that begins with its name, without the value."""


def problems_in(error: ValidationError, settings_class: type[BaseModel]) -> dict[str, str]:
    """Return what is wrong, by the name of the variable; by an empty name where it is none of a single variable."""
    problems: dict[str, str] = {}
    for each in error.errors(include_url=False):
        variable = _variable(settings_class, each["loc"])
        problems.setdefault(variable, _problem(each, _field(settings_class, each["loc"])))
    return problems


def unreadable(error: Exception, settings_class: type[BaseModel]) -> dict[str, str]:
    """Return what is wrong where a variable, which pydantic-settings names in its message, is not JSON but should be."""
    found = _FIELD.search(str(error))
    variable = _variable(settings_class, (found["name"],) if found else ())
    return {variable: "is not JSON, write it as JSON" if variable else "a variable is not JSON, write it as JSON"}


def _field(settings_class: type[BaseModel], location: Sequence[int | str]) -> FieldInfo | None:
    return settings_class.model_fields.get(str(location[0])) if location else None


def _variable(settings_class: type[BaseModel], location: Sequence[int | str]) -> str:
    """Return the variable that is read for *location*, which begins with the name of a field, or with its alias."""
    if not location:
        return ""
    field = _field(settings_class, location)
    if field is None:
        return str(location[0])
    config: Mapping[str, Any] = settings_class.model_config
    names = [f"{config.get('env_prefix') or ''}{location[0]}"]
    if delimiter := config.get("env_nested_delimiter"):
        names += _fields_below(field.annotation, location[1:])
    variable = (delimiter or "").join(names)
    return variable if config.get("case_sensitive") else variable.upper()


def _fields_below(annotation: object, location: Sequence[int | str]) -> Iterator[str]:
    """Yield the names of nested models' fields: what else is in a location, such as a key, may be what must not be shown."""
    for name in map(str, location):
        if not (inspect.isclass(annotation) and issubclass(annotation, BaseModel) and name in annotation.model_fields):
            return
        annotation = annotation.model_fields[name].annotation
        yield name


def _problem(error: Mapping[str, Any], field: FieldInfo | None) -> str:
    if error["type"] == "missing":
        examples = (field and field.examples) or ()
        return "is missing, set it" + "".join(f" to something like {example}" for example in examples[:1])
    raised = error.get("ctx", {}).get("error")
    said = str(raised) if raised else error["msg"]
    sentence = " ".join(said.replace("Input should be", "must be", 1).split())
    if isinstance(raised, RefusedError) or error["type"] in _OF_CHOICES:
        return sentence
    return "is not valid" if any(text in sentence for text in _texts(error["input"])) else sentence


def _texts(value: object) -> Iterator[str]:
    """Yield the texts in *value* that a sentence must not repeat."""
    match value:
        case Mapping():
            inner: Iterable[object] = cast("Mapping[object, object]", value).values()
        case list() | tuple() | set():
            inner = cast("Iterable[object]", value)
        case SecretStr() | SecretBytes():
            inner = (str(value.get_secret_value()),)
        case _:
            text = " ".join(str(value).split())
            inner = ()
            if len(text) >= _NOTEWORTHY:
                yield text
    for each in inner:
        yield from _texts(each)
