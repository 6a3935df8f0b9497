"""Who wrote a row, on each database and by each way to write."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast
from uuid import UUID

import pytest
from pydantic import BaseModel
from sqlalchemy import MetaData, insert, true, update
from sqlalchemy.orm import Mapped, mapped_column, validates

from layered_backend import (
    Audited,
    BaseRepository,
    IntegerPrimaryKey,
    InvalidDataError,
    Seeder,
    SeedRunner,
    SoftDeletable,
    Timestamped,
    UnitOfWork,
    UnitOfWorkError,
    Versioned,
)
from layered_backend import Base as LibraryBase
from layered_backend.models import NAMING_CONVENTION
from layered_backend.session import drive
from tests.databases import Shop

T = TypeVar("T")


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class Page(IntegerPrimaryKey, Timestamped, Audited, Base):
    """Written in one statement wherever that is possible."""

    __tablename__ = "audited_pages"

    title: Mapped[str] = mapped_column(unique=True)
    text: Mapped[str] = mapped_column(default="")


class Draft(IntegerPrimaryKey, Audited, SoftDeletable, Versioned, Base):
    """Written as an entity, since it has a validator and a version."""

    __tablename__ = "audited_drafts"

    title: Mapped[str] = mapped_column(unique=True)
    text: Mapped[str] = mapped_column(default="")

    @validates("title")
    def _stripped(self, key: str, title: str) -> str:
        return title.strip()


class Read(BaseModel):
    id: int
    title: str
    text: str
    created_by: str | None
    updated_by: str | None


class Wiki(UnitOfWork):
    pages: BaseRepository[Page]
    drafts: BaseRepository[Draft]

    def of(self, model: type[Any]) -> BaseRepository[Any]:
        return self.pages if model is Page else self.drafts


@dataclass
class User:
    id: object


Work = Callable[[Wiki, Any], Awaitable[Any]]


def _on(model: Any, work: Work) -> Callable[[Wiki], Awaitable[Any]]:
    return lambda uow: work(uow, model)


@dataclass
class Wikis:
    """Units of work of several people, in one database."""

    shop: Shop

    async def run(self, work: Callable[[Wiki], Awaitable[T]], actor: Any = None) -> T:
        async def awaited(uow: Wiki) -> T:
            return await work(uow)

        def run_sync() -> T:
            with Wiki(self.shop.database, actor=actor) as uow:
                return drive(awaited(uow))

        if not self.shop.backend.asynchronous:
            return await asyncio.to_thread(run_sync)
        async with Wiki(self.shop.database, actor=actor) as uow:
            return await work(uow)

    async def stamps(self, model: type[Any]) -> list[tuple[str | None, str | None]]:
        """Return who created and who updated each row, by key."""
        rows = await self.run(lambda uow: uow.of(model).list())
        return [(row.created_by, row.updated_by) for row in rows]


@pytest.fixture
async def wikis(shop: Shop) -> AsyncGenerator[Wikis]:
    if shop.backend.asynchronous:
        await shop.database.create_all(Base.metadata)
    else:
        await asyncio.to_thread(shop.database.create_all_sync, Base.metadata)
    yield Wikis(shop)
    await shop.run(lambda uow: uow.session.run_sync(lambda session: Base.metadata.drop_all(session.connection())))


async def _create(uow: Wiki, title: str) -> Page:
    return await uow.pages.create({"title": title})


async def _add(uow: Wiki, model: Any) -> Any:
    return await uow.of(model).add(model(title="tea"))


async def _flush(uow: Wiki, model: Any) -> Any:
    uow.session.add(page := model(title="tea"))
    await uow.flush()
    return page


async def _in_a_savepoint(uow: Wiki, model: Any) -> Any:
    async with uow.savepoint():
        return await uow.of(model).create({"title": "tea"})


CREATING: dict[str, Work] = {
    "create": lambda uow, model: uow.of(model).create({"title": "tea"}),
    "create, without a name": lambda uow, model: uow.of(model).create({"title": "tea", "created_by": None}),
    "add": _add,
    "flush": _flush,
    "in a savepoint": _in_a_savepoint,
    "get or create": lambda uow, model: uow.of(model).get_or_create({"title": "tea"}, on=model.title),
    "create many, one": lambda uow, model: uow.of(model).create_many([{"title": "tea"}]),
    "create many": lambda uow, model: uow.of(model).create_many([{"title": "tea"}, {"title": "mate", "text": "hot"}]),
    "create many, alike": lambda uow, model: uow.of(model).create_many([{"title": f"tea {n}"} for n in range(3)]),
    "upsert": lambda uow, model: uow.of(model).upsert({"title": "tea"}, on=model.title),
    "upsert many": lambda uow, model: uow.of(model).upsert_many(
        [{"title": "tea"}, {"title": "mate"}, {"title": "cocoa"}], on=model.title
    ),
    "returning": lambda uow, model: uow.of(model).returning(Read).create({"title": "tea"}),
    "a statement": lambda uow, model: uow.session.execute(insert(model).values(title="tea", version=1)),
}


async def _set(uow: Wiki, model: Any) -> Any:
    page = await uow.of(model).get(1)
    page.text = "hot"
    await uow.flush()
    return page


async def _update_entity(uow: Wiki, model: Any) -> Any:
    return await uow.of(model).update(await uow.of(model).get(1), {"text": "hot"})


async def _update_where_loaded(uow: Wiki, model: Any) -> Any:
    page = await uow.of(model).get(1)
    await uow.of(model).update_where(true(), values={"text": "hot"})
    return page


UPDATING: dict[str, Work] = {
    "update, by key": lambda uow, model: uow.of(model).update(1, {"text": "hot"}),
    "update, of an entity": _update_entity,
    "flush": _set,
    "update where": lambda uow, model: uow.of(model).update_where(model.title == "tea", values={"text": "hot"}),
    "update where, loaded": _update_where_loaded,
    "update where, in SQL": lambda uow, model: uow.of(model).update_where(true(), values={"text": model.title}),
    "upsert": lambda uow, model: uow.of(model).upsert({"title": "tea", "text": "hot"}, on=model.title),
    "upsert many": lambda uow, model: uow.of(model).upsert_many(
        [{"title": "tea", "text": "hot"}, {"title": "mate", "text": "hot"}], on=model.title
    ),
    "returning": lambda uow, model: uow.of(model).returning(Read).update(1, {"text": "hot"}),
    "a statement": lambda uow, model: uow.session.execute(update(model).values(text="hot")),
}
DELETING: dict[str, Work] = {
    "delete": lambda uow, model: uow.of(model).delete(1),
    "delete where": lambda uow, model: uow.of(model).delete_where(true()),
}
MODELS = pytest.mark.parametrize("model", [Page, Draft])


def _names(result: Any) -> tuple[Any, Any] | None:
    """Return what the result says of who wrote it, where it is a row."""
    row = cast("object", result[0] if type(result) is tuple else result)
    return (row.created_by, row.updated_by) if isinstance(row, Audited | Read) else None


@MODELS
async def test_each_way_to_create_stamps_who_does(wikis: Wikis, model: Any) -> None:
    for name, create in CREATING.items():
        if name == "a statement" and model is Page:
            continue
        result = await wikis.run(_on(model, create), actor="ann")

        stamps = await wikis.stamps(model)
        assert stamps == [("ann", "ann")] * len(stamps), name
        assert stamps, name
        assert _names(result) in {None, ("ann", "ann")}, name
        await wikis.run(lambda uow: uow.of(model).session.run_sync(lambda s: s.query(model).delete()))


@MODELS
@pytest.mark.parametrize("actor", ["bob", None])
async def test_each_way_to_update_stamps_who_does(wikis: Wikis, model: Any, actor: str | None) -> None:
    await wikis.run(lambda uow: uow.of(model).create({"title": "tea"}), actor="ann")
    for name, change in UPDATING.items():
        await wikis.run(lambda uow: uow.of(model).update(1, {"text": "cold"}), actor="eve")

        result = await wikis.run(_on(model, change), actor=actor)

        assert (await wikis.stamps(model))[0] == ("ann", actor), name
        assert _names(result) in {None, ("ann", actor)}, name


@pytest.mark.parametrize("delete", DELETING.values(), ids=DELETING.keys())
async def test_marking_as_deleted_and_restoring_stamp_who_does(wikis: Wikis, delete: Work) -> None:
    await wikis.run(lambda uow: uow.drafts.create({"id": 1, "title": "tea"}), actor="ann")

    await wikis.run(_on(Draft, delete), actor="bob")
    assert await wikis.stamps(Draft) == [("ann", "bob")]

    await wikis.run(lambda uow: uow.drafts.restore(1), actor="eve")
    assert await wikis.stamps(Draft) == [("ann", "eve")]


@MODELS
async def test_without_an_actor_nobody_is_named(wikis: Wikis, model: Any) -> None:
    await wikis.run(lambda uow: uow.of(model).create({"title": "tea"}))
    await wikis.run(lambda uow: uow.of(model).create_many([{"title": "mate"}, {"title": "cocoa"}]))

    assert await wikis.stamps(model) == [(None, None)] * 3


@MODELS
async def test_names_that_are_given_are_kept(wikis: Wikis, model: Any) -> None:
    old = [{"title": "tea", "created_by": "eve"}, {"title": "mate", "created_by": "eve", "updated_by": "dan"}]
    await wikis.run(lambda uow: uow.of(model).create_many(old), actor="ann")
    await wikis.run(lambda uow: uow.of(model).create({"title": "cocoa", "created_by": "eve"}), actor="ann")

    assert await wikis.stamps(model) == [("eve", "eve"), ("eve", "dan"), ("eve", "eve")]


@MODELS
async def test_an_update_that_changes_nothing_names_nobody(wikis: Wikis, model: Any) -> None:
    await wikis.run(lambda uow: uow.of(model).create({"id": 1, "title": "tea", "text": "hot"}), actor="ann")

    await wikis.run(lambda uow: uow.of(model).update(1, {"text": "hot"}), actor="bob")

    assert await wikis.stamps(model) == [("ann", "ann")]


async def test_a_pooled_connection_keeps_nothing_of_the_last_actor(wikis: Wikis) -> None:
    for number, actor in enumerate(["ann", None, "bob", None, None, "eve"]):
        await wikis.run(partial(_create, title=str(number)), actor=actor)

    assert [created for created, _ in await wikis.stamps(Page)] == ["ann", None, "bob", None, None, "eve"]


async def test_units_of_work_at_the_same_time_do_not_mix_their_actors(async_shop: Shop) -> None:
    wikis = Wikis(async_shop)
    await async_shop.database.create_all(Base.metadata)

    async def write(name: str) -> None:
        async def twice(uow: Wiki) -> None:
            await uow.pages.create({"title": name})
            await asyncio.sleep(0)
            await uow.pages.create_many([{"title": f"{name} again"}])

        await wikis.run(twice, actor=name)

    await asyncio.gather(*(write(f"actor {n}") for n in range(10)))
    rows = await wikis.run(lambda uow: uow.pages.list())
    await async_shop.run(lambda uow: uow.session.run_sync(lambda session: Base.metadata.drop_all(session.connection())))

    assert len(rows) == 20
    assert all(row.title.startswith(f"{row.created_by}") for row in rows)


async def test_an_actor_that_is_found_out_later_counts_from_then_on(wikis: Wikis) -> None:
    async def work(uow: Wiki) -> None:
        await uow.pages.create({"title": "tea"})
        uow.actor = "ann"
        await uow.pages.create({"title": "mate"})
        await uow.commit()
        await uow.pages.create({"title": "cocoa"})

    await wikis.run(work)

    assert [created for created, _ in await wikis.stamps(Page)] == [None, "ann", "ann"]


@pytest.mark.parametrize(
    ("actor", "expected"),
    [(User(7), "7"), (User(UUID(int=7)), "00000000-0000-0000-0000-000000000007"), ("job", "job"), (User(0), "0")],
)
async def test_an_actor_is_named_by_its_subject_its_id_or_itself(sqlite_shop: Shop, actor: Any, expected: str) -> None:
    assert Wiki(sqlite_shop.database, actor=actor).actor_name() == expected


async def test_an_actor_without_a_name_is_an_error_where_a_row_keeps_it(sqlite_shop: Shop) -> None:
    wikis = Wikis(sqlite_shop)
    await sqlite_shop.database.create_all(Base.metadata)

    assert await wikis.run(lambda uow: uow.pages.count(), actor=object()) == 0
    with pytest.raises(UnitOfWorkError, match=r"of type object has neither subject nor id; override Wiki\.actor_name"):
        await wikis.run(lambda uow: uow.pages.create({"title": "tea"}), actor=object())
    assert await wikis.stamps(Page) == []


async def test_how_an_actor_is_named_can_be_overridden(sqlite_shop: Shop) -> None:
    class Signed(Wiki):
        def actor_name(self) -> str | None:
            return f"signed {self.actor.id}"

    await sqlite_shop.database.create_all(Base.metadata)
    async with Signed(sqlite_shop.database, actor=User(7)) as uow:
        assert (await uow.pages.create({"title": "tea"})).created_by == "signed 7"


async def test_a_name_that_is_too_long_is_refused_alike(wikis: Wikis) -> None:
    for create in (CREATING["create"], CREATING["create many"], CREATING["upsert"], CREATING["flush"]):
        with pytest.raises(InvalidDataError, match="name of the actor has more than 255 characters"):
            await wikis.run(_on(Page, create), actor="x" * 256)

    assert await wikis.run(lambda uow: uow.pages.create({"title": "tea"}), actor="x" * 255)
    assert len(await wikis.stamps(Page)) == 1


async def test_a_seeder_names_nobody_and_leaves_rows_that_it_does_not_change(sqlite_shop: Shop) -> None:
    await sqlite_shop.database.create_all(Base.metadata)
    wikis = Wikis(sqlite_shop)

    class PageSeeder(Seeder[Page]):
        key = (Page.title,)

        def rows(self) -> Any:
            yield {"title": "tea", "text": "hot"}
            yield {"title": "mate", "text": "hot"}

    await wikis.run(
        lambda uow: uow.pages.create_many([{"title": "tea"}, {"title": "mate", "text": "hot"}]), actor="ann"
    )
    report = await SeedRunner([PageSeeder], database=sqlite_shop.database).run()

    assert report.ok
    assert await wikis.stamps(Page) == [("ann", None), ("ann", "ann")]


async def test_what_goes_wrong_while_an_actor_is_named_is_no_fault_of_the_data(sqlite_shop: Shop) -> None:
    class Mailed(Wiki):
        def actor_name(self) -> str | None:
            name: str = self.actor.email
            return name

    await sqlite_shop.database.create_all(Base.metadata)
    for rows in ([{"title": "tea"}], [{"title": "tea"}, {"title": "mate"}]):
        with pytest.raises(UnitOfWorkError, match=r"actor_name\(\) has raised AttributeError"):
            async with Mailed(sqlite_shop.database, actor=User(7)) as uow:
                await uow.pages.create_many(rows)


async def test_a_unit_of_work_with_an_actor_leaves_nothing_to_the_garbage_collector(sqlite_shop: Shop) -> None:
    await sqlite_shop.database.create_all(Base.metadata)

    async def session_of_a_block() -> weakref.ref[Any]:
        async with Wiki(sqlite_shop.database, actor="ann") as uow:
            await uow.pages.create({"title": "tea"})
            return weakref.ref(uow.session.sync_session)

    gc.collect()
    gc.disable()
    try:
        session = await session_of_a_block()
        await asyncio.sleep(0)  # the task that has ended the transaction is let go of
        assert session() is None
    finally:
        gc.enable()
