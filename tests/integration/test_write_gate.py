"""Each way to write each kind of mapping: the rows are those of SQLAlchemy's own unit of work, on each database."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import (
    FetchedValue,
    ForeignKey,
    MetaData,
    String,
    cast,
    event,
    func,
    inspect,
    select,
    text,
    true,
)
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    Mapped,
    MappedAsDataclass,
    Mapper,
    Session,
    aliased,
    column_property,
    composite,
    mapped_column,
    query_expression,
    relationship,
    validates,
)
from sqlalchemy.types import UserDefinedType

from layered_backend import (
    Audited,
    BaseRepository,
    IntegerPrimaryKey,
    SoftDeletable,
    StaleError,
    Timestamped,
    UnitOfWork,
    UUIDPrimaryKey,
    Versioned,
)
from layered_backend import Base as LibraryBase
from layered_backend.models import NAMING_CONVENTION
from layered_backend.repository.write_gate import Verb, plan_write
from tests.databases import Shop


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class Model(IntegerPrimaryKey, Base):
    """The columns that each kind has."""

    __abstract__ = True

    name: Mapped[str] = mapped_column(String(40), unique=True)
    note: Mapped[str | None] = mapped_column(String(40))


class Plain(Model):
    __tablename__ = "gate_plain"


class Parameters(Model):
    """Columns that are called like parameters."""

    __tablename__ = "gate_parameters"
    new_note: Mapped[str | None] = mapped_column(String(40))
    key_0: Mapped[int | None]
    layered_key_0: Mapped[int | None]
    layered_new_note: Mapped[str | None] = mapped_column(String(40))
    values: Mapped[str | None] = mapped_column("select", String(40))


class Rooted(Model):
    """The root of a hierarchy in one table."""

    __tablename__ = "gate_rooted"
    kind: Mapped[str] = mapped_column(String(20))
    __mapper_args__ = {  # noqa: RUF012
        "polymorphic_on": "kind",
        "polymorphic_identity": "rooted",
        "with_polymorphic": "*",
    }


class Single(Rooted):
    extra: Mapped[str | None] = mapped_column(String(20), unique=True)
    __mapper_args__ = {"polymorphic_identity": "single"}  # noqa: RUF012


class Joined(Rooted):
    __tablename__ = "gate_joined"
    id: Mapped[int] = mapped_column(ForeignKey("gate_rooted.id"), primary_key=True)
    size: Mapped[int] = mapped_column(default=3)
    __mapper_args__ = {"polymorphic_identity": "joined"}  # noqa: RUF012


class Concrete(Plain):
    __tablename__ = "gate_concrete"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    note: Mapped[str | None] = mapped_column(String(40))
    __mapper_args__ = {"concrete": True}  # noqa: RUF012


def _random(version: str | None) -> str:
    return uuid.uuid4().hex


class Generated(Model):
    """A version that a function makes."""

    __tablename__ = "gate_generated"
    revision: Mapped[str] = mapped_column(String(32))
    __mapper_args__ = {"version_id_col": revision, "version_id_generator": _random}  # noqa: RUF012


class Counted(Versioned, Timestamped, Audited, Model):
    """A version that is counted, though the class has mapper arguments of its own."""

    __tablename__ = "gate_counted"
    __mapper_args__ = {"confirm_deleted_rows": True}  # noqa: RUF012


class Queried(Model):
    """Attributes that queries fill in, or compute."""

    __tablename__ = "gate_queried"
    applause: Mapped[int | None] = query_expression()
    length: Mapped[int] = column_property(func.length(text("gate_queried.name")))


class Validated(Model):
    __tablename__ = "gate_validated"

    @validates("note")
    def _shouted(self, key: str, note: str | None) -> str | None:
        return note and note.upper()


class Set(Model):
    """Attributes that are set by a method of the class's own."""

    __tablename__ = "gate_set"

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value.upper() if name == "note" and value else value)


def _note_of_row(context: Any) -> str:
    return str(context.get_current_parameters().get("note"))


class Contextual(Model):
    """A default that reads the row."""

    __tablename__ = "gate_contextual"
    label: Mapped[str | None] = mapped_column(
        String(80),
        default=_note_of_row,
        onupdate=_note_of_row,
    )


@dataclass
class Place:
    x: int
    y: int


class Related(Model):
    """Relationships of every kind, and what stands for them."""

    __tablename__ = "gate_related"
    plain_id: Mapped[int | None] = mapped_column(ForeignKey("gate_plain.id"))
    plain: Mapped[Plain | None] = relationship(lazy="raise")
    plain_name: AssociationProxy[str | None] = association_proxy("plain", "name")
    x: Mapped[int] = mapped_column(default=1)
    y: Mapped[int] = mapped_column(default=2)
    place: Mapped[Place] = composite("x", "y")
    tail: Mapped[str | None] = mapped_column(String(20), deferred=True, deferred_raiseload=True)

    @hybrid_property
    def shouted(self) -> str:
        return self.name.upper()


_other = aliased(Plain)
inspect(Related).add_property(
    "namesakes",
    relationship(_other, primaryjoin=lambda: Related.name == _other.name, viewonly=True, foreign_keys=_other.name),
)


class DataBase(MappedAsDataclass, LibraryBase):
    __abstract__ = True
    metadata = Base.metadata


class Data(IntegerPrimaryKey, Timestamped, Audited, Versioned, SoftDeletable, DataBase):
    """A dataclass with all mixins."""

    __tablename__ = "gate_data"
    name: Mapped[str] = mapped_column(String(40), unique=True)
    note: Mapped[str | None] = mapped_column(String(40), default=None)


class Token(UUIDPrimaryKey, DataBase):
    __tablename__ = "gate_tokens"
    name: Mapped[str] = mapped_column(String(40), unique=True)
    note: Mapped[str | None] = mapped_column(String(40), default=None)


class Asset(Timestamped, Audited, Model):
    """The root of a hierarchy in two tables, of which this one has the stamps."""

    __tablename__ = "gate_assets"
    kind: Mapped[str] = mapped_column(String(20))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "asset"}  # noqa: RUF012


class Machine(Asset):
    __tablename__ = "gate_machines"
    id: Mapped[int] = mapped_column(ForeignKey("gate_assets.id"), primary_key=True)
    speed: Mapped[int]
    __mapper_args__ = {"polymorphic_identity": "machine"}  # noqa: RUF012


class Part(IntegerPrimaryKey, Versioned, Audited, Base):
    __tablename__ = "gate_parts"
    name: Mapped[str] = mapped_column(String(40))
    box_id: Mapped[int | None] = mapped_column(ForeignKey("gate_boxes.id"))


def _part(name: str) -> Part:
    return Part(name=name)


class Box(Model):
    """A collection that refuses to load itself."""

    __tablename__ = "gate_boxes"
    parts: Mapped[list[Part]] = relationship(lazy="raise")
    part_names: AssociationProxy[list[str]] = association_proxy("parts", "name", creator=_part)


class XID(UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **options: Any) -> str:
        return "XID"

    def bind_expression(self, bindvalue: Any) -> Any:
        return cast(cast(bindvalue, String), self)

    def column_expression(self, colexpr: Any) -> Any:
        return cast(colexpr, String)


class Rowed(Model):
    """A version that PostgreSQL makes; elsewhere it stays."""

    __tablename__ = "gate_rowed"
    xmin: Mapped[str] = mapped_column("xmin", XID, system=True, server_default=FetchedValue())
    __mapper_args__ = {"version_id_col": xmin, "version_id_generator": False}  # noqa: RUF012


KINDS: list[Any] = [
    *(Plain, Parameters, Rooted, Single, Joined, Concrete, Generated, Counted, Queried, Validated, Set, Contextual),
    *(Related, Data, Token),
]
EVERY_KIND = pytest.mark.parametrize("model", KINDS, ids=lambda model: model.__name__)
Work = Callable[[BaseRepository[Any]], Awaitable[Any]]


@pytest.fixture
async def mapped(async_shop: Shop) -> AsyncGenerator[Shop]:
    await async_shop.database.create_all(Base.metadata)
    yield async_shop
    await async_shop.run(lambda uow: uow.session.run_sync(lambda session: Base.metadata.drop_all(session.connection())))


async def _run(shop: Shop, model: Any, work: Work, actor: str = "ann") -> Any:
    async with UnitOfWork(shop.database, actor=actor) as uow:
        return await work(BaseRepository(uow.session, model))


async def _rows(shop: Shop, model: Any) -> list[dict[str, Any]]:
    """Return the rows as an entity has them, without what differs from one write to the next."""
    varying = {"id", "revision", "created_at", "updated_at"}

    async def read(repository: BaseRepository[Any]) -> list[dict[str, Any]]:
        mapper: Mapper[Any] = inspect(model)
        names = [each.key for each in mapper.column_attrs if each.key not in varying and not each.deferred]
        entities = await repository.list(order_by=model.name)
        return [{name: getattr(entity, name) for name in names} | {"class": type(entity)} for entity in entities]

    rows: list[dict[str, Any]] = await _run(shop, model, read)
    return rows


def _create(session: Session, model: Any, *rows: dict[str, Any]) -> None:
    session.add_all([model(**row) for row in rows])
    session.flush()


def _change(session: Session, model: Any, name: str, values: dict[str, Any]) -> None:
    entity = session.scalars(select(model).where(model.name == name)).one()
    for key, value in values.items():
        setattr(entity, key, value)
    session.flush()


async def _expected(shop: Shop, model: Any, change: Callable[[Session], None]) -> list[dict[str, Any]]:
    """Return the rows after SQLAlchemy has made two and *change* was made; nothing is kept."""
    await _run(shop, model, lambda of: of.session.run_sync(change))
    rows = await _rows(shop, model)
    await _run(shop, model, lambda of: of.session.run_sync(_delete_all, model))
    return rows


def _delete_all(session: Session, model: Any) -> None:
    for entity in session.scalars(select(model)):
        session.delete(entity)
    session.flush()


TWO = ({"name": "a", "note": "x"}, {"name": "b", "note": None})
CREATING: dict[str, Callable[[BaseRepository[Any]], Awaitable[Any]]] = {
    "create": lambda of: _each(of.create, TWO),
    "add": lambda of: _each(lambda row: of.add(of.model(**row)), TWO),
    "create_many": lambda of: of.create_many(TWO),
    "upsert": lambda of: _each(lambda row: of.upsert(row, on=of.model.name), TWO),
    "upsert_many": lambda of: of.upsert_many(TWO, on=of.model.name),
    "get_or_create": lambda of: _each(lambda row: of.get_or_create(row, on=of.model.name), TWO),
}


async def _each(write: Callable[[Any], Awaitable[Any]], rows: Any) -> None:
    for row in rows:
        await write(row)


async def _update(of: BaseRepository[Any], values: dict[str, Any], *, loaded: bool = False) -> None:
    entity = await of.one(of.model.name == "a")
    mapper: Mapper[Any] = inspect(of.model)
    key = tuple(mapper.primary_key_from_instance(entity))
    if not loaded:
        of.session.expunge_all()
    await of.update(entity if loaded else key, values)


async def _update_many(of: BaseRepository[Any], values: dict[str, Any]) -> None:
    entity = await of.one(of.model.name == "a")
    await of.update_many([{"id": entity.id, **values}])


CHANGING: dict[str, Callable[[BaseRepository[Any]], Awaitable[Any]]] = {
    "update, by key": lambda of: _update(of, {"note": "y"}),
    "update, of an entity": lambda of: _update(of, {"note": "y"}, loaded=True),
    "update_where": lambda of: of.update_where(of.model.name == "a", values={"note": "y"}),
    "update_many": lambda of: _update_many(of, {"note": "y"}),
    "upsert": lambda of: of.upsert({"name": "a", "note": "y"}, on=of.model.name),
    "upsert_many": lambda of: of.upsert_many([{"name": "a", "note": "y"}], on=of.model.name),
}


@EVERY_KIND
async def test_each_way_to_create_writes_the_rows_of_the_orm(mapped: Shop, model: Any) -> None:
    expected = await _expected(mapped, model, lambda session: _create(session, model, *TWO))
    assert len(expected) == 2
    for name, create in CREATING.items():
        await _run(mapped, model, create)
        assert await _rows(mapped, model) == expected, name
        await _run(mapped, model, lambda of: of.session.run_sync(_delete_all, model))


@EVERY_KIND
async def test_each_way_to_change_writes_the_rows_of_the_orm(mapped: Shop, model: Any) -> None:
    async def made() -> None:
        await _run(mapped, model, lambda of: of.session.run_sync(_create, model, *TWO))

    await made()
    expected = await _expected(mapped, model, lambda session: _change(session, model, "a", {"note": "y"}))
    for name, change in CHANGING.items():
        await made()
        await _run(mapped, model, change)
        assert await _rows(mapped, model) == expected, name
        await _run(mapped, model, lambda of: of.session.run_sync(_delete_all, model))


@EVERY_KIND
@pytest.mark.parametrize("delete", ["delete", "delete_where"])
async def test_each_way_to_delete_leaves_no_row(mapped: Shop, model: Any, delete: str) -> None:
    await _run(mapped, model, lambda of: of.create_many(TWO))

    async def work(of: BaseRepository[Any]) -> None:
        if delete == "delete_where":
            assert await of.delete_where(true()) == 2
        else:
            for entity in await of.list():
                await of.hard_delete(entity)

    await _run(mapped, model, work)
    rows = await _rows(mapped, model)
    assert [row.get("deleted_at") is not None for row in rows] in ([], [True, True])


async def test_an_update_sets_what_stands_for_a_relationship(mapped: Shop) -> None:
    await _run(mapped, Plain, lambda of: of.create_many(TWO))

    async def work(of: BaseRepository[Any]) -> None:
        related = await of.create(
            {"name": "r", "plain_id": (await of.session.scalars(select(Plain.id).where(Plain.name == "a"))).one()}
        )
        of.session.expunge_all()
        await of.update(related.id, {"place": Place(5, 6)})
        await of.update(related.id, {"plain": (await of.session.scalars(select(Plain).where(Plain.name == "b"))).one()})

    await _run(mapped, Related, work)

    names = select(Plain.name, Related.x, Related.y).join(Related, Related.plain_id == Plain.id)
    assert await _run(
        mapped, Related, lambda of: of.session.run_sync(lambda s: [tuple(row) for row in s.execute(names)])
    ) == [("b", 5, 6)]


async def _parts(of: BaseRepository[Any]) -> list[tuple[Any, ...]]:
    parts = select(Part.name, Part.box_id.is_(None), Part.version, Part.updated_by).order_by(Part.id)
    return [tuple(row) for row in await of.session.execute(parts)]


async def test_a_collection_that_refuses_to_load_itself_is_replaced_and_what_it_held_is_stamped(mapped: Shop) -> None:
    box = await _run(mapped, Box, lambda of: of.create({"name": "box", "part_names": ["lid"]}))
    await _run(mapped, Box, lambda of: of.update(box.id, {"part_names": ["side", "base"]}), actor="bob")
    lid, *others = await _run(mapped, Box, _parts)
    assert (lid, others) == (("lid", True, 2, "bob"), [("side", False, 1, "bob"), ("base", False, 1, "bob")])

    await _run(mapped, Box, lambda of: of.delete(box.id), actor="eve")

    assert await _run(mapped, Box, _parts) == [lid, ("side", True, 2, "eve"), ("base", True, 2, "eve")]


class TestStamps:
    """Of a row in two tables."""

    @pytest.mark.parametrize("values", [{"speed": 2}, {"name": "b"}, {"speed": 2, "name": "b"}])
    async def test_a_change_of_either_table_is_stamped(self, mapped: Shop, values: dict[str, Any]) -> None:
        def by(actor: str, work: Work) -> Awaitable[Any]:
            return _run(mapped, Machine, work, actor=actor)

        await by("ann", lambda of: of.create({"name": "a", "speed": 1}))
        before = await by("ann", lambda of: of.one())
        writes: dict[str, Work] = {
            "bob": lambda of: of.update(before.id, values),
            "eve": lambda of: of.update_where(true(), values={"speed": 3, "name": "c"}),
            "joe": lambda of: of.update_many([{"id": before.id, **values}]),
            "sue": lambda of: of.upsert({"id": before.id, "name": "d", "speed": 9}),
        }
        moments = [before.updated_at]
        for actor, write in writes.items():
            await by(actor, write)
            after = await by(actor, lambda of: of.one())
            assert (after.created_by, after.updated_by, after.created_at) == ("ann", actor, before.created_at)
            moments.append(after.updated_at)
        assert moments == sorted({*moments})

    async def test_what_changes_nothing_stamps_nothing(self, mapped: Shop) -> None:
        await _run(mapped, Machine, lambda of: of.create({"name": "a", "speed": 1}))
        await _run(mapped, Machine, lambda of: _update(of, {"speed": 1}), actor="bob")

        assert (await _run(mapped, Machine, lambda of: of.one())).updated_by == "ann"


class TestServerVersions:
    async def test_a_version_of_the_database_is_compared(self, mapped: Shop) -> None:
        if mapped.backend.server != "postgresql":
            return
        key = (await _run(mapped, Rowed, lambda of: of.create({"name": "a"}))).id
        read = await _run(mapped, Rowed, lambda of: of.get(key))
        writes: list[Work] = [
            lambda of: of.update(key, {"note": "x"}),
            lambda of: of.update_where(true(), values={"note": "y"}),
            lambda of: of.upsert({"name": "a", "note": "z"}, on=Rowed.name),
            lambda of: of.upsert_many([{"name": "a", "note": "z"}, {"name": "b"}], on=Rowed.name),
        ]
        for write in writes:
            before = await _run(mapped, Rowed, lambda of: of.get(key))
            await _run(mapped, Rowed, write)
            assert (await _run(mapped, Rowed, lambda of: of.get(key))).xmin != before.xmin
        with pytest.raises(StaleError):
            await _run(mapped, Rowed, lambda of: of.update(key, {"note": "w", "xmin": read.xmin}))


class TestPlans:
    """What goes around the entities, and what does not."""

    @pytest.mark.parametrize("verb", [verb for verb in Verb if not verb.name.startswith("DELETE")])
    def test_only_mappings_that_the_gate_knows_are_written_directly(self, verb: Verb) -> None:
        values: dict[str, Any] = {"note": "x"}
        direct = {model for model in (*KINDS, Rowed) if plan_write(Session(), inspect(model), verb, values) is not None}

        expected: Mapping[Verb, set[Any]] = {
            Verb.ADD: {Parameters, Token},
            Verb.INSERT: {Parameters, Queried, Counted, Rowed, Generated},
            Verb.UPSERT: {Parameters, Queried, Counted, Rowed},
            Verb.UPDATE_BY_KEY: {Parameters, Queried, Token},
            Verb.UPDATE_WHERE: {Parameters, Queried, Counted, Rowed, Token, Data},
        }
        assert direct == expected[verb]

    def test_a_listener_that_comes_later_hears_of_each_write(self) -> None:
        assert plan_write(Session(), inspect(Parameters), Verb.INSERT, {"note": "x"}) is not None

        def hear(*_: object) -> None: ...

        event.listen(Parameters, "before_insert", hear)
        try:
            assert plan_write(Session(), inspect(Parameters), Verb.INSERT, {"note": "x"}) is None
            assert plan_write(Session(), inspect(Parameters), Verb.UPDATE_WHERE, {"note": "x"}) is not None
        finally:
            event.remove(Parameters, "before_insert", hear)
