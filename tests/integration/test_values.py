"""Values of columns: what is written is what was given, or it is refused; it is never something else in silence."""

from __future__ import annotations

import asyncio
import enum
import json
import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, cast

import pydantic
import pytest
from pydantic import BaseModel, HttpUrl, SecretStr
from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    Interval,
    MetaData,
    Numeric,
    String,
    Text,
    Time,
    UniqueConstraint,
    select,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from layered_backend import Base as LibraryBase
from layered_backend import (
    BaseRepository,
    BaseService,
    IntegerPrimaryKey,
    InvalidDataError,
    UnknownFieldError,
    Versioned,
)
from layered_backend.models import NAMING_CONVENTION
from tests.databases import Shop
from tests.shop import ShopUnitOfWork


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class Colors(BaseModel):
    paper: str
    ink: str = "black"


class ColorsType(TypeDecorator[Colors]):
    """A model in Python, and JSON in the database."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Colors | None, dialect: Dialect) -> Any:
        return None if value is None else value.model_dump(mode="json")

    def process_result_value(self, value: Any, dialect: Dialect) -> Colors | None:
        return None if value is None else Colors.model_validate(value)


class Careless(TypeDecorator[Any]):
    """Hands on what it does not know."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return value.lower() if isinstance(value, str) else value


class Vector(list[float]):
    """Compared element by element, and neither true nor false."""

    def __eq__(self, other: object) -> Any:
        return Vector(one == two for one, two in zip(self, cast("list[float]", other), strict=True))

    def __ne__(self, other: object) -> Any:
        return Vector(one != two for one, two in zip(self, cast("list[float]", other), strict=True))

    def __bool__(self) -> bool:
        raise ValueError("neither true nor false")

    __hash__ = None


class VectorType(TypeDecorator[Vector]):
    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(list(value))

    def process_result_value(self, value: Any, dialect: Dialect) -> Vector | None:
        return None if value is None else Vector(json.loads(value))


class State(enum.Enum):
    NEW = "new"
    OLD = "old"


class Poster(IntegerPrimaryKey, Versioned, Base):
    __tablename__ = "value_posters"

    title: Mapped[str] = mapped_column(String(40), unique=True)
    layout: Mapped[Any | None] = mapped_column(JSON)
    colors: Mapped[Colors | None] = mapped_column(ColorsType)
    vector: Mapped[Vector | None] = mapped_column(VectorType)
    careless: Mapped[Any | None] = mapped_column(Careless)
    link: Mapped[str | None] = mapped_column(String(80))
    state: Mapped[State] = mapped_column(default=State.NEW)
    owner: Mapped[str | None] = mapped_column(String(40))


class Reading(IntegerPrimaryKey, Base):
    """Columns of which some databases keep less than they are given."""

    __tablename__ = "value_readings"
    __table_args__ = (UniqueConstraint("at", "amount"), UniqueConstraint("clock"), UniqueConstraint("span"))

    at: Mapped[datetime | None] = mapped_column(DateTime)
    amount: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    clock: Mapped[time | None] = mapped_column(Time)
    span: Mapped[timedelta | None] = mapped_column(Interval)
    value: Mapped[int]


class Moment(Base):
    __tablename__ = "value_moments"

    at: Mapped[datetime] = mapped_column(DateTime, primary_key=True)
    value: Mapped[int]


@pytest.fixture
async def wall(shop: Shop) -> AsyncGenerator[Shop]:
    if shop.backend.asynchronous:
        await shop.database.create_all(Base.metadata)
    else:
        await asyncio.to_thread(shop.database.create_all_sync, Base.metadata)
    yield shop
    await shop.run(lambda uow: uow.session.run_sync(lambda session: Base.metadata.drop_all(session.connection())))


def _of(uow: ShopUnitOfWork, model: type[Any]) -> BaseRepository[Any]:
    return BaseRepository(uow.session, model)


async def _stored(shop: Shop, *columns: Any) -> list[Any]:
    rows = await shop.run(lambda uow: uow.session.execute(select(*columns)))
    return [row[0] if len(columns) == 1 else tuple(row) for row in rows]


WAYS = ("create", "create_many", "upsert", "upsert_many", "get_or_create", "update", "replace", "returning")


async def _write(uow: ShopUnitOfWork, way: str, data: Any) -> Any:
    """Write *data*, which has a title, in one of the ways."""
    posters = _of(uow, Poster)
    if way.endswith("_many"):
        return await getattr(posters, way)([data], **({"on": Poster.title} if way == "upsert_many" else {}))
    if way in {"upsert", "get_or_create"}:
        return await getattr(posters, way)(data, on=Poster.title)
    if way in {"update", "replace"}:
        key = (await posters.create({"title": "before"})).id
        uow.session.expunge_all()
        return await getattr(PosterService.of(uow), way)(key, data)
    if way == "returning":
        return await posters.returning(PosterRead).create(data)
    return await posters.create(data)


class PosterRead(BaseModel):
    title: str
    layout: Any


class PosterService(BaseService[Poster, BaseRepository[Poster], Any, Any, ShopUnitOfWork]):
    pass


class Frame(BaseModel):
    width: Decimal
    code: SecretStr


class PosterIn(BaseModel):
    title: str
    layout: dict[str, list[Frame]] | None = None
    colors: Colors | None = None
    link: HttpUrl | None = None
    owner: SecretStr | None = None


@pytest.mark.parametrize("way", WAYS)
async def test_each_column_gets_what_its_type_takes(wall: Shop, way: str) -> None:
    data = PosterIn(
        title="a",
        layout={"left": [Frame(width=Decimal("1.5"), code=SecretStr("k7"))]},
        colors=Colors(paper="white"),
        link=HttpUrl("https://example.org/a"),
        owner=SecretStr("ann"),
    )

    await wall.run(lambda uow: _write(uow, way, data))

    assert await _stored(wall, Poster.layout, Poster.colors, Poster.link, Poster.owner) == [
        ({"left": [{"width": "1.5", "code": "k7"}]}, Colors(paper="white"), "https://example.org/a", "ann")
    ]


@pytest.mark.parametrize("value", [{"' OR 1": 1}, [{"' OR 1": 1}], [[{"' OR 1": 1}]]], ids=repr)
async def test_a_type_that_hands_on_a_mapping_writes_none_of_it_into_the_statement(wall: Shop, value: Any) -> None:
    with pytest.raises(InvalidDataError):
        await wall.run(lambda uow: _of(uow, Poster).create({"title": "a", "careless": value}))

    assert await _stored(wall, Poster.title) == []


MISSING: Any = getattr(pydantic, "MISSING", None)


@pytest.mark.parametrize("way", WAYS)
async def test_missing_is_omitted(wall: Shop, way: str) -> None:
    if MISSING is None:  # the oldest Pydantic has none
        return

    # As a class has it: state: State | MISSING = MISSING
    fields: Any = {"title": str, "state": (State | MISSING, MISSING), "owner": (str | None | MISSING, MISSING)}
    partial_model = pydantic.create_model("PartialPoster", **fields)

    await wall.run(lambda uow: _write(uow, way, partial_model(title="a")))
    await wall.run(
        lambda uow: _of(uow, Poster).create_many([{"title": "b", "owner": MISSING}, {"title": "c", "owner": "ann"}])
    )

    assert await _stored(wall, Poster.title, Poster.state, Poster.owner) == [
        ("a", State.NEW, None),
        ("b", State.NEW, None),
        ("c", State.NEW, "ann"),
    ]
    await wall.run(
        lambda uow: _of(uow, Poster).update_where(Poster.title == "c", values={"owner": MISSING, "link": "x"})
    )
    assert await _stored(wall, Poster.owner, Poster.link) == [(None, None), (None, None), ("ann", "x")]


@dataclass
class PosterData:
    title: str


class Struct:
    __struct_fields__ = ("title",)


class Attrs:
    __attrs_attrs__ = ()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (PosterData("a"), r"not PosterData; pass dataclasses\.asdict\(data\)"),
        (Struct(), r"not Struct; pass msgspec\.structs\.asdict\(data\)"),
        (Attrs(), r"not Attrs; pass attrs\.asdict\(data\)"),
        (Poster(title="a"), r"Poster is an entity, which add\(\) writes"),
        ("title", r"not str; pass the fields by name"),
    ],
    ids=["dataclass", "struct", "attrs", "entity", "text"],
)
async def test_other_data_is_refused_with_a_sentence(async_shop: Shop, way: str, data: Any, sentence: str) -> None:
    await async_shop.database.create_all(Base.metadata)

    with pytest.raises(TypeError, match=sentence):
        await async_shop.run(lambda uow: _write(uow, way, data))

    await async_shop.run(lambda uow: uow.session.run_sync(lambda s: Base.metadata.drop_all(s.connection())))


class TaggedIn(BaseModel):
    title: str
    owner: str | None = None
    tag_list: list[str] = []


class TestValuesBesideTheData:
    @pytest.mark.parametrize("through", ["repository", "service", "returning"])
    async def test_they_win_and_what_is_excluded_is_left_out(self, wall: Shop, through: str) -> None:
        def target(uow: ShopUnitOfWork) -> Any:
            posters = _of(uow, Poster)
            choices = {
                "repository": posters,
                "service": PosterService.of(uow),
                "returning": posters.returning(PosterRead),
            }
            return choices[through]

        async def create(uow: ShopUnitOfWork) -> None:
            data = TaggedIn(title="a", owner="mallory", tag_list=["x"])
            await target(uow).create(data, exclude={"tag_list"}, values={"owner": "ann", "state": State.OLD})

        async def update(uow: ShopUnitOfWork) -> None:
            data = TaggedIn(title="b", owner="mallory", tag_list=["x"])
            key = (await _of(uow, Poster).one()).id
            uow.session.expunge_all()
            await target(uow).update(key, data, exclude={"tag_list", "owner"}, values={"link": "x"})

        await wall.run(create)
        assert await _stored(wall, Poster.title, Poster.owner, Poster.state) == [("a", "ann", State.OLD)]
        await wall.run(update)
        assert await _stored(wall, Poster.title, Poster.owner, Poster.link) == [("b", "ann", "x")]

    async def test_an_unknown_name_is_refused_wherever_it_is(self, bound: Shop) -> None:
        data = TaggedIn(title="a")
        with pytest.raises(UnknownFieldError, match="did you mean 'tag_list'"):
            await bound.run(lambda uow: _of(uow, Poster).create(data, exclude={"tag_lst"}))
        with pytest.raises(UnknownFieldError, match="did you mean 'owner'"):
            await bound.run(lambda uow: _of(uow, Poster).create(data, exclude={"tag_list"}, values={"onwer": "ann"}))
        with pytest.raises(TypeError, match="not text"):
            await bound.run(lambda uow: _of(uow, Poster).create(TaggedIn(title="a"), exclude="tag_list"))

    async def test_an_override_without_them_is_called_without_them(self, bound: Shop) -> None:
        seen: list[Any] = []

        async def create(self: object, data: Any) -> None:
            seen.append(data)

        async def update(self: object, key_or_entity: Any, data: Any) -> None:
            seen.append(data)

        plain_repository = type("Plain", (BaseRepository,), {"create": create, "update": update})

        async def work(uow: ShopUnitOfWork) -> None:
            service: Any = BaseService(cast("Any", plain_repository), Poster, uow)
            await service.create({"title": "a"})
            await service.update(1, {"title": "b"})

        await bound.run(work)

        assert seen == [{"title": "a"}, {"title": "b"}]


def _set_item(layout: dict[str, Any]) -> Any:
    layout["columns"] = 2
    return layout


def _set_deep(layout: dict[str, Any]) -> Any:
    layout["parts"].append(3)
    return dict(layout)


class TestChangedInPlace:
    @pytest.mark.parametrize("change", [_set_item, _set_deep], ids=["same object", "copy of a changed one"])
    @pytest.mark.parametrize("by", ["entity", "key"])
    async def test_it_is_written_and_counted_as_a_version(
        self, wall: Shop, change: Callable[[Any], Any], by: str
    ) -> None:
        first = {"columns": 1, "parts": [1]}
        key = (await wall.run(lambda uow: _of(uow, Poster).create({"title": "a", "layout": first}))).id

        async def work(uow: ShopUnitOfWork) -> Any:
            poster = await _of(uow, Poster).get(key)
            changed = change(poster.layout)
            return (await _of(uow, Poster).update(poster if by == "entity" else key, {"layout": changed})).layout

        layout = await wall.run(work)

        assert layout != {"columns": 1, "parts": [1]}
        assert await _stored(wall, Poster.layout, Poster.version) == [(layout, 2)]

    async def test_so_is_a_model_of_a_type_of_its_own(self, wall: Shop) -> None:
        data = {"title": "a", "colors": Colors(paper="white")}
        key = (await wall.run(lambda uow: _of(uow, Poster).create(data))).id

        async def work(uow: ShopUnitOfWork) -> None:
            poster = await _of(uow, Poster).get(key)
            poster.colors.ink = "blue"
            await _of(uow, Poster).update(poster, {"colors": poster.colors})

        await wall.run(work)

        assert await _stored(wall, Poster.colors) == [Colors(paper="white", ink="blue")]

    async def test_a_value_that_is_stored_already_writes_nothing_if_nobody_could_have_changed_it(
        self, wall: Shop
    ) -> None:
        data = {"title": "a", "layout": {"columns": 1}}
        key = (await wall.run(lambda uow: _of(uow, Poster).create(data))).id

        await wall.run(lambda uow: _of(uow, Poster).update(key, {"layout": {"columns": 1}}))

        assert await _stored(wall, Poster.version) == [1]


async def _upserted(data: dict[str, Any], uow: ShopUnitOfWork) -> Any:
    return await _of(uow, Poster).upsert(data, on=Poster.title)


async def test_a_value_that_is_compared_element_by_element_is_written_like_any_other(wall: Shop) -> None:
    for values in ([1.0, 9.0], [1.0, 2.0], [3.0]):
        data = {"title": "a", "vector": Vector(values)}
        poster = await wall.run(partial(_upserted, data))
        assert list(poster.vector) == values
    assert [list(vector) for vector in await _stored(wall, Poster.vector)] == [[3.0]]


AT = datetime(2031, 5, 4, 3, 2, 1, 987654)  # noqa: DTZ001
KEYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "moment": ((Reading.at, Reading.amount), {"at": AT, "amount": Decimal(1)}),
    "decimal": ((Reading.at, Reading.amount), {"at": AT, "amount": Decimal("1.005")}),
    "negative decimal": ((Reading.at, Reading.amount), {"at": AT, "amount": Decimal("-1.005")}),
    "time": (Reading.clock, {"clock": AT.time()}),
    "span": (Reading.span, {"span": timedelta(days=-1, microseconds=7)}),
}


@pytest.mark.parametrize("way", ["upsert", "upsert_many", "get_or_create"])
@pytest.mark.parametrize("key", KEYS)
async def test_what_a_column_cuts_off_makes_no_conflict(wall: Shop, way: str, key: str) -> None:
    on, values = KEYS[key]

    async def write(uow: ShopUnitOfWork, value: int) -> Any:
        data: Any = values | {"value": value}
        return await getattr(_of(uow, Reading), way)([data, data] if way == "upsert_many" else data, on=on)

    for value in (7, 8):
        await wall.run(lambda uow, v=value: write(uow, v))  # type: ignore[misc]

    assert await _stored(wall, Reading.value) == [7 if way == "get_or_create" else 8]


async def test_an_entity_has_what_its_row_has(wall: Shop) -> None:
    data = {"at": AT, "amount": Decimal("1.005"), "value": 1}
    made = await wall.run(lambda uow: _of(uow, Reading).create(data))
    changed = await wall.run(lambda uow: _of(uow, Reading).update(made.id, {"amount": Decimal("2.675")}))
    if wall.backend.server == "sqlite":  # which keeps all digits, and rounds them when they are read
        return

    assert await _stored(wall, Reading.at, Reading.amount) == [(made.at, changed.amount)]


async def test_a_key_is_found_by_what_it_was_written_as(wall: Shop) -> None:
    await wall.run(lambda uow: _of(uow, Moment).create({"at": AT, "value": 1}))

    assert (await wall.run(lambda uow: _of(uow, Moment).get(AT))).value == 1
    assert len(await wall.run(lambda uow: _of(uow, Moment).get_many([AT]))) == 1
    assert (await wall.run(lambda uow: _of(uow, Moment).update(AT, {"value": 2}))).value == 2


async def test_a_uuid_in_text_and_a_moment_in_json_come_back_as_text(wall: Shop) -> None:
    key = uuid.uuid4()
    data = {"title": key, "layout": {"at": datetime(2024, 1, 2, tzinfo=UTC), "keys": {key: [State.NEW]}}}
    made = await wall.run(lambda uow: _of(uow, Poster).create(data))

    assert await _stored(wall, Poster.title, Poster.layout) == [(made.title, made.layout)]
    assert made.layout == {"at": "2024-01-02T00:00:00Z", "keys": {str(key): ["new"]}}
