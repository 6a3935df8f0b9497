"""Bringing a database to a revision and back, through each driver, and what is left where that fails."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, make_url

from layered_backend import Database, DatabaseUnavailableError, LockTimeoutError, MigrationError, MigrationSetupError
from layered_backend.dialects import PortableLocks
from layered_backend.migrations import (
    Revision,
    check,
    check_sync,
    downgrade,
    downgrade_sync,
    init,
    upgrade,
    upgrade_sync,
    write_revision,
)
from tests import plainsqlite
from tests.databases import SERVERS
from tests.migrations.projects import TWO_TABLES, Project, project_on

_SYNC_DRIVERS = {"postgresql": "psycopg", "mariadb": "pymysql"}
_PASSWORD = "pa$$word"  # noqa: S105  # of nobody
_FAILING = ("op.execute('CREATE TABLE c (id INT)'); op.execute('no such statement')", "pass")


def test_a_database_is_taken_forth_and_back(project: Project) -> None:
    project.write(*TWO_TABLES)

    first = upgrade_sync(project.database, "+1", folder=project.folder)
    assert (first, project.tables()) == ([Revision("r1", "step 1")], {"a"})
    assert check_sync(project.database, folder=project.folder).pending == (Revision("r2", "step 2"),)

    rest = upgrade_sync(project.database, folder=project.folder)
    assert (rest, project.tables()) == ([Revision("r2", "step 2")], {"a", "b"})
    assert upgrade_sync(project.database, folder=project.folder) == []

    undone = downgrade_sync(project.database, "base", folder=project.folder)
    assert (undone, project.tables()) == ([Revision("r2", "step 2"), Revision("r1", "step 1")], set())


async def test_under_a_running_event_loop_too(project: Project) -> None:
    project.write(*TWO_TABLES)

    assert len(await upgrade(project.database, folder=project.folder)) == 2
    report = await check(project.database, folder=project.folder)
    assert (report.pending, report.current) == ((), ("r2",))
    assert len(await downgrade(project.database, folder=project.folder)) == 1


@pytest.mark.parametrize("server", _SYNC_DRIVERS)
@pytest.mark.parametrize("is_awaited", [False, True], ids=["without a loop", "in a loop"])
async def test_the_asynchronous_driver_alone_is_enough(
    server: str, is_awaited: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with project_on(server, tmp_path) as project:
        project.write(*TWO_TABLES)
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, _SYNC_DRIVERS[server], None)
            if is_awaited:
                await upgrade(project.database, folder=project.folder)
            else:
                await asyncio.to_thread(upgrade_sync, project.database, folder=project.folder)
            report = check_sync(project.database, folder=project.folder)

        assert (report.current, project.tables()) == (("r2",), {"a", "b"})


def test_behind_pgbouncer_the_lock_is_of_the_transaction(postgresql_project: Project) -> None:
    postgresql_project.write(*TWO_TABLES)
    pooled = Database(postgresql_project.database.sync_url, pgbouncer=True)

    assert len(upgrade_sync(pooled, folder=postgresql_project.folder)) == 2
    assert upgrade_sync(pooled, folder=postgresql_project.folder) == []


def test_a_failing_run_is_undone_whole_where_tables_are_transactional(project: Project) -> None:
    project.write(*TWO_TABLES, _FAILING)

    with pytest.raises(MigrationError, match=r"revision r3 step 3 failed: .*") as caught:
        upgrade_sync(project.database, folder=project.folder)

    assert caught.value.__cause__ is not None
    if project.database.url.get_backend_name() == "mariadb":
        assert "run `alembic stamp r3`" in str(caught.value)
        assert "no such statement" not in str(caught.value)
        assert project.tables() == {"a", "b", "c"}
        assert check_sync(project.database, folder=project.folder).current == ("r2",)
    else:
        assert str(caught.value).endswith("its transaction is rolled back")
        assert project.tables() == set()
        assert check_sync(project.database, folder=project.folder).current == ()


def test_a_failing_run_leaves_no_lock_behind(project: Project) -> None:
    project.write(_FAILING)
    with pytest.raises(MigrationError):
        upgrade_sync(project.database, folder=project.folder)
    project.write(("pass", "pass"))

    assert len(upgrade_sync(project.database, folder=project.folder, lock_timeout=5)) == 1


def test_a_check_writes_nothing(project: Project) -> None:
    check_sync(project.database, folder=project.folder)

    with project.database.unpooled().sync_engine.connect() as connection:
        assert not connection.dialect.has_table(connection, "alembic_version")


def test_a_revision_that_only_another_release_has_is_named(project: Project) -> None:
    project.write(*TWO_TABLES)
    upgrade_sync(project.database, folder=project.folder)
    (project.folder / "versions" / "r2.py").unlink()

    for command in (upgrade_sync, check_sync):
        with pytest.raises(MigrationError, match=r"the database is at revision r2, which .* does not have"):
            command(project.database, folder=project.folder)


def test_a_revision_is_not_written_before_what_is_pending_is_applied(sqlite_project: Project) -> None:
    sqlite_project.write(*TWO_TABLES)

    with pytest.raises(MigrationError, match="2 revisions are pending: r1 step 1, r2 step 2; apply"):
        write_revision("third", database=sqlite_project.database, folder=sqlite_project.folder)


def test_an_empty_revision_is_written_without_the_database(sqlite_project: Project) -> None:
    sqlite_project.write(*TWO_TABLES)
    nowhere = Database("sqlite:////no/such/folder/shop.db")

    path = write_revision("by hand", database=nowhere, folder=sqlite_project.folder, empty=True)

    assert path is not None
    assert "down_revision = 'r2'" in path.read_text()


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("import no_such_module", r"env.py cannot be run \(ModuleNotFoundError"),
        ("1 / 0", r"env.py cannot be run \(ZeroDivisionError"),
        ("pass", "env.py does not call run_migrations"),
    ],
)
def test_an_env_py_that_is_wrong_is_told(sqlite_project: Project, env: str, message: str) -> None:
    (sqlite_project.folder / "env.py").write_text(env)

    with pytest.raises(MigrationSetupError, match=message):
        upgrade_sync(sqlite_project.database, folder=sqlite_project.folder)


_FOREIGN_ENV = """
from alembic import context
from sqlalchemy import NullPool, create_engine

with create_engine({url!r}, poolclass=NullPool).begin() as connection:
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
"""


def test_an_env_py_of_another_kind_is_refused_before_anything_runs(project: Project) -> None:
    project.write(*TWO_TABLES)
    url = project.database.sync_url.render_as_string(hide_password=False)
    (project.folder / "env.py").write_text(_FOREIGN_ENV.format(url=url))
    before = set(project.folder.rglob("*.py"))
    database, folder = project.database, project.folder

    commands: list[Callable[[], object]] = [
        lambda: upgrade_sync(database, folder=folder),
        lambda: downgrade_sync(database, "base", folder=folder),
        lambda: check_sync(database, folder=folder),
        lambda: write_revision("more", database=database, folder=folder),
        lambda: write_revision("more", database=database, folder=folder, empty=True),
    ]
    for command in commands:
        with pytest.raises(MigrationSetupError, match=r"env\.py does not call run_migrations"):
            command()

    with project.database.unpooled().sync_engine.connect() as connection:
        assert inspect(connection).get_table_names() == []
    assert set(project.folder.rglob("*.py")) == before


@pytest.mark.parametrize(
    "message",
    [
        '"""\nimport os\nos.abort()\n"""',
        'ends with a quote"',
        "ends with a backslash\\",
        "it's ''' and \\N{DIGIT ONE}",
        "${1 / 0} <% raise %> ## % for",
        "größe €",
        "two\nlines",
        "\x00 and \x1b",
    ],
)
@pytest.mark.parametrize("empty", [True, False])
def test_a_message_is_no_code(sqlite_project: Project, message: str, empty: bool) -> None:
    sqlite_project.declare("Table('things', Base.metadata, Column('id', Integer, primary_key=True))\n")

    path = write_revision(message, database=sqlite_project.database, folder=sqlite_project.folder, empty=empty)

    assert path is not None
    (applied,) = upgrade_sync(sqlite_project.database, folder=sqlite_project.folder)
    assert applied.message == message.strip("\n")


@pytest.mark.parametrize("module", ["os; import sys", "shop models", "", "shop..models", "shop\nimport os", "class"])
def test_a_folder_is_written_for_the_name_of_a_module_alone(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(MigrationSetupError, match="is no name of a module"):
        init(module)

    assert list(tmp_path.iterdir()) == []


def test_any_name_of_a_folder_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "oddly_kept_models.py").write_text(
        "from layered_backend import Base, Database\ndatabase = Database('sqlite:///shop.db')\n"
    )

    init("oddly_kept_models", 'a %(here)s "b" \'\\ ü')

    assert write_revision("first", empty=True) is not None
    assert len(upgrade_sync()) == 1


def test_a_revision_that_is_no_python_is_told(sqlite_project: Project) -> None:
    (sqlite_project.folder / "versions" / "r1.py").write_text("def upgrade(:")

    with pytest.raises(MigrationSetupError, match=r"the revisions cannot be read \(SyntaxError"):
        upgrade_sync(sqlite_project.database, folder=sqlite_project.folder)


def test_what_is_not_there_is_told(sqlite_project: Project, tmp_path: Path) -> None:
    with pytest.raises(MigrationSetupError, match="nosuch"):
        upgrade_sync(sqlite_project.database, "nosuch", folder=sqlite_project.folder)
    with pytest.raises(MigrationSetupError, match=r"holds no env\.py"):
        upgrade_sync(sqlite_project.database, folder=tmp_path / "elsewhere")


def test_a_database_in_memory_is_refused(sqlite_project: Project) -> None:
    with pytest.raises(MigrationSetupError, match="use create_all"):
        upgrade_sync(Database("sqlite://"), folder=sqlite_project.folder)


def test_a_dialect_that_alembic_does_not_know_is_told_with_what_to_write(tmp_path: Path) -> None:
    database = Database(f"{plainsqlite.NAME}:///{tmp_path / 'shop.db'}")
    project = Project(tmp_path / "migrations", database)
    project.declare("")
    project.write(*TWO_TABLES)

    with pytest.raises(
        MigrationSetupError, match="Alembic has no implementation for the dialect plainsqlite"
    ) as caught:
        upgrade_sync(database, folder=project.folder)
    with pytest.raises(MigrationSetupError, match=re.escape(str(caught.value))):
        check_sync(database, folder=project.folder)
    advised = str(caught.value).partition("run_migrations(): ")[2]
    project.declare(f"import alembic.ddl.impl\n{advised}\n")
    upgrade_sync(database, folder=project.folder)

    assert project.tables() >= {"a", "b"}


def test_a_transaction_for_each_revision_needs_a_lock_that_outlives_it(project: Project) -> None:
    project.declare("", ", transaction_per_migration=True")
    project.write(*TWO_TABLES, _FAILING)
    is_refused = project.database.url.get_backend_name() == "sqlite"

    with pytest.raises(
        MigrationSetupError if is_refused else MigrationError,
        match="not on sqlite; leave the option out" if is_refused else None,
    ):
        upgrade_sync(project.database, folder=project.folder)

    assert project.tables() >= (set() if is_refused else {"a", "b"})


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_is_not_up_is_waited_for(server: str, sqlite_project: Project) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = make_url(SERVERS[server]).set(port=unused.getsockname()[1], username="nobody", password=_PASSWORD)
    started = time.monotonic()

    with pytest.raises(DatabaseUnavailableError, match="has not answered for 1 seconds") as caught:
        upgrade_sync(Database(url), folder=sqlite_project.folder, wait=1)

    assert time.monotonic() - started >= 1
    assert _PASSWORD not in str(caught.value)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("wrong", ["database", "credentials"])
@pytest.mark.parametrize("has_sync_driver", [True, False])
def test_what_the_server_refuses_for_good_is_not_waited_for(
    server: str,
    wrong: str,
    has_sync_driver: bool,
    sqlite_project: Project,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not has_sync_driver:
        monkeypatch.setitem(sys.modules, _SYNC_DRIVERS[server], None)
    right = make_url(SERVERS[server]).set(drivername=server)
    is_unknown = wrong == "database"
    url = right.set(database="no_such_one") if is_unknown else right.set(username="nobody", password=_PASSWORD)

    told = "/no_such_one: the server has no such database; create it" if is_unknown else ": .* refuses the credentials"
    with pytest.raises(DatabaseUnavailableError, match=rf"^{server}\+\w+://127\.0\.0\.1:\d+.*{told}") as caught:
        upgrade_sync(Database(url), folder=sqlite_project.folder, wait=3600)

    assert _PASSWORD not in str(caught.value)


def test_a_lock_that_another_process_keeps_is_waited_for_no_longer_than_asked(project: Project) -> None:
    project.write(*TWO_TABLES)
    holder = Database(
        project.database.url, connect_args={"timeout": 0.1} if "sqlite" in str(project.database.url) else {}
    )
    with holder.unpooled().sync_engine.connect() as connection:
        if not holder.dialect.locks.lock_session(connection, "migrations"):
            connection.begin()
        brief = holder.unpooled()

        with pytest.raises(LockTimeoutError):
            upgrade_sync(brief, folder=project.folder, lock_timeout=0.5)

    assert project.tables() == set()


def test_a_lock_in_a_transaction_that_is_refused_once_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(f"{plainsqlite.NAME}:///{tmp_path / 'shop.db'}")
    project = Project(tmp_path / "migrations", database)
    project.declare("import alembic.ddl.impl\nclass Impl(alembic.ddl.impl.DefaultImpl): __dialect__ = 'plainsqlite'\n")
    project.write(*TWO_TABLES)
    lock, refused = PortableLocks.lock, list[str]()

    def busy_once(self: PortableLocks, connection: Connection, name: str, timeout: float | None = None) -> None:
        lock(self, connection, name, timeout)
        if not refused:
            refused.append(name)
            raise LockTimeoutError

    monkeypatch.setattr(PortableLocks, "lock", busy_once)
    upgrade_sync(database, folder=project.folder)

    assert refused == ["migrations"]
    assert project.tables() >= {"a", "b"}
