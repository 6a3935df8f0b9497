"""Reading for a router: by projections, and by the service wherever that, or its repository, has a way of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from pydantic import BaseModel
from sqlalchemy import inspect
from sqlalchemy.orm import Mapper, object_session

from layered_backend.dialects import dialect_named
from layered_backend.fastapi.crud.overrides import OF_LISTS, OF_ONE, own_reads, reads_of
from layered_backend.fastapi.projections import refuse_unreadable
from layered_backend.fastapi.service_classes import AnyService, ServiceClasses
from layered_backend.models import Versioned
from layered_backend.projection import Selection, selection_of
from layered_backend.query import Criterion, CursorPage, CursorParams, FilterSet, NumberedParams, OrderBy, Page, Sorting
from layered_backend.query.sort_terms import order_by_clauses, total_order

__all__ = ["Reading"]

_PAGES = ("page", "cursor_page")


class Reading:
    """How one router reads. Lives as long as that.

    Args:
        classes: The classes behind the router.
        read: What to make of the rows.
        query: Which rows: a kind of PageParams, OffsetParams or CursorParams.
    """

    def __init__(
        self, classes: ServiceClasses, read: type[BaseModel], query: type[NumberedParams | CursorParams]
    ) -> None:
        self._model = classes.model
        self.read = read
        self._page, self._other_page = _PAGES[:: -1 if issubclass(query, CursorParams) else 1]
        self.is_versioned: bool = issubclass(classes.model, Versioned)

    @property
    def mapper(self) -> Mapper[Any]:
        """Of the mapped class."""
        mapper: Mapper[Any] = inspect(self._model, raiseerr=True)
        return mapper

    @cached_property
    def selection(self) -> Selection[Any] | None:
        """How the schema is read from rows; None where it takes what is no column, which only a service can give."""
        try:
            return selection_of(self._model, self.read)
        except TypeError:
            return None

    def check(self, classes: ServiceClasses) -> None:
        """Raise what requests would run into.

        Raises:
            TypeError: A field of the schema has no column, or the service lists in a way that the router cannot ask.
        """
        own = reads_of(classes.service, classes.repository)
        if self._way_to_list(own) == "projection" or not own - OF_LISTS:
            refuse_unreadable(self._model, self.read)

    async def get(self, service: AnyService, key: Any) -> tuple[Any, int | None]:
        """Return what has that key, and its version where it has one.

        Raises:
            NotFoundError: There is none.
        """
        if own_reads(service) - OF_LISTS:
            entity = await service.get(key, **self._options())
            return await self.body_of(service, entity), self.version_of(entity)
        names = ("version",) if self.is_versioned else ()
        found, beside = await service.repository.project(self.read).get_with(key, *names)
        return found, next(iter(beside), None)

    async def page(self, service: AnyService, query: Any) -> Page[Any] | CursorPage[Any]:
        """Return the page that *query* asks for."""
        way = self._way_to_list(own_reads(service))
        if way == "list":
            return await self._listed(service, query)
        reader: object = service if way == "service" else service.repository.project(self.read)
        options: Mapping[str, Any] = self._options() if way == "service" else {}
        page: Page[Any] | CursorPage[Any] = await getattr(reader, self._page)(query, **options)
        return page

    async def body_of(self, service: AnyService, entity: Any) -> Any:
        """Return what to answer with for *entity*: itself where all is loaded that the schema takes, else what is read."""
        if self.selection is None or not isinstance(entity, self._model) or self.selection.is_loaded(entity):
            return entity
        if object_session(entity) is None:  # made by hand, as in tests
            return entity
        key = tuple(self.mapper.primary_key_from_instance(entity))
        return await service.repository.project(self.read).get(key)

    def version_of(self, entity: Any) -> int | None:
        """Return the version of *entity*, where it has one."""
        return entity.version if isinstance(entity, Versioned) else None

    @cached_property
    def is_told_by_version(self) -> bool:
        """Tell whether what leaves changes with the row's version alone: nothing in it is of other rows."""
        return self.selection is not None and self.selection.is_of_own_columns

    def _options(self) -> Mapping[str, Any]:
        """Return what a read of entities needs so that the schema finds all that it takes."""
        options = () if self.selection is None else self.selection.loader_options()
        return {"options": options} if options else {}

    def _way_to_list(self, own: frozenset[str]) -> str:
        """Return who lists: the projection, the service by its pages, or by its `list`, where only that is its own."""
        if not own - OF_ONE:
            return "projection"
        if self._page in own:
            return "service"
        if self._page == "page" and "list" in own:
            return "list"
        for name in (self._other_page, "list"):
            if name in own:
                raise TypeError(
                    f"{self._model.__name__} has a service or a repository with its own {name}, which this router would "
                    f"pass by; override {self._page} too"
                )
        return "service"

    async def _listed(self, service: AnyService, query: NumberedParams) -> Page[Any]:
        """Return a page out of the service's own `list`, with as many rows on all pages as that has."""
        where, wanted = _asked_for(query)
        terms = total_order(self.mapper, wanted)
        order_by = order_by_clauses(terms, dialect_named(service.uow.session.get_bind().dialect.name).ordering)
        items: Sequence[Any] = await service.list(
            *where, order_by=order_by, limit=query.size, offset=query.offset, **self._options()
        )
        is_end = len(items) < query.size and (items or query.offset == 0)
        total = query.offset + len(items) if is_end else len(await service.list(*where))
        return Page(items, total, query.page, query.size)


def _asked_for(query: object) -> tuple[Sequence[Criterion], OrderBy | None]:
    """Return the criteria and the sort of a query model, where it has some."""
    where = query.where() if isinstance(query, FilterSet) else []
    return where, (query.order_by() or None) if isinstance(query, Sorting) else None
