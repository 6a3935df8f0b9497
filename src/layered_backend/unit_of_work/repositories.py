"""The repositories that a unit of work declares by annotation: `items: ItemRepository`."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cached_property
from typing import Any, ClassVar, ForwardRef, Protocol, cast, get_origin

from typing_extensions import Format, get_annotations

from layered_backend.errors import UnitOfWorkError
from layered_backend.repository import BaseRepository
from layered_backend.type_arguments import resolved

__all__ = ["declare_repositories"]

_CLASS_VARIABLE = re.compile(r"(\w+\.)?ClassVar\b")


class HasRepositories(Protocol):
    def repository(self, repository_class: type[BaseRepository[Any]], /) -> BaseRepository[Any]: ...


def declare_repositories(cls: type[HasRepositories], reserved: Collection[str]) -> None:
    """Give *cls* an attribute for each repository that its own body annotates.

    A name with a value, a ClassVar and a name with a leading underscore are left alone.

    Raises:
        TypeError: A name is one of *reserved*.
    """
    for name, annotation in get_annotations(cls, format=Format.FORWARDREF).items():
        if name in vars(cls) or name.startswith("_") or _is_class_variable(annotation):
            continue
        if name in reserved:
            raise TypeError(
                f"{cls.__name__}.{name}: a unit of work already has {name!r}; give the repository another name"
            )
        attribute = RepositoryAttribute(cls, name, annotation)
        setattr(cls, name, attribute)


class RepositoryAttribute:
    """One declared repository: its annotation is resolved and the repository built on first use, alone."""

    def __init__(self, owner: type, name: str, annotation: Any) -> None:
        self._owner = owner
        self._name = name
        self._annotation = annotation

    def __get__(self, unit_of_work: HasRepositories | None, owner: type) -> Any:
        if unit_of_work is None:
            return self
        repository = unit_of_work.repository(self._repository_class)
        setattr(unit_of_work, self._name, repository)  # found there from now on: this descriptor has no __set__
        return repository

    @cached_property
    def _repository_class(self) -> type[BaseRepository[Any]]:
        annotation = self._resolved()
        if not _is_repository_class(get_origin(annotation) or annotation):
            raise UnitOfWorkError(
                f"{self} is annotated {annotation!r}, which is not a repository; give it a value or make it a ClassVar"
            )
        return cast("type[BaseRepository[Any]]", annotation)

    def _resolved(self) -> object:
        try:
            return resolved(self._annotation, self._owner)
        except NameError as error:
            raise UnitOfWorkError(
                f"{self} is annotated {self._annotation!r}, and {error.name!r} is not defined in {self._owner.__module__}; "
                f"import {error.name} there at run time, not only under TYPE_CHECKING"
            ) from error

    def __str__(self) -> str:
        return f"{self._owner.__name__}.{self._name}"


def _is_repository_class(candidate: object) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, BaseRepository)


def _is_class_variable(annotation: object) -> bool:
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        return _CLASS_VARIABLE.match(annotation) is not None
    return annotation is ClassVar or get_origin(annotation) is ClassVar
