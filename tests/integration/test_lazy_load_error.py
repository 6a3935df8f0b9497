"""The reason that is given where an attribute is read before it is loaded, for classes with derived ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from sqlalchemy import FetchedValue, ForeignKey, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectin_polymorphic, undefer

from layered_backend import Database, UnitOfWork, UnitOfWorkError


class _Base(DeclarativeBase): ...


class Place(_Base):
    __tablename__ = "places"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    animals: Mapped[list[Animal]] = relationship(lazy="selectin")


class Animal(_Base):
    __tablename__ = "animals"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012  # as SQLAlchemy has it
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    story: Mapped[str | None] = mapped_column(deferred=True)
    place_id: Mapped[int | None] = mapped_column(ForeignKey("places.id"))


class Dog(Animal):
    __tablename__ = "dogs"
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(ForeignKey("animals.id"), primary_key=True)
    breed: Mapped[str]
    rank: Mapped[int | None] = mapped_column(server_default=FetchedValue())


@pytest.fixture
async def uow() -> AsyncGenerator[UnitOfWork]:
    """A unit of work with one dog, whose session has been emptied."""
    async with Database("sqlite://") as database:
        await database.create_all(_Base.metadata)
        async with UnitOfWork(database) as uow:
            uow.session.add(Dog(name="Rex", breed="collie", story="long"))
            await uow.session.flush()
            uow.session.expunge_all()
            yield uow


async def test_a_column_of_a_derived_class_that_was_read_as_its_base(uow: UnitOfWork) -> None:
    dog: Any = await uow.session.scalar(select(Animal))
    advice = r"the query has read it as Animal: add options=\[selectin_polymorphic\(Animal, \[Dog\]\)\] to the query"

    with pytest.raises(UnitOfWorkError, match=rf"^Dog\.breed.* is not loaded, because {advice}"):
        _ = dog.breed

    uow.session.expunge_all()
    dog = await uow.session.scalar(select(Animal).options(selectin_polymorphic(Animal, [Dog])))
    assert dog.breed == "collie"


async def test_a_deferred_column_after_a_refresh(uow: UnitOfWork) -> None:
    dog = (await uow.session.scalars(select(Dog))).one()
    await uow.session.refresh(dog)

    with pytest.raises(
        UnitOfWorkError, match=r"^Dog\.story is not loaded, because the query has left it out: .*undefer\(Dog\.story\)"
    ):
        _ = dog.story

    uow.session.expunge_all()
    dog = (await uow.session.scalars(select(Dog).options(undefer(Dog.story)))).one()
    assert dog.story == "long"


async def test_a_relationship_is_not_named_among_the_columns(uow: UnitOfWork) -> None:
    place = Place(name="kennel")
    uow.session.add(place)
    await uow.session.flush()
    uow.session.expire(place)

    with pytest.raises(UnitOfWorkError, match=r"^Place\.id or Place\.name is not loaded, because Place expired"):
        _ = place.name
