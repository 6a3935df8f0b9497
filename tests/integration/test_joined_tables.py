"""Criteria that read other tables, against what Python makes of the same rows."""

from __future__ import annotations

import inspect
import operator
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from sqlalchemy import (
    JSON,
    ColumnElement,
    ForeignKey,
    MetaData,
    and_,
    exists,
    func,
    literal_column,
    not_,
    or_,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, column_property, mapped_column, relationship

from layered_backend import Base as LibraryBase
from layered_backend import BaseRepository, CursorParams, PageParams, UnitOfWork
from layered_backend.models import NAMING_CONVENTION
from layered_backend.projection import Projection
from tests.databases import Shop

on_each_database = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


class Base(DeclarativeBase):
    """As the library's, with a registry of its own: other tests have classes of the same names."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = LibraryBase.type_annotation_map
    __mapper_args__ = LibraryBase.__mapper_args__


class Port(Base):
    """No foreign key leads to a ship, nor from one."""

    __tablename__ = "joined_ports"

    id: Mapped[int] = mapped_column(primary_key=True)
    city: Mapped[str]


class Person(Base):
    __tablename__ = "joined_people"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    ship_id: Mapped[int | None] = mapped_column(ForeignKey("joined_ships.id", ondelete="SET NULL"))
    ship: Mapped[Ship | None] = relationship(back_populates="crew")


class Captain(Person):
    __tablename__ = "joined_captains"
    __mapper_args__ = {"polymorphic_identity": "captain"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("joined_people.id"), primary_key=True)
    rank: Mapped[int]


class Ship(Base):
    __tablename__ = "joined_ships"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    tonnage: Mapped[int]
    tug_id: Mapped[int | None] = mapped_column(ForeignKey("joined_ships.id", ondelete="SET NULL"))
    cargo: Mapped[list[str]] = mapped_column(JSON)
    crew: Mapped[list[Person]] = relationship(back_populates="ship", passive_deletes=True)
    tug: Mapped[Ship | None] = relationship(remote_side="Ship.id")
    hands: Mapped[int] = column_property(
        select(func.count(Person.id)).where(Person.ship_id == id).correlate_except(Person).scalar_subquery()  # noqa: A003
    )


class ShipRead(BaseModel):
    name: str


@dataclass(frozen=True)
class Row:
    """A ship as Python sees it: the names of its crew, and of the captains among them."""

    name: str
    tonnage: int
    tug: str | None
    cargo: tuple[str, ...]
    crew: tuple[str, ...]
    captains: tuple[str, ...] = ()


ROWS = (
    Row("Bera", 20, None, (), ("Cid",)),
    Row("Alma", 10, "Bera", ("coal", "tea", "tea"), ("Ann", "Bob"), ("Ann",)),
    Row("Cora", 30, "Bera", ("tea",), ()),
)
CITIES = ("Bergen", "Oslo", "Turku")

OTHER = aliased(Ship)
CREWED = select(Person.ship_id).subquery()

Criterion = ColumnElement[bool]
Right = tuple[Callable[[], Criterion], Callable[[Row], bool]]

RIGHT: dict[str, Right] = {
    "a column": (lambda: Ship.tonnage >= 20, lambda row: row.tonnage >= 20),
    "a function": (lambda: func.lower(Ship.name) == "alma", lambda row: row.name == "Alma"),
    "text": (lambda: literal_column("joined_ships.tonnage") > 20, lambda row: row.tonnage > 20),
    "any": (lambda: Ship.crew.any(Person.name == "Bob"), lambda row: "Bob" in row.crew),
    "any of a class derived": (
        lambda: Ship.crew.of_type(Captain).any(Captain.rank == 1),
        lambda row: bool(row.captains),
    ),
    "any of any": (
        lambda: Ship.crew.any(exists().where(Port.city == Person.name)),
        lambda row: bool({*CITIES}.intersection(row.crew)),
    ),
    "has": (lambda: Ship.tug.has(name="Bera"), lambda row: row.tug == "Bera"),
    "exists": (
        lambda: exists().where(Person.ship_id == Ship.id, Person.name == "Cid"),
        lambda row: "Cid" in row.crew,
    ),
    "exists with a join": (
        lambda: exists(select(Captain.id).join(OTHER, Captain.ship_id == OTHER.id).where(OTHER.tug_id == Ship.id)),
        lambda row: row.name == "Bera",
    ),
    "exists, of itself": (lambda: exists().where(OTHER.tug_id == Ship.id), lambda row: row.name == "Bera"),
    "exists, of anything": (lambda: exists().where(Port.city == "Oslo"), lambda row: True),
    "in": (lambda: Ship.id.in_(select(Person.ship_id)), lambda row: bool(row.crew)),
    "in, of a class derived": (
        lambda: Ship.id.in_(select(Captain.ship_id).where(Captain.rank == 1)),
        lambda row: bool(row.captains),
    ),
    "in, with a join by relationship": (
        lambda: Ship.id.in_(select(OTHER.tug_id).join(OTHER.crew).where(Person.name == "Ann")),
        lambda row: row.name == "Bera",
    ),
    "in, with a comparison": (
        lambda: Ship.id.in_(select(Person.ship_id).where(Person.ship_id == OTHER.id, OTHER.tonnage == 10)),
        lambda row: row.name == "Alma",
    ),
    "scalar subquery": (
        lambda: select(func.count(Person.id)).where(Person.ship_id == Ship.id).scalar_subquery() == 0,
        lambda row: not row.crew,
    ),
    "scalar subquery of all": (
        lambda: Ship.tonnage > select(func.min(OTHER.tonnage)).scalar_subquery(),
        lambda row: row.tonnage > 10,
    ),
    "column property": (lambda: Ship.hands == 1, lambda row: len(row.crew) == 1),
}

WRONG: dict[str, Callable[[], Criterion]] = {
    "another class": lambda: Port.city == "Oslo",
    "a function of it": lambda: func.lower(Port.city) == "oslo",
    "a related class": lambda: Person.name == "Bob",
    "a class derived": lambda: Captain.rank == 1,
    "an alias": lambda: OTHER.tonnage > 5,
    "an implicit join": lambda: Ship.id == Person.ship_id,
    "a subquery's column": lambda: Ship.id == CREWED.c.ship_id,
    "any, and another class in it": lambda: Ship.crew.any(Port.city == "Oslo"),
    "has, of another class": lambda: Person.ship.has(Ship.tonnage > 5),
    "exists, of two others": lambda: exists().where(Person.ship_id == OTHER.id),
    "in, with all of another class": lambda: Ship.id.in_(select(Person.ship_id).where(Port.city == "Oslo")),
    "a function that makes rows of nothing": lambda: func.generate_series(1, 3).table_valued("value").c.value == 1,
}


@dataclass(frozen=True)
class Case:
    """A criterion, how it is written, and what it is in Python; None where it is to be refused."""

    name: str
    criterion: Callable[[], Criterion]
    holds: Callable[[Row], bool] | None


def _negated(case: Case) -> Case:
    holds = case.holds
    return Case(
        f"not ({case.name})", lambda: not_(case.criterion()), None if holds is None else lambda row: not holds(row)
    )


def _joined(pair: tuple[Case, Case], how: Any, name: str, together: Callable[..., bool]) -> Case:
    one, other = pair
    known = [holds for holds in (one.holds, other.holds) if holds is not None]
    return Case(
        f"({one.name}) {name} ({other.name})",
        lambda: how(one.criterion(), other.criterion()),
        (lambda row: together(holds(row) for holds in known)) if len(known) == len(pair) else None,
    )


atoms = st.sampled_from(
    [
        *(Case(name, criterion, holds) for name, (criterion, holds) in RIGHT.items()),
        *(Case(name, criterion, None) for name, criterion in WRONG.items()),
    ]
)
cases = st.recursive(
    atoms,
    lambda inner: st.one_of(
        inner.map(_negated),
        st.tuples(inner, inner).map(lambda pair: _joined(pair, and_, "and", all)),
        st.tuples(inner, inner).map(lambda pair: _joined(pair, or_, "or", any)),
    ),
    max_leaves=3,
)


@pytest.fixture
async def fleet(async_shop: Shop) -> AsyncGenerator[Shop]:
    """Three ships, their crews, and three ports, on each database."""
    await async_shop.database.create_all(Base.metadata)
    try:
        async with UnitOfWork(async_shop.database) as uow:
            await uow.repository(BaseRepository[Port]).create_many([{"city": city} for city in CITIES])
            ships: dict[str, Ship] = {}
            for row in ROWS:
                ship = Ship(name=row.name, tonnage=row.tonnage, cargo=list(row.cargo), tug=ships.get(row.tug or ""))
                ship.crew = [Captain(name=n, rank=1) if n in row.captains else Person(name=n) for n in row.crew]
                ships[row.name] = await uow.repository(BaseRepository[Ship]).add(ship)
        yield async_shop
    finally:
        async with async_shop.database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)


async def _taken(stream: AsyncIterator[Any]) -> list[Any]:
    return [each async for each in stream]


READS: dict[str, Callable[[Any, Criterion], Any]] = {
    "list": lambda ships, criterion: ships.list(criterion),
    "page": lambda ships, criterion: ships.page(PageParams(), criterion),
    "slice": lambda ships, criterion: ships.slice(PageParams(), criterion),
    "cursor_page": lambda ships, criterion: ships.cursor_page(CursorParams(), criterion, total=True),
    "stream": lambda ships, criterion: _taken(ships.stream(criterion)),
}


async def _call(method: str, ships: Any, criterion: Criterion) -> Any:
    if method in READS:
        return await READS[method](ships, criterion)
    values = {"values": {"tonnage": 99}} if method == "update_where" else {}
    return await getattr(ships, method)(criterion, **values)


async def _refuses(work: Any) -> bool:
    try:
        await work
    except TypeError as error:
        return "Ship" in str(error)
    return False


@given(case=cases, data=st.data())
@on_each_database
async def test_rows_are_those_that_python_finds_or_the_criterion_is_refused(fleet: Shop, case: Case, data: Any) -> None:
    method = data.draw(st.sampled_from(sorted({*READS, "count", "exists", "update_where", "delete_where"})))
    wanted = [] if case.holds is None else sorted(row.name for row in ROWS if case.holds(row))
    async with UnitOfWork(fleet.database) as uow:
        ships = uow.repository(BaseRepository[Ship])
        reader: Any = ships.project(ShipRead) if data.draw(st.booleans()) and method in READS else ships
        if method == "update_where":
            await uow.session.connection()
        if case.holds is None:
            assert await _refuses(_call(method, reader, case.criterion())), (case.name, method)
        else:
            found = await _call(method, reader, case.criterion())
            if method in READS:
                assert sorted(each.name for each in getattr(found, "items", found)) == wanted, (case.name, method)
                found = getattr(found, "total", len(wanted))
            assert found == (bool(wanted) if method == "exists" else len(wanted)), (case.name, method)
        if method == "update_where":
            changed = sorted(await uow.session.scalars(select(Ship.name).where(Ship.tonnage == 99)))
            assert changed == wanted
        if method == "delete_where":
            left = await ships.count()
            assert left == len(ROWS) - len(wanted)
        await uow.rollback()


CALLS: dict[str, tuple[Any, ...]] = {
    "page": (PageParams(),),
    "slice": (PageParams(),),
    "cursor_page": (CursorParams(),),
    "count_by": (Ship.name,),
}
NAMED: dict[str, dict[str, Any]] = {"update_where": {"values": {"tonnage": 1}}}


def _methods(owner: type[Any]) -> list[str]:
    """Return the names of the methods that take criteria, but for the one whose statement may join more."""
    named = inspect.getmembers(owner, inspect.isfunction)
    return [
        name
        for name, method in named
        if not name.startswith("_") and name != "select" and "where" in inspect.signature(method).parameters
    ]


NO_CRITERIA: dict[str, Any] = {
    "None": None,
    "a truth value": True,
    "a comparison in Python": operator.is_(Ship.name, None),
    "text": "name = 'Alma'",
    "a list": [Ship.id == 1],
    "a class": Ship,
    "a function": lambda: Ship.id == 1,
    "a relationship": Ship.crew,
    "another class": Port.city == "Oslo",
}


@pytest.mark.parametrize("criterion", NO_CRITERIA.values(), ids=NO_CRITERIA)
@pytest.mark.parametrize(
    ("owner", "method"),
    [(owner, method) for owner in (BaseRepository, Projection) for method in _methods(owner)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
async def test_each_method_refuses_what_is_no_criterion_of_its_rows(
    sqlite_shop: Shop, owner: type[Any], method: str, criterion: Any
) -> None:
    async with UnitOfWork(sqlite_shop.database) as uow:
        ships: Any = uow.repository(BaseRepository[Ship])
        reader = ships.project(ShipRead) if owner is Projection else ships
        called = getattr(reader, method)(*CALLS.get(method, ()), criterion, **NAMED.get(method, {}))
        with pytest.raises(TypeError, match="Ship"):
            await (_taken(called) if inspect.isasyncgen(called) else called)


@pytest.mark.parametrize("criterion", ["None", "a truth value", "text"])
async def test_select_refuses_what_is_no_expression(sqlite_shop: Shop, criterion: str) -> None:
    async with UnitOfWork(sqlite_shop.database) as uow:
        with pytest.raises(TypeError, match="Ship"):
            uow.repository(BaseRepository[Ship]).select(NO_CRITERIA[criterion])


async def test_select_takes_criteria_of_what_is_joined_afterwards(fleet: Shop) -> None:
    mate = aliased(Person)
    async with UnitOfWork(fleet.database) as uow:
        statement = uow.repository(BaseRepository[Ship]).select(mate.name == "Bob").join(mate, mate.ship_id == Ship.id)

        assert [ship.name for ship in await uow.session.scalars(statement)] == ["Alma"]


SORTS: dict[str, Any] = {
    "None in a list": [None],
    "a truth value": True,
    "text": "name",
    "another class": Port.city,
    "a function of it": func.lower(Port.city).desc(),
    "a class derived": Captain.rank,
    "an alias": OTHER.name,
}


@pytest.mark.parametrize("order_by", SORTS.values(), ids=SORTS)
@pytest.mark.parametrize("method", ["list", "first", "page", "slice", "cursor_page", "stream"])
@pytest.mark.parametrize("projects", [False, True], ids=["entities", "projection"])
async def test_each_method_refuses_a_sort_by_what_is_not_joined(
    sqlite_shop: Shop, projects: bool, method: str, order_by: Any
) -> None:
    async with UnitOfWork(sqlite_shop.database) as uow:
        ships: Any = uow.repository(BaseRepository[Ship])
        reader = ships.project(ShipRead) if projects else ships
        called = getattr(reader, method)(*CALLS.get(method, ()), order_by=order_by)
        with pytest.raises(TypeError, match="Ship"):
            await (_taken(called) if inspect.isasyncgen(called) else called)


async def test_a_sort_may_read_what_belongs_to_each_row(fleet: Shop) -> None:
    sorts = {
        "column property": Ship.hands.desc(),
        "scalar subquery": select(func.min(Person.name)).where(Person.ship_id == Ship.id).scalar_subquery(),
    }
    async with UnitOfWork(fleet.database) as uow:
        ships = uow.repository(BaseRepository[Ship])
        for name, sort in sorts.items():
            for found in (
                await ships.list(Ship.crew.any(), order_by=sort),
                (await ships.page(PageParams(), Ship.crew.any(), order_by=sort)).items,
            ):
                assert [ship.name for ship in found] == ["Alma", "Bera"], name


async def test_columns_of_the_tables_of_all_parents_are_those_of_the_class(fleet: Shop) -> None:
    async with UnitOfWork(fleet.database) as uow:
        captains = uow.repository(BaseRepository[Captain])

        assert await captains.count(Person.name == "Ann", Captain.rank == 1) == 1
        assert [each.name for each in await captains.list(Person.id > 0, order_by=Person.name)] == ["Ann"]
        assert await captains.update_where(Captain.name == "Ann", values={"rank": 2}) == 1


@pytest.mark.parametrize("rows_of", ["json_each", "json_array_elements_text"])
async def test_a_function_of_a_column_may_make_rows(fleet: Shop, rows_of: str) -> None:
    if (fleet.backend.server, rows_of) not in {("sqlite", "json_each"), ("postgresql", "json_array_elements_text")}:
        return  # another database's
    part = getattr(func, rows_of)(Ship.cargo).table_valued("value", joins_implicitly=True)
    same = getattr(func, rows_of)(Ship.cargo).table_valued("value", joins_implicitly=True)
    async with UnitOfWork(fleet.database) as uow:
        ships = uow.repository(BaseRepository[Ship])

        assert [ship.name for ship in await ships.list(part.c.value == "coal")] == ["Alma"]
        assert await ships.count(exists().select_from(same).where(same.c.value == "tea")) == 2
        assert await ships.exists(part.c.value == "coal")
