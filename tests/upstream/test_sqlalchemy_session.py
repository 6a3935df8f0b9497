"""Contracts with SQLAlchemy about connections, sessions and greenlets: behaviour that its documentation does not promise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, create_engine, event, insert, inspect, select, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import IntegrityError, OperationalError, PendingRollbackError
from sqlalchemy.orm import Mapped, ORMExecuteState, Session, mapped_column

from layered_backend import Base as LibraryBase
from layered_backend import IntegerPrimaryKey
from layered_backend.session import drive
from layered_backend.upstream.sqlalchemy.asyncpg_adapter import can_withhold_begin
from layered_backend.upstream.sqlalchemy.concurrency import (
    await_in_greenlet,
    is_in_greenlet,
    run_in_greenlet,
    verify_concurrency,
)
from layered_backend.upstream.sqlalchemy.connection import (
    ObservedConnection,
    is_from_pool,
    is_internal_probe,
    observe,
    replace_cursor,
    verify_connection,
)
from layered_backend.upstream.sqlalchemy.events import is_heard
from layered_backend.upstream.sqlalchemy.restriction_compiler import verify_restriction
from layered_backend.upstream.sqlalchemy.session import can_stand_in_for_flush, columns_wanted_by, roll_back_as_flush


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData()


class Leaf(IntegerPrimaryKey, Base):
    __tablename__ = "leaves"

    name: Mapped[str] = mapped_column(unique=True)


class Journal(ObservedConnection):
    """Keeps what it is told."""

    entries: list[str]

    def commit_is_sent(self) -> None:
        self.entries.append("commit is sent")

    def commit_has_succeeded(self) -> None:
        self.entries.append("commit has succeeded")

    def savepoint_is_opened(self, name: str) -> None:
        self.entries.append(f"{name} is opened")

    def savepoint_is_undone(self, name: str) -> None:
        self.entries.append(f"{name} is undone")

    def savepoint_rollback_has_succeeded(self) -> None:
        self.entries.append("its rollback has succeeded")

    def savepoint_is_released(self, name: str) -> None:
        self.entries.append(f"{name} is released")


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def journal(engine: Engine) -> Iterator[Journal]:
    with engine.connect() as connection:
        observe(connection, Journal)
        assert isinstance(connection, Journal)
        connection.entries = []
        yield connection


def test_the_installed_release_has_all_that_is_used() -> None:
    verify_concurrency()
    verify_connection()
    verify_restriction()
    assert can_stand_in_for_flush()
    assert can_withhold_begin()


class TestObservedConnection:
    def test_a_commit_is_reported_before_and_after(self, journal: Journal) -> None:
        journal.execute(text("SELECT 1"))
        journal.commit()

        assert journal.entries == ["commit is sent", "commit has succeeded"]

    def test_a_commit_that_fails_is_reported_as_sent(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(connection: Any) -> None:
            raise RuntimeError

        journal.execute(text("SELECT 1"))
        monkeypatch.setattr(journal.dialect, "do_commit", fail)
        with pytest.raises(RuntimeError):
            journal.commit()

        assert journal.entries == ["commit is sent"]

    def test_a_commit_is_reported_before_a_listener_of_the_session_raises(self, engine: Engine) -> None:
        def refuse(session: Session) -> None:
            raise RuntimeError

        with Session(engine) as session:
            connection = session.connection()
            observe(connection, Journal)
            assert isinstance(connection, Journal)
            connection.entries = []
            event.listen(session, "after_commit", refuse)
            with pytest.raises(RuntimeError):
                session.commit()

            assert connection.entries == ["commit is sent", "commit has succeeded"]

    def test_savepoints_are_reported_by_name(self, journal: Journal) -> None:
        journal.execute(text("SELECT 1"))
        with journal.begin_nested():
            pass
        savepoint = journal.begin_nested()
        savepoint.rollback()

        assert journal.entries == [
            "sa_savepoint_1 is opened",
            "sa_savepoint_1 is released",
            "sa_savepoint_2 is opened",
            "sa_savepoint_2 is undone",
            "its rollback has succeeded",
        ]

    def test_a_savepoint_that_cannot_be_released_is_not_reported_as_released(self, journal: Journal) -> None:
        journal.execute(text("SELECT 1"))
        with pytest.raises(OperationalError), journal.begin_nested():
            journal.exec_driver_sql("RELEASE SAVEPOINT sa_savepoint_1")

        assert "sa_savepoint_1 is released" not in journal.entries


def _ignore(subject: object) -> None:
    """Listen, and do nothing."""


def _ignore_all(*_: object) -> None:
    """Listen, and do nothing."""


class TestConnection:
    def test_a_replaced_cursor_is_what_the_result_is_read_from(self, engine: Engine) -> None:
        class Cursor:
            def __init__(self, cursor: Any) -> None:
                self.cursor = cursor
                self.fetched: list[str] = []

            def __getattr__(self, name: str) -> Any:
                if name.startswith("fetch"):
                    self.fetched.append(name)
                return getattr(self.cursor, name)

        replaced: list[Cursor] = []

        def execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
            context.dialect.do_execute(cursor, statement, parameters, context)
            replaced.append(Cursor(cursor))
            replace_cursor(context, replaced[0])
            return True

        event.listen(engine, "do_execute", execute)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
        assert replaced[0].fetched

    def test_listeners_are_seen(self, engine: Engine) -> None:
        assert not is_heard(engine, "commit")
        event.listen(engine, "commit", _ignore)
        assert is_heard(engine, "commit")
        assert not is_heard(engine, "commit", besides=1)
        with engine.connect() as connection:
            assert not is_heard(connection, "before_execute", "after_execute")
            event.listen(connection, "after_execute", _ignore_all)
            assert is_heard(connection, "before_execute", "after_execute")
        with Session(engine) as session:
            assert not is_heard(session, "before_commit")
            event.listen(session, "before_commit", _ignore)
            assert is_heard(session, "before_commit")

    def test_an_error_of_opening_a_connection_is_told_from_others(self) -> None:
        def refuse() -> None:
            raise ConnectionRefusedError

        engine = create_engine("sqlite://", creator=refuse)
        with pytest.raises(ConnectionRefusedError) as opening:
            engine.connect()
        with pytest.raises(ConnectionRefusedError) as other:
            refuse()

        assert is_from_pool(opening.value)
        assert not is_from_pool(other.value)

    def test_a_probe_of_sqlalchemys_own_is_told_from_a_statement(self) -> None:
        contexts: list[bool] = []
        engine = create_engine("sqlite://")

        def look(context: ExceptionContext) -> None:
            contexts.append(is_internal_probe(context.execution_context))

        event.listen(engine, "handle_error", look)
        with engine.connect().execution_options(skip_user_error_events=True) as connection:
            with pytest.raises(OperationalError):
                connection.execute(text("SELECT * FROM missing"))
        with engine.connect() as connection, pytest.raises(OperationalError):
            connection.execute(text("SELECT * FROM missing"))
        assert contexts[-1] is False
        assert all(contexts[:-1])
        engine.dispose()


class TestFlush:
    def test_what_stands_in_for_a_flush_fails_as_it_does(self, engine: Engine) -> None:
        with Session(engine) as session:
            session.add(Leaf(name="a"))
            session.flush()
            with pytest.raises(IntegrityError):
                _insert_in_place_of_a_flush(session)
            with pytest.raises(PendingRollbackError):
                session.connection()
            session.rollback()
            assert session.query(Leaf).all() == []

    def test_in_a_savepoint_it_fails_alone(self, engine: Engine) -> None:
        with Session(engine) as session:
            session.add(Leaf(name="a"))
            session.flush()
            with pytest.raises(IntegrityError), session.begin_nested():
                _insert_in_place_of_a_flush(session)
            assert [leaf.name for leaf in session.query(Leaf)] == ["a"]


def _insert_in_place_of_a_flush(session: Session) -> None:
    try:
        session.connection().execute(insert(Leaf).values(name="a"))
    except IntegrityError:
        roll_back_as_flush(session)
        raise


class TestConcurrency:
    def test_a_function_in_a_greenlet_can_await(self) -> None:
        async def answer() -> int:
            return 42

        def work(added: int) -> tuple[bool, int]:
            return is_in_greenlet(), await_in_greenlet(answer()) + added

        assert drive(run_in_greenlet(work, 1)) == (True, 43)
        assert not is_in_greenlet()


def test_a_load_of_columns_tells_its_entity_and_what_it_loads(engine: Engine) -> None:
    with Session(engine) as session:
        leaf = Leaf(name="a")
        session.add(leaf)
        session.commit()
        session.refresh(leaf)
        wanted: list[tuple[object, set[str]]] = []

        @event.listens_for(session, "do_orm_execute")
        def _tell(load: ORMExecuteState) -> None:
            state, names = columns_wanted_by(load)
            wanted.append((state, {*names}))

        session.expire(leaf, ["name"])
        assert leaf.name == "a"
        session.scalars(select(Leaf)).all()

        assert wanted == [(inspect(leaf), {"name"}), (None, set())]


def test_an_expired_entity_keeps_its_key_when_it_is_given_back(engine: Engine) -> None:
    """The state's `dict` and `expired_attributes` are documented; their meeting is not."""
    with Session(engine) as session:
        leaf = Leaf(name="a")
        session.add(leaf)
        session.commit()
        state = inspect(leaf)
        assert state.identity is not None
        state.dict["id"] = state.identity[0]
        state.expired_attributes.discard("id")
        queries: list[str] = []
        event.listen(engine, "before_cursor_execute", lambda *execution: queries.append(execution[2]))
        assert leaf.id == state.identity[0]
        assert queries == []
        assert leaf.name == "a"
        assert len(queries) == 1
