"""Mapped classes that are out of the ordinary, on each database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from sqlalchemy import BigInteger, ForeignKey, Index, Integer, MetaData, Text, UniqueConstraint, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, backref, column_property, mapped_column, relationship

from layered_backend import Base as LibraryBase
from layered_backend import BaseRepository, UniqueViolationError
from layered_backend.models import NAMING_CONVENTION
from tests.databases import Shop, backends_of
from tests.shop import ShopUnitOfWork

LONG_NAME = "one_label_for_each_name_and_no_other_label_with_a_name_that_is_too_long"


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class Tag(Base):
    __tablename__ = "mapping_tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int] = mapped_column(ForeignKey("mapping_shelves.id"))


class Shelf(Base):
    __tablename__ = "mapping_shelves"

    id: Mapped[int] = mapped_column(primary_key=True)
    tags: Mapped[list[Tag]] = relationship(lazy="joined")


class Book(Base):
    """Its shelf comes joined, and the shelf's tags with it."""

    __tablename__ = "mapping_books"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    pages: Mapped[int]
    shelf_id: Mapped[int | None] = mapped_column(ForeignKey("mapping_shelves.id"))
    shelf: Mapped[Shelf | None] = relationship(lazy="joined")
    revision: Mapped[int] = mapped_column(server_default="1", onupdate=lambda: 2)
    leaves: Mapped[int] = column_property(select(func.count()).where(Shelf.id == Shelf.id).scalar_subquery())


class Label(Base):
    """A constraint whose name is longer than PostgreSQL's 63 characters, as a migration may have made it."""

    __tablename__ = "mapping_labels"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    __table_args__ = (Index("ix_mapping_labels_name", "name"),)


class PlainBase(DeclarativeBase):
    """Not the library's base: no naming convention, no eager defaults."""

    metadata = Base.metadata


class Plain(PlainBase):
    __tablename__ = "mapping_plain"

    id: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[int]
    changes: Mapped[int] = mapped_column(server_default="0", onupdate=mapped_column("changes").column + 1)
    remarks: Mapped[str | None] = mapped_column(Text, deferred=True)


@pytest.fixture
async def mapped(shop: Shop) -> AsyncGenerator[Shop]:
    if shop.backend.asynchronous:
        await shop.database.create_all(Base.metadata)
    else:
        await asyncio.to_thread(shop.database.create_all_sync, Base.metadata)
    yield shop
    await shop.run(lambda uow: uow.session.run_sync(lambda session: Base.metadata.drop_all(session.connection())))


def _repository(uow: ShopUnitOfWork, model: type[Any]) -> BaseRepository[Any]:
    return BaseRepository(uow.session, model)


async def _with_two_shelves(uow: ShopUnitOfWork) -> None:
    for shelf_id in (1, 2):
        await _repository(uow, Shelf).create({"id": shelf_id, "tags": []})
        for tag_id in (10, 20):
            await _repository(uow, Tag).create({"id": shelf_id + tag_id, "shelf_id": shelf_id})


async def test_a_collection_that_is_joined_further_down_repeats_nothing(mapped: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        await _with_two_shelves(uow)
        await _repository(uow, Book).create({"id": 1, "pages": 9, "shelf_id": 1})

    await mapped.run(work)

    books = await mapped.run(lambda uow: _repository(uow, Book).list())
    assert [len(book.shelf.tags) for book in books] == [2]
    assert (await mapped.run(lambda uow: _repository(uow, Book).one())).id == 1


async def test_a_reference_that_moved_is_read_again(mapped: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        await _with_two_shelves(uow)
        books = _repository(uow, Book)
        await books.create({"id": 1, "pages": 9, "shelf_id": 1})
        await uow.commit()
        uow.session.expunge_all()
        assert (await books.get(1)).shelf.id == 1
        assert (await books.update(1, {"shelf_id": 2})).shelf.id == 2
        assert (await books.update(1, {"shelf_id": None})).shelf is None

    await mapped.run(work)


async def test_what_the_database_computes_is_there_after_each_write(mapped: Shop) -> None:
    book = await mapped.run(lambda uow: _repository(uow, Book).create({"id": 1, "pages": 9}))
    updated = await mapped.run(lambda uow: _repository(uow, Book).update(1, {"pages": 10}))

    assert (book.revision, book.leaves) == (1, 0)
    assert (updated.revision, updated.leaves) == (2, 0)


async def test_a_model_off_the_librarys_base_is_readable_after_each_write(mapped: Shop) -> None:
    plain = await mapped.run(lambda uow: _repository(uow, Plain).create({"id": 1, "amount": 1}))
    updated = await mapped.run(lambda uow: _repository(uow, Plain).update(1, {"amount": 2}))

    assert (plain.changes, updated.changes) == (0, 1)


async def test_a_deferred_column_that_is_changed_can_be_read(mapped: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> str | None:
        plain: BaseRepository[Plain] = _repository(uow, Plain)
        await plain.create({"id": 1, "amount": 1})
        uow.session.expunge_all()
        return (await plain.update(1, {"remarks": "new"})).remarks

    assert await mapped.run(work) == "new"


@pytest.mark.parametrize("shop", backends_of("sqlite"), indirect=True, ids=str)
async def test_a_class_that_is_mapped_later_changes_how_others_are_deleted(shop: Shop) -> None:
    class LaterBase(DeclarativeBase):
        pass

    class Owner(LaterBase):
        __tablename__ = "later_owners"
        id: Mapped[int] = mapped_column(primary_key=True)

    async def delete(uow: ShopUnitOfWork) -> None:
        owners = _repository(uow, Owner)
        await uow.session.run_sync(lambda session: LaterBase.metadata.create_all(session.connection()))
        await owners.create({"id": 1})
        uow.session.expunge_all()
        await owners.delete(1)

    await shop.run(delete)

    class Owned(LaterBase):
        __tablename__ = "later_owned"
        id: Mapped[int] = mapped_column(primary_key=True)
        owner_id: Mapped[int] = mapped_column(ForeignKey(Owner.id))
        owner: Mapped[Owner] = relationship(backref=backref("owned", cascade="all, delete-orphan"))

    async def delete_with_owned(uow: ShopUnitOfWork) -> int:
        await uow.session.run_sync(lambda session: LaterBase.metadata.create_all(session.connection()))
        await _repository(uow, Owner).create({"id": 1})
        await _repository(uow, Owned).create({"id": 1, "owner_id": 1})
        uow.session.expunge_all()
        await _repository(uow, Owner).delete(1)
        return await _repository(uow, Owned).count()

    assert await shop.run(delete_with_owned) == 0


@pytest.mark.parametrize("shop", backends_of("postgresql"), indirect=True, ids=str)
async def test_a_name_longer_than_the_database_takes_does_not_hide_the_violation(mapped: Shop) -> None:
    table = Base.metadata.tables["mapping_labels"]
    too_long = UniqueConstraint(table.c.name, name=LONG_NAME)
    try:
        await mapped.run(lambda uow: _repository(uow, Label).create({"id": 1, "name": "a"}))
        with pytest.raises(UniqueViolationError) as caught:
            await mapped.run(lambda uow: _repository(uow, Label).create({"id": 2, "name": "a"}))
    finally:
        table.constraints.discard(too_long)

    assert caught.value.columns == ("name",)


@pytest.mark.parametrize("shop", backends_of("postgresql", "mariadb"), indirect=True, ids=str)
async def test_a_large_key_of_a_large_column_is_found(mapped: Shop) -> None:
    await mapped.run(lambda uow: _repository(uow, Book).create({"id": 2**40, "pages": 9}))

    assert (await mapped.run(lambda uow: _repository(uow, Book).get(2**40))).pages == 9
