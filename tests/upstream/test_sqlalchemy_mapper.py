"""What SQLAlchemy does not document of mapped classes, and what follows where it is gone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import ForeignKey, create_engine, event, inspect
from sqlalchemy.orm import (
    DeclarativeBase,
    InstanceState,
    Mapped,
    Mapper,
    Session,
    make_transient_to_detached,
    mapped_column,
    relationship,
    validates,
)

from layered_backend.upstream.sqlalchemy import events
from layered_backend.upstream.sqlalchemy import mapper as seam
from layered_backend.upstream.verification import Undocumented


class _Base(DeclarativeBase):
    pass


class _Plain(_Base):
    __tablename__ = "plain"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class _Particular(_Base):
    __tablename__ = "particular"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    plain_id: Mapped[int | None] = mapped_column(ForeignKey("plain.id"))
    plain: Mapped[_Plain | None] = relationship()

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)

    @validates("name")
    def _validate(self, key: str, value: str) -> str:
        return value


def _mapper(model: type[Any]) -> Mapper[Any]:
    mapper: Mapper[Any] = inspect(model, raiseerr=True)
    mapper.registry.configure()
    return mapper


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    _Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Have the seam look for its names anew, in the test and after it."""
    cached = (seam.can_register_written, events.knows_listeners)
    for each in cached:
        each.cache_clear()
    yield
    for each in cached:
        each.cache_clear()


@pytest.mark.parametrize("name", ["before_insert", "after_update", "before_delete"])
@pytest.mark.parametrize("is_of_all", [False, True])
def test_a_listener_to_a_mapper_is_known_as_long_as_it_listens(name: str, is_of_all: bool) -> None:
    mapper = _mapper(_Plain)
    target: Any = Mapper if is_of_all else _Plain

    def listen(*_: object) -> None: ...

    event.listen(target, name, listen)
    try:
        assert events.is_heard(mapper, name)
        assert not events.is_heard(mapper, "after_insert")
    finally:
        event.remove(target, name, listen)
    assert not events.is_heard(mapper, name)


@pytest.mark.parametrize("name", ["before_flush", "do_orm_execute", "pending_to_persistent", "persistent_to_detached"])
@pytest.mark.parametrize("is_of_all", [False, True])
def test_a_listener_to_a_session_is_known_as_long_as_it_listens(session: Session, name: str, is_of_all: bool) -> None:
    target: Any = Session if is_of_all else session

    def listen(*_: object) -> None: ...

    event.listen(target, name, listen)
    try:
        assert events.is_heard(session, "after_attach", name)
    finally:
        event.remove(target, name, listen)
    assert not events.is_heard(session, "after_attach", name)


def test_a_listener_to_entities_is_known() -> None:
    mapper = _mapper(_Plain)

    def listen(*_: object) -> None: ...

    event.listen(_Plain, "refresh_flush", listen)
    try:
        assert events.is_heard(mapper.class_manager, "refresh_flush")
    finally:
        event.remove(_Plain, "refresh_flush", listen)
    assert not events.is_heard(mapper.class_manager, "refresh_flush")


def test_an_event_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(AttributeError):
        events.is_heard(_mapper(_Plain), "before_inserting")


def test_a_change_is_heard_by_a_validator_and_by_a_listener() -> None:
    assert events.is_change_heard(_mapper(_Particular), ["id", "name"])
    assert not events.is_change_heard(_mapper(_Particular), ["id", "plain_id", "no_attribute"])

    def listen(*_: object) -> None: ...

    event.listen(_Plain.name, "set", listen)
    try:
        assert events.is_change_heard(_mapper(_Plain), ["name"])
    finally:
        event.remove(_Plain.name, "set", listen)
    assert not events.is_change_heard(_mapper(_Plain), ["name"])


def test_a_constructor_is_plain_unless_it_is_written_or_heard() -> None:
    mapper = _mapper(_Plain)
    assert seam.has_plain_constructor(mapper)
    assert not seam.has_plain_constructor(_mapper(_Particular))

    def listen(*_: object) -> None: ...

    event.listen(_Plain, "init", listen)
    try:
        assert not seam.has_plain_constructor(mapper)
    finally:
        event.remove(_Plain, "init", listen)
    assert seam.has_plain_constructor(mapper)


def test_an_entity_that_is_registered_is_as_a_flush_leaves_it(session: Session) -> None:
    assert seam.can_register_written()
    entity = _Plain(id=7, name="tea")
    session.add(entity)

    seam.register_written(session, entity)

    state: InstanceState[Any] = inspect(entity, raiseerr=True)
    assert state.persistent
    assert not session.new
    assert not session.dirty
    assert session.get(_Plain, 7) is entity

    session.rollback()
    assert state.transient


def test_the_public_way_would_keep_it_after_a_rollback(session: Session) -> None:
    entity = _Plain(id=7, name="tea")
    make_transient_to_detached(entity)
    session.add(entity)

    session.rollback()

    assert entity in session, "SQLAlchemy does it by itself now: `register_written` can go"


@pytest.mark.usefixtures("forgotten")
def test_without_listeners_to_be_read_everything_counts_as_heard(
    session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mapper = _mapper(_Plain)
    monkeypatch.setattr(events, "_LISTENERS", (Undocumented(Mapper, "gone"),))

    with caplog.at_level(logging.WARNING, "layered_backend"):
        assert events.is_heard(mapper, "before_insert")
        assert events.is_heard(session, "before_flush")
        assert events.is_change_heard(mapper, ["name"])
        assert not seam.has_plain_constructor(mapper)

    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("Leaving out steps that nobody listens to is switched off: sqlalchemy ")


@pytest.mark.usefixtures("forgotten")
def test_without_its_name_no_entity_is_registered(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(Session, "_register_persistent")

    with caplog.at_level(logging.WARNING, "layered_backend"):
        assert not seam.can_register_written()
        assert not seam.can_register_written()

    (message,) = caplog.messages
    assert "has no Session._register_persistent(states)" in message


def _counted(version: int | None) -> int:
    return (version or 0) + 1


class TestCountsVersions:
    @pytest.mark.parametrize(
        ("arguments", "counts"),
        [
            ({}, True),
            ({"version_id_generator": _counted}, False),
            ({"version_id_generator": False}, False),
        ],
    )
    def test_only_the_mappers_own_function_counts(self, arguments: dict[str, Any], counts: bool) -> None:
        class Base(DeclarativeBase):
            pass

        class Versioned(Base):
            __tablename__ = "versioned"
            id: Mapped[int] = mapped_column(primary_key=True)
            version: Mapped[int] = mapped_column()
            __mapper_args__ = {"version_id_col": version, **arguments}  # noqa: RUF012  # declared so by SQLAlchemy

        assert seam.counts_versions(_mapper(Versioned)) is counts
