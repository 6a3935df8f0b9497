"""SQLite changes a table by copying it, and nothing is lost on the way."""

from __future__ import annotations

import pytest

from layered_backend import MigrationError
from layered_backend.migrations import upgrade_sync
from tests.migrations.projects import Project

_CREATE = (
    """op.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY, name VARCHAR(10) NOT NULL DEFAULT 'x', price INTEGER, "
        "CONSTRAINT ck_parents_price CHECK (price >= 0), CHECK (length(name) < 9))")
    op.execute("CREATE UNIQUE INDEX ix_parents_name ON parents (name) WHERE price > 5")
    op.execute("CREATE TABLE children (id INTEGER PRIMARY KEY, parent_id INTEGER NOT NULL, "
        "CONSTRAINT fk_children FOREIGN KEY (parent_id) REFERENCES parents (id) ON DELETE CASCADE)")
    op.execute("INSERT INTO parents VALUES (7, 'seven', 70)")
    op.execute("INSERT INTO children VALUES (1, 7)")""",
    "pass",
)
_WIDEN = (
    "with op.batch_alter_table('parents') as batch: batch.alter_column('name', type_=sa.String(40))",
    "pass",
)


def statements(project: Project, *asked: str) -> list[list[tuple[object, ...]]]:
    with project.database.unpooled().sync_engine.connect() as connection:
        return [[tuple(row) for row in connection.exec_driver_sql(each)] for each in asked]


def schema_of(project: Project, table: str) -> str:
    rows, indexes = statements(
        project,
        f"SELECT sql FROM sqlite_master WHERE name = '{table}'",  # noqa: S608  # the test's own names
        f"SELECT sql FROM sqlite_master WHERE tbl_name = '{table}' AND type = 'index'",  # noqa: S608
    )
    return "\n".join(str(sql) for (sql,) in (*rows, *indexes))


def test_rows_references_checks_and_indexes_are_kept(sqlite_project: Project) -> None:
    sqlite_project.write(_CREATE, _WIDEN)

    upgrade_sync(sqlite_project.database, folder=sqlite_project.folder)

    parents, children = statements(sqlite_project, "SELECT * FROM parents", "SELECT * FROM children")
    assert (parents, children) == ([(7, "seven", 70)], [(1, 7)])
    schema = schema_of(sqlite_project, "parents")
    assert "VARCHAR(40)" in schema
    assert "CONSTRAINT ck_parents_price CHECK (price >= 0)" in schema
    assert "CHECK (length(name) < 9)" in schema
    assert "WHERE price > 5" in schema
    assert "REFERENCES parents (id) ON DELETE CASCADE" in schema_of(sqlite_project, "children")


def test_a_check_can_be_dropped_by_its_name(sqlite_project: Project) -> None:
    drop = "with op.batch_alter_table('parents') as batch: batch.drop_constraint(batch.f('ck_parents_price'), type_='check')"
    sqlite_project.write(_CREATE, (drop, "pass"))

    upgrade_sync(sqlite_project.database, folder=sqlite_project.folder)

    schema = schema_of(sqlite_project, "parents")
    assert "price >= 0" not in schema
    assert "length(name) < 9" in schema


def test_rows_that_would_refer_to_nothing_are_refused_and_nothing_is_changed(sqlite_project: Project) -> None:
    sqlite_project.write(_CREATE)
    upgrade_sync(sqlite_project.database, folder=sqlite_project.folder)
    sqlite_project.write(_CREATE, ("op.execute('DELETE FROM parents')", "pass"))

    with pytest.raises(MigrationError, match="refer to nothing: 1 of children to parents; nothing is changed"):
        upgrade_sync(sqlite_project.database, folder=sqlite_project.folder)

    assert statements(sqlite_project, "SELECT count(*) FROM parents") == [[(1,)]]


def test_rows_that_referred_to_nothing_before_are_no_obstacle(sqlite_project: Project) -> None:
    sqlite_project.write(_CREATE)
    upgrade_sync(sqlite_project.database, folder=sqlite_project.folder)
    with sqlite_project.database.unpooled().sync_engine.connect() as connection:
        connection.connection.cursor().executescript("PRAGMA foreign_keys = OFF; INSERT INTO children VALUES (2, 404);")
    sqlite_project.write(_CREATE, _WIDEN)

    assert len(upgrade_sync(sqlite_project.database, folder=sqlite_project.folder)) == 1
