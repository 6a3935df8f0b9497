"""Primary keys in paths: `/{id}`, or a segment for each part of a composite one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Path
from pydantic import TypeAdapter
from sqlalchemy.orm import Mapper

from layered_backend.errors import InvalidDataError
from layered_backend.fastapi.signatures import signed

__all__ = ["KeyPath"]

_ELSEWHERE = frozenset({"", ".", ".."})  # segments of a path that clients and servers take for another path


class KeyPath:
    """How the key of a mapped class stands in a path. Lives as long as its router.

    Args:
        mapper: Of the mapped class.
    """

    def __init__(self, mapper: Mapper[Any]) -> None:
        self._mapper = mapper
        self._types: Mapping[str, Any] = {
            mapper.get_property_by_column(column).key: _python_type(column) for column in mapper.primary_key
        }
        self._adapters = {name: TypeAdapter[Any](kind) for name, kind in self._types.items()}

    @property
    def template(self) -> str:
        """The path of one entity, below that of all."""
        return "".join(f"/{{{name}}}" for name in self._types)

    def dependency(self) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Return the dependency whose value is the key in the request's path, as repositories take it."""
        names = [*self._types]

        async def get_key(**parts: Any) -> Any:
            return parts[names[0]] if len(names) == 1 else tuple(parts[name] for name in names)

        described = {
            name: Annotated[kind, Path(description=f"`{name}` of the {self._mapper.class_.__name__}.")]
            for name, kind in self._types.items()
        }
        signed(get_key, described)
        return get_key

    def path_of(self, entity: Any) -> str:
        """Return the path of *entity*, below that of all.

        Raises:
            InvalidDataError: A part of its key cannot stand in a path.
        """
        return "".join(f"/{self._segment(name, getattr(entity, name))}" for name in self._types)

    def _segment(self, name: str, value: object) -> str:
        text = str(self._adapters[name].dump_python(value, mode="json"))
        if text in _ELSEWHERE or "/" in text:
            raise InvalidDataError(
                f"{self._mapper.class_.__name__}.{name} cannot be part of a path; choose another value"
            )
        return quote(text, safe="")


def _python_type(column: Any) -> Any:
    kind = column.type
    if getattr(kind, "as_uuid", None) is False:
        return str
    try:
        return kind.python_type
    except NotImplementedError:
        return str
