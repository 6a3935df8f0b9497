"""Restrictions in statements of every shape, on SQLite in memory; `tests/integration/test_scopes.py` has them on each database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, ForeignKey, MetaData, create_engine, delete, exists, func, literal, select, update
from sqlalchemy.orm import Mapped, Session, aliased, joinedload, mapped_column, relationship
from sqlalchemy.orm import join as orm_join

from layered_backend import Base as LibraryBase
from layered_backend import IntegerPrimaryKey, Scope
from layered_backend.query.scope import ActiveScopes
from layered_backend.upstream.sqlalchemy.restriction import Restriction, Restrictions
from layered_backend.upstream.sqlalchemy.restriction_compiler import restrict


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData()


class Person(IntegerPrimaryKey, Base):
    """The base of a class with a table of its own, and of one without."""

    __tablename__ = "people"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012  # SQLAlchemy's

    kind: Mapped[str]
    is_gone: Mapped[bool] = mapped_column(default=False)
    boss_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    boss: Mapped[Person | None] = relationship(remote_side="Person.id", back_populates="staff")
    staff: Mapped[list[Person]] = relationship(back_populates="boss", lazy="joined", join_depth=1)


class Engineer(Person):
    __tablename__ = "engineers"
    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012  # SQLAlchemy's

    id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
    language: Mapped[str] = mapped_column(default="python")


class Manager(Person):
    __mapper_args__ = {"polymorphic_identity": "manager"}  # noqa: RUF012  # SQLAlchemy's

    level: Mapped[int | None]


class Team(IntegerPrimaryKey, Base):
    __tablename__ = "teams"

    lead_id: Mapped[int] = mapped_column(ForeignKey("engineers.id"))
    manager_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    lead: Mapped[Engineer] = relationship(foreign_keys=lead_id)
    manager: Mapped[Manager] = relationship(foreign_keys=manager_id)


NOBODY_GONE = Scope(Person, lambda cls: cls.is_gone.is_(False), name="gone")


@pytest.fixture
def session() -> Iterator[Session]:
    """Two teams: of the second one, the lead is gone, speaks another language, and the manager is of a low level."""
    engine = create_engine("sqlite://")
    restrict(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        boss = Manager(id=1, level=5)
        session.add_all([boss, Manager(id=2, level=1, boss_id=1)])
        session.add(Engineer(id=3, boss_id=1))
        session.add(Engineer(id=4, boss_id=2, is_gone=True, language="cobol"))
        session.flush()
        session.add_all([Team(id=1, lead_id=3, manager_id=1), Team(id=2, lead_id=4, manager_id=2)])
        session.flush()
        session.expunge_all()
        yield session
    engine.dispose()


def _found(session: Session, statement: Any, *scopes: Scope) -> list[Any]:
    options = ActiveScopes(scopes or (NOBODY_GONE,)).options()
    return sorted(session.scalars(statement.options(*options)).unique())


BOSS = aliased(Person)
PEOPLE: Any = Person.__table__
ENGINEERS: Any = Engineer.__table__


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (select(Person.id), [1, 2, 3]),
        (select(Engineer.id), [3]),
        (select(aliased(Engineer, flat=True).id), [3]),
        (select(Team.id).where(Team.lead.has()), [1]),
        (select(Team.id).join(Team.lead), [1]),
        (select(Team.id).where(Team.lead_id.in_(select(Engineer.id))), [1]),
        (select(Team.id).where(exists().where(Person.id == Team.lead_id)), [1]),
        (select(Person.id).where(Person.staff.any()), [1]),
        (select(Person.id).where(Person.staff.any(Person.staff.any())), []),
        (select(BOSS.id).where(BOSS.staff.any()), [1]),
        (select(Team.id).where(exists().where(ENGINEERS.c.id == Team.lead_id)), [1]),
        (select(literal(7)).select_from(orm_join(Team, Person, Person.id == Team.lead_id)), [7]),
        (select(literal(7)).select_from(orm_join(Person, Team, Person.id == Team.lead_id)).where(Team.id == 2), []),
        (select(Team.id).select_from(orm_join(Team, BOSS, BOSS.id == Team.lead_id)), [1]),
        (select(Team.id).join(BOSS, BOSS.id == Team.lead_id, isouter=True), [1, 2]),
        (select(Team.id).join(Person.__table__, Person.id == Team.lead_id), [1]),
        (select(Team.id).select_from(Team).where(Person.id == Team.lead_id), [1]),
        (select(func.count()).select_from(Team).where(Person.id == Team.lead_id), [1]),
        (select(func.count()).select_from(select(Person).subquery()), [3]),
    ],
)
def test_every_row_of_a_class_with_subclasses_is_restricted(
    session: Session, statement: Any, expected: list[int]
) -> None:
    assert _found(session, statement) == expected


def test_one_option_restricts_any_number_of_classes_and_is_asked_once(session: Session) -> None:
    asked: list[str] = []

    def all_of_them() -> Iterator[Restriction]:
        asked.append("all of them")
        yield Restriction(Person, lambda cls: cls.is_gone.is_(False))
        yield Restriction(Team, lambda cls: cls.id < 2)

    option = Restrictions("key", [], all_of_them)
    statement = select(Team.id, Person.id).join(Person, Person.id == Team.manager_id)

    for _ in range(2):
        assert session.execute(statement.options(option)).all() == [(1, 1)]
    assert [each.tables for each in option.on(PEOPLE.alias())] == [dict.fromkeys([PEOPLE, ENGINEERS])]
    assert asked == ["all of them"]


@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 39), reason="SQLite has no FULL JOIN before")
def test_a_row_that_an_outer_join_finds_none_for_stays(session: Session) -> None:
    boss = PEOPLE.alias()
    outer = select(Person.id).outerjoin(boss, boss.c.id == Person.boss_id)
    both = PEOPLE.join(boss, boss.c.id == PEOPLE.c.boss_id, full=True)

    assert _found(session, outer) == [1, 2, 3]
    for column, expected in ((boss.c.id, [1, 3]), (PEOPLE.c.id, [1, 2, 3])):
        assert _found(session, select(column).select_from(both).where(column.is_not(None))) == expected


@pytest.mark.parametrize(
    ("scope", "by_lead", "by_manager"),
    [
        (Scope(Engineer, lambda cls: cls.language == "python", name="language"), [1], [1, 2]),
        (Scope(Engineer, lambda cls: cls.is_gone.is_(False), name="gone"), [1], [1, 2]),
        (Scope(Manager, lambda cls: cls.level > 3, name="level"), [1, 2], [1]),
    ],
)
def test_a_scope_of_a_subclass_is_of_its_rows_alone(
    session: Session, scope: Scope, by_lead: list[int], by_manager: list[int]
) -> None:
    assert _found(session, select(Team.id).where(Team.lead.has()), scope) == by_lead
    assert _found(session, select(Team.id).where(exists().where(ENGINEERS.c.id == Team.lead_id)), scope) == by_lead
    assert _found(session, select(Team.id).where(Team.manager.has()), scope) == by_manager
    assert _found(session, select(Person.id).where(exists().where(PEOPLE.c.id == 3)), scope) == [1, 2, 3, 4]


def test_scopes_that_ask_about_each_others_rows_have_an_end(session: Session) -> None:
    teams: Any = Team.__table__
    led = Scope(Team, lambda cls: exists().where(PEOPLE.c.id == cls.lead_id, PEOPLE.c.is_gone.is_(False)), name="led")
    leading = Scope(Person, lambda cls: exists().where(teams.c.lead_id == cls.id), name="leading")

    assert _found(session, select(Team.id), led, leading) == [1]
    assert _found(session, select(Person.id), led, leading) == [3]


def test_loaded_relationships_are_restricted_as_before(session: Session) -> None:
    options = ActiveScopes((NOBODY_GONE,)).options()
    people = session.scalars(select(Person).options(*options).order_by(Person.id)).unique().all()
    teams = session.scalars(select(Team).options(joinedload(Team.lead), *options).order_by(Team.id)).unique().all()

    assert [{member.id for member in person.staff} for person in people] == [{2, 3}, set(), set()]
    assert [team.lead and team.lead.id for team in teams] == [3, None]


def test_a_write_goes_by_restricted_rows_and_touches_them_alone(session: Session) -> None:
    options = ActiveScopes((NOBODY_GONE,)).options()
    quiet: Any = {"synchronize_session": False}
    by_criterion = update(Team).where(Person.id == Team.lead_id).values(manager_id=2).options(*options)
    by_subquery = delete(Team).where(Team.lead.has()).options(*options)

    session.execute(by_criterion, execution_options=quiet)
    assert session.scalars(select(Team.manager_id).order_by(Team.id)).all() == [2, 2]
    session.execute(by_subquery, execution_options=quiet)
    assert session.scalars(select(Team.id)).all() == [2]


def _compiled(statement: Any, engine: Engine) -> str:
    return str(statement.options(*ActiveScopes((NOBODY_GONE,)).options()).compile(engine))


def test_nothing_is_asked_twice_of_what_sqlalchemy_restricts(session: Session) -> None:
    engine: Any = session.get_bind()

    for statement in (
        select(Person.id),
        select(Engineer.id),
        select(func.count()).select_from(Person),
        select(Team).join(Team.lead),
        select(Team).join(Person, Person.id == Team.lead_id),
        select(Team).where(Team.lead.has()),
        select(Team).where(exists().where(ENGINEERS.c.id == Team.lead_id, PEOPLE.c.id == ENGINEERS.c.id)),
        select(Team.id, select(func.count()).select_from(Person).scalar_subquery()),
    ):
        assert _compiled(statement, engine).count("is_gone IS 0") == 1, statement
