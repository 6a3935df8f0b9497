"""The service: the operations of the domain, and its rules (Fowler, PoEAA: Service Layer)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Generic, Self, cast, get_origin

from pydantic import BaseModel, create_model
from sqlalchemy import inspect
from typing_extensions import TypeVar

from layered_backend.field_values import Data, options_of, whole_values
from layered_backend.memoization import memoized
from layered_backend.query import Criterion, CursorPage, CursorParams, NumberedParams, OrderBy, Page
from layered_backend.repository import BaseRepository
from layered_backend.type_arguments import type_arguments
from layered_backend.unit_of_work import UnitOfWork
from layered_backend.upstream.sqlalchemy.expression import ORMOption

__all__ = ["SERVICE_READS", "BaseService", "classes_of", "unit_of_work_of"]

ModelT = TypeVar("ModelT")
RepositoryT_co = TypeVar("RepositoryT_co", bound=BaseRepository[Any], default=BaseRepository[ModelT], covariant=True)
CreateT_contra = TypeVar("CreateT_contra", bound=Data, default=Data, contravariant=True)
UpdateT_contra = TypeVar("UpdateT_contra", bound=Data, default=Data, contravariant=True)
UnitOfWorkT = TypeVar("UnitOfWorkT", bound=UnitOfWork, default=UnitOfWork)


class BaseService(Generic[ModelT, RepositoryT_co, CreateT_contra, UpdateT_contra, UnitOfWorkT]):
    """The operations on the entities of one mapped class. Lives as long as its unit of work, and never commits.

    Subclass it with the mapped class, its repository and the schemas as type arguments, write the rules of the domain
    as overrides that call `super()`, and its operations as methods:

        class ItemService(BaseService[Item, ItemRepository, ItemCreate, ItemUpdate]):
            async def create(self, data: ItemCreate, **options: Any) -> Item:
                if await self.repository.exists(Item.name == data.name):
                    raise ConflictError("an item of this name exists")
                return await super().create(data, **options)

    Args:
        repository_class: How entities are stored; a subclass may stand in for it.
        model_class: The mapped class.
        uow: The unit of work to take part in.
    """

    def __init__(self, repository_class: type[RepositoryT_co], model_class: type[ModelT], uow: UnitOfWorkT) -> None:
        self.uow = uow
        self._repository = uow.repository(repository_class, model_class)

    @classmethod
    def of(cls, uow: UnitOfWorkT) -> Self:
        """Return a service in *uow*, with the repository and the mapped class that the type arguments name.

        Raises:
            TypeError: The class has no type arguments to take them from.
        """
        repository_class, model_class = classes_of(cls)
        return cls(repository_class, model_class, uow)

    @property
    def repository(self) -> RepositoryT_co:
        """The repository that the service works with."""
        return self._repository

    async def get(self, key: Any, *, options: Sequence[ORMOption] = ()) -> ModelT:
        """Return the entity with that primary key.

        Raises:
            NotFoundError: There is none.
        """
        return await self._entities.get(key, options=options)

    async def list(
        self,
        *where: Criterion,
        order_by: OrderBy | None = None,
        limit: int | None = None,
        offset: int | None = None,
        options: Sequence[ORMOption] = (),
    ) -> Sequence[ModelT]:
        """Return all entities that meet the criteria, as `BaseRepository.list` does."""
        return await self._entities.list(*where, order_by=order_by, limit=limit, offset=offset, options=options)

    async def page(
        self,
        params: NumberedParams,
        /,
        *where: Criterion,
        order_by: OrderBy | None = None,
        options: Sequence[ORMOption] = (),
    ) -> Page[ModelT]:
        """Return one page, and how many entities there are on all of them, as `BaseRepository.page` does."""
        return await self._entities.page(params, *where, order_by=order_by, options=options)

    async def cursor_page(
        self,
        params: CursorParams,
        /,
        *where: Criterion,
        order_by: OrderBy | None = None,
        total: bool = False,
        options: Sequence[ORMOption] = (),
    ) -> CursorPage[ModelT]:
        """Return one page, and the cursors of those beside it, as `BaseRepository.cursor_page` does.

        Raises:
            InvalidCursorError: The cursor is broken, or was made for another sort or filter.
        """
        return await self._entities.cursor_page(params, *where, order_by=order_by, total=total, options=options)

    async def create(
        self, data: CreateT_contra, *, exclude: Collection[str] = (), values: Mapping[str, Any] | None = None
    ) -> ModelT:
        """Make an entity of *data*, write it and return it.

            await service.create(data, exclude={"tag_list"}, values={"author_id": viewer.id})

        Args:
            data: The data of a client.
            exclude: The fields of *data* that are left out.
            values: The application's own values by attribute name. They win over those of *data*.

        Raises:
            InvalidDataError: A field is unknown, or the database cannot store a value.
            ConflictError: A unique constraint or a foreign key is violated.
        """
        return await self._entities.create(data, **options_of(exclude, values))

    async def update(
        self,
        key: Any,
        data: UpdateT_contra,
        *,
        exclude: Collection[str] = (),
        values: Mapping[str, Any] | None = None,
    ) -> ModelT:
        """Change the fields that *data* sets, and return the entity: an omitted field stays, an explicit None is written.

        Args:
            key: The primary key.
            data: The data of a client.
            exclude: The fields of *data* that are left out.
            values: The application's own values by attribute name. They win over those of *data*.

        Raises:
            NotFoundError: No entity has that key.
            InvalidDataError: A field is unknown, or the database cannot store a value.
            ConflictError: A unique constraint or a foreign key is violated.
        """
        return await self._entities.update(key, data, **options_of(exclude, values))

    async def replace(self, key: Any, data: CreateT_contra) -> ModelT:
        """Change all that `create` could have set, and return the entity: an omitted field gets its default.

        It goes through `update`, whose rules hold here too: that gets all of the fields, set, as a kind of UpdateT where
        that is a Pydantic model. What *data* has no field for stays as it is.

        Args:
            key: The primary key. Where *data* has fields for it too, they may only repeat it.
            data: The whole, as for `create`.

        Raises:
            NotFoundError: No entity has that key.
            InvalidDataError: A field is unknown, or the database cannot store a value.
            ConflictError: Another key is given, or a unique constraint or a foreign key is violated.
        """
        values = whole_values(inspect(self._entities.model, raiseerr=True), key, data)
        return await self.update(key, cast("UpdateT_contra", _as_update(type(self), values)))

    async def delete(self, key: Any) -> ModelT:
        """Delete the entity and return it, as it was.

        Raises:
            NotFoundError: No entity has that key.
            ForeignKeyViolationError: Other rows refer to it.
        """
        return await self._entities.delete(key)

    async def exists(self, *where: Criterion) -> bool:
        """Tell whether an entity meets the criteria."""
        return await self._entities.exists(*where)

    async def count(self, *where: Criterion) -> int:
        """Return how many entities meet the criteria."""
        return await self._entities.count(*where)

    @property
    def _entities(self) -> BaseRepository[ModelT]:
        """The repository, as what it stores: its bound cannot say that it is of the service's own mapped class."""
        return cast("BaseRepository[ModelT]", self.repository)


SERVICE_READS = frozenset({"count", "cursor_page", "get", "list", "page", "repository", "_entities"})
"""The names by which a service reads. A class that overrides one of them has a way of its own, which is never bypassed."""


def unit_of_work_of(service: object) -> type[UnitOfWork]:
    """Return the class of units of work that *service*, a service class, declares to need."""
    if not (isinstance(service, type) and issubclass(service, BaseService)):
        return UnitOfWork
    *_, named = type_arguments(cast("type[Any]", service), BaseService)
    return cast("type[UnitOfWork]", named) if isinstance(named, type) else UnitOfWork


def _as_update(service_class: type[BaseService[Any, Any, Any, Any, Any]], values: dict[str, Any]) -> Data:
    """Return *values* as the data of `update`, with all of them set."""
    schema = next(iter(type_arguments(service_class, BaseService)[3:]), None)
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        return values
    kind = _with_fields(schema, frozenset(values.keys() - schema.model_fields.keys()))
    return kind.model_construct(_fields_set={*values}, **values)  # the schema of `create` has validated them


@memoized
def _with_fields(schema: type[BaseModel], names: frozenset[str]) -> type[BaseModel]:
    """Return *schema*, or a kind of it that has those fields as well."""
    fields: dict[str, Any] = dict.fromkeys(sorted(names), (Any, None))
    return create_model(f"{schema.__name__}Whole", __base__=schema, **fields) if fields else schema


@memoized
def classes_of(service_class: type[BaseService[Any, Any, Any, Any, Any]]) -> tuple[type[Any], type[Any]]:
    """Return the classes of the repository and of the entities that the type arguments of a service name.

    Raises:
        TypeError: They name no mapped class.
    """
    model, repository = (*type_arguments(service_class, BaseService), None, None)[:2]
    if not isinstance(model, type):
        name = service_class.__name__
        raise TypeError(f"{name} names no mapped class; write class {name}(BaseService[Item, ItemRepository])")
    repository = get_origin(repository) or repository
    return (repository if isinstance(repository, type) else BaseRepository), model
