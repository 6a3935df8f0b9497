"""Locks on what criteria find, pages by offset, totals of cursor pages, single rows of projections, and counts by value."""

from __future__ import annotations

import collections
import enum
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Query
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import MetaData, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from layered_backend import Base as LibraryBase
from layered_backend import (
    BaseRepository,
    CursorParams,
    FilterSet,
    Lock,
    LockTimeoutError,
    MultipleFoundError,
    NotFoundError,
    OffsetParams,
    Page,
    Scope,
    Sorting,
    UnitOfWork,
    Where,
)
from layered_backend.models import NAMING_CONVENTION
from tests.databases import Shop
from tests.shop import Category, Item, ItemRead
from tests.statements import Statements

on_each_database = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


class Base(DeclarativeBase):
    """As the library's, with a registry of its own: other tests have classes of the same names."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = LibraryBase.type_annotation_map
    __mapper_args__ = LibraryBase.__mapper_args__


class Status(enum.Enum):
    OPEN = "open"
    DONE = "done"


class Task(Base):
    __tablename__ = "read_tasks"

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[Status] = mapped_column(default=Status.OPEN)
    owner: Mapped[str | None]
    size: Mapped[int] = mapped_column("size_of", default=0)


class HiddenOwner(UnitOfWork):
    scopes = (Scope(Task, lambda cls: cls.owner.is_distinct_from("hidden"), name="hidden"),)


TASKS: list[dict[str, Any]] = [
    {"status": Status.OPEN, "owner": "ann", "size": 1},
    {"status": Status.DONE, "owner": "bob", "size": 2},
    {"status": Status.OPEN, "owner": None, "size": 2},
    {"status": Status.OPEN, "owner": "hidden", "size": 3},
]


@pytest.fixture
async def tasks(async_shop: Shop) -> AsyncGenerator[Shop]:
    await async_shop.database.create_all(Base.metadata)
    try:
        async with UnitOfWork(async_shop.database) as uow:
            await uow.repository(BaseRepository[Task]).create_many(TASKS)
        yield async_shop
    finally:
        async with async_shop.database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)


class TestLocks:
    @pytest.mark.parametrize("read", ["first", "list", "one", "one_or_none"])
    async def test_a_queue_passes_over_what_another_has(self, tasks: Shop, read: str) -> None:
        if tasks.backend.server == "sqlite":
            return  # one writer: the second would wait for the first
        lock = Lock.update(skip_locked=True)
        async with UnitOfWork(tasks.database) as mine, UnitOfWork(tasks.database) as theirs:
            taken = await mine.repository(BaseRepository[Task]).first(
                Task.status == Status.OPEN, order_by=Task.id, lock=lock
            )
            assert taken is not None
            other = theirs.repository(BaseRepository[Task])
            both = Task.id.in_([taken.id, taken.id + 2])
            found: Any = await getattr(other, read)(both, lock=lock)

            assert (found if read == "list" else [found])[0].id == taken.id + 2
            with pytest.raises(LockTimeoutError):
                await other.one(Task.id == taken.id, lock=Lock.update(nowait=True))
            await theirs.rollback()

    @pytest.mark.parametrize("read", ["first", "list", "one", "one_or_none"])
    async def test_what_is_locked_is_read_anew(self, tasks: Shop, read: str) -> None:
        async with UnitOfWork(tasks.database) as uow:
            repository = uow.repository(BaseRepository[Task])
            task = await repository.one(Task.owner == "ann")
            table: Any = Task.__table__
            await uow.session.execute(table.update().values(size_of=9))

            await getattr(repository, read)(Task.owner == "ann", lock=Lock.share())

            assert task.size == 9
            await uow.rollback()


class TaskFilter(FilterSet):
    status: Annotated[Status | None, Where(lambda status: Task.status == status)] = None


class TaskSorting(Sorting):
    keys = {"size": Task.size}  # noqa: RUF012


class TaskQuery(TaskFilter, TaskSorting, OffsetParams): ...


class TestOffsetParams:
    @given(limit=st.integers(1, 5), offset=st.integers(0, 6), is_filtered=st.booleans())
    @on_each_database
    async def test_the_rows_are_those_of_a_slice_of_all(
        self, tasks: Shop, limit: int, offset: int, is_filtered: bool
    ) -> None:
        query = TaskQuery(limit=limit, offset=offset, sort="-size", status=Status.OPEN if is_filtered else None)
        async with UnitOfWork(tasks.database) as uow:
            repository = uow.repository(BaseRepository[Task])
            every = await repository.list(*query.where(), order_by=[Task.size.desc(), Task.id.desc()])

            page, part = await repository.page(query), await repository.slice(query)

            assert (page.items, page.total) == (every[offset : offset + limit], len(every))
            assert (page.page, page.size) == (offset // limit + 1, limit)
            assert (part.items, part.has_next) == (page.items, len(every) > offset + limit)

    async def test_a_page_far_behind_has_its_total(self, tasks: Shop) -> None:
        async with UnitOfWork(tasks.database) as uow:
            page = await uow.repository(BaseRepository[Task]).page(OffsetParams(offset=2**63 - 1, limit=100))

            assert (page.items, page.total) == ([], len(TASKS))

    @pytest.mark.parametrize("given", [{"limit": 0}, {"limit": 101}, {"offset": -1}, {"offset": 2**63}, {"page": 1}])
    def test_what_is_out_of_reach_is_refused(self, given: dict[str, int]) -> None:
        with pytest.raises(ValidationError):
            OffsetParams(**given)

    def test_a_route_takes_them_as_it_takes_numbers_of_pages(self) -> None:
        app = FastAPI()

        @app.get("/items", response_model=Page[int])
        async def list_items(query: Annotated[TaskQuery, Query()]) -> Page[int]:
            return Page([query.offset], 7, query.page, query.size)

        client = TestClient(app)
        assert client.get("/items?offset=4&limit=3").json() == {
            "items": [4],
            "total": 7,
            "page": 2,
            "size": 3,
            "pages": 3,
        }
        assert client.get("/items?page=1").status_code == 422


class TestTotals:
    async def test_a_cursor_page_counts_where_that_is_asked_for(self, tasks: Shop) -> None:
        async with UnitOfWork(tasks.database) as uow:
            repository = uow.repository(BaseRepository[Task])

            first = await repository.cursor_page(CursorParams(size=2), Task.status == Status.OPEN, total=True)
            second = await repository.cursor_page(
                CursorParams(size=2, cursor=first.next), Task.status == Status.OPEN, total=True
            )

            assert (first.total, second.total, len(second.items)) == (3, 3, 1)
            assert (await repository.cursor_page(CursorParams(size=2))).total is None

    async def test_a_page_that_has_all_rows_is_not_counted(self, tasks: Shop) -> None:
        async with UnitOfWork(tasks.database) as uow:
            repository = uow.repository(BaseRepository[Task])
            with Statements(tasks) as statements:
                page = await repository.cursor_page(CursorParams(size=9), total=True)

            assert page.total == len(TASKS)
            assert len(statements.sent) == 1


class TestProjection:
    async def test_the_only_row_is_returned(self, bound: Shop) -> None:
        async def work(uow: Any) -> None:
            for name in ("tea", "cocoa"):
                await uow.items.create({"name": name, "price": 3})
            items = uow.items.project(ItemRead)

            assert (await items.one(Item.name == "tea")).name == "tea"
            assert await items.one_or_none(Item.name == "juice") is None
            with pytest.raises(NotFoundError):
                await items.one(Item.name == "juice")
            for read in (items.one, items.one_or_none):
                with pytest.raises(MultipleFoundError):
                    await read(Item.price > 1)
            await uow.rollback()

        await bound.run(work)


COUNTED: dict[str, tuple[Any, Callable[[dict[str, Any]], Any]]] = {
    "enumeration": (Task.status, lambda row: row["status"]),
    "with None": (Task.owner, lambda row: row["owner"]),
    "renamed": (Task.size, lambda row: row["size"]),
    "function": (func.upper(Task.owner), lambda row: row["owner"] and row["owner"].upper()),
    "computed": (Task.size + 1, lambda row: row["size"] + 1),
    "subquery": (
        select(func.count(Category.id)).where(Category.id == Task.id).scalar_subquery(),
        lambda row: 0,
    ),
}


class TestCountBy:
    @pytest.mark.parametrize("what", COUNTED)
    @pytest.mark.parametrize("is_scoped", [False, True])
    async def test_each_value_has_the_number_of_its_rows(self, tasks: Shop, what: str, is_scoped: bool) -> None:
        expression, value_of = COUNTED[what]
        kind = HiddenOwner if is_scoped else UnitOfWork
        rows = [row for row in TASKS if not (is_scoped and row["owner"] == "hidden")]
        async with kind(tasks.database) as uow:
            repository = uow.repository(BaseRepository[Task])

            assert await repository.count_by(expression) == collections.Counter(map(value_of, rows))
            assert await repository.count_by(expression, Task.size >= 2) == collections.Counter(
                value_of(row) for row in rows if row["size"] >= 2
            )
            assert await repository.count_by(expression, Task.size > 9) == {}

    async def test_a_value_of_another_table_is_refused(self, sqlite_shop: Shop) -> None:
        async with UnitOfWork(sqlite_shop.database) as uow:
            with pytest.raises(TypeError, match=r"categories\.name is not of Task"):
                await uow.repository(BaseRepository[Task]).count_by(Category.name)

    async def test_what_is_pending_counts(self, tasks: Shop) -> None:
        async with UnitOfWork(tasks.database) as uow:
            uow.session.add(Task(owner="ann"))

            assert (await uow.repository(BaseRepository[Task]).count_by(Task.owner))["ann"] == 2
            await uow.rollback()
