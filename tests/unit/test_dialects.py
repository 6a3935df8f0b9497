"""How errors and statements read, where the servers of the tests do not raise or refuse them by themselves."""

from __future__ import annotations

from typing import Any

import pytest

from layered_backend import errors
from layered_backend.dialects import Reading, dialect_named, is_read
from layered_backend.dialects.lock_names import lock_label, lock_number

POSTGRESQL, MARIADB, SQLITE = (dialect_named(name).errors for name in ("postgresql", "mariadb", "sqlite"))


class PostgresError(Exception):
    def __init__(self, sqlstate: str | None, **facts: str) -> None:
        super().__init__("a message in any language")
        self.sqlstate = sqlstate
        self.__dict__ |= facts


@pytest.mark.parametrize(
    ("sqlstate", "error"),
    [
        ("40001", errors.SerializationFailureError),
        ("40P01", errors.DeadlockError),
        ("55P03", errors.LockTimeoutError),
        ("57P01", errors.DatabaseUnavailableError),
        ("08006", errors.DatabaseUnavailableError),
        ("08007", errors.DatabaseUnavailableError),  # the outcome of COMMIT is not known
        ("40003", errors.DatabaseUnavailableError),  # the same of a statement
        ("28P01", errors.DatabaseUnavailableError),
        ("3D000", errors.DatabaseUnavailableError),
        ("22001", errors.InvalidDataError),
        ("23P01", errors.ConflictError),
        ("25006", errors.ReadOnlyError),
        ("25P02", errors.RolledBackError),
    ],
)
def test_a_sqlstate_has_its_error(sqlstate: str, error: type[errors.LayeredError]) -> None:
    reading = POSTGRESQL.read(PostgresError(sqlstate))

    assert reading is not None
    assert reading.error is error


def test_bad_sql_has_no_error_of_ours() -> None:
    assert POSTGRESQL.read(PostgresError("42601")) is None
    assert POSTGRESQL.read(Exception("connection is closed")) is None
    assert MARIADB.read(Exception(1064, "You have an error in your SQL syntax")) is None
    assert MARIADB.read(Exception(1305, "FUNCTION shop.nothing does not exist")) is None
    assert MARIADB.read(Exception()) is None
    assert SQLITE.read(Exception('near "SELEC": syntax error')) is None


@pytest.mark.parametrize(
    ("detail", "columns"),
    [
        ("Key (a)=(1) already exists.", ("a",)),
        ('Schlüssel (a, "b C")=(1, 2) existiert bereits.', ("a", "b C")),
        ('Key (id)=(1) is still referenced from table "t".', ()),
        ("Key (lower(name::text))=(a) already exists.", ()),
        ("", ()),
    ],
)
def test_postgresql_names_the_columns_in_every_language(detail: str, columns: tuple[str, ...]) -> None:
    error = PostgresError("23505", constraint_name="uq", table_name="t", detail=detail)

    assert POSTGRESQL.read(error) == Reading(errors.UniqueViolationError, "uq", "t", columns)


@pytest.mark.parametrize(
    ("errno", "message", "reading"),
    [
        (1062, "Duplicate entry 'x' for key 'uq_t_a'", Reading(errors.UniqueViolationError, "uq_t_a")),
        (1062, "Duplicate entry 'x' for key 't.uq_t_a'", Reading(errors.UniqueViolationError, "uq_t_a", "t")),
        (1062, "Duplicate entry 'for key 'b'' for key 'uq'", Reading(errors.UniqueViolationError, "uq")),
        (3819, "Check constraint 'ck_t' is violated.", Reading(errors.CheckViolationError, "ck_t")),
        (1364, "Field 'a' doesn't have a default value", Reading(errors.NotNullViolationError, columns=("a",))),
        (1406, "Data too long for column 'a' at row 1", Reading(errors.InvalidDataError, columns=("a",))),
        (1213, "Deadlock found", Reading(errors.DeadlockError)),
        (1205, "Lock wait timeout exceeded", Reading(errors.LockTimeoutError)),
        (1020, "Record has changed since last read", Reading(errors.SerializationFailureError)),
        (2006, "Server has gone away", Reading(errors.DatabaseUnavailableError)),
        (1180, "Got error 1180 during COMMIT", Reading(errors.DatabaseUnavailableError)),
        (1305, "SAVEPOINT sa_savepoint_1 does not exist", Reading(errors.RolledBackError)),
    ],
)
def test_an_error_number_has_its_error(errno: int, message: str, reading: Reading) -> None:
    assert MARIADB.read(Exception(errno, message)) == reading


class SqliteError(Exception):
    def __init__(self, name: str, message: str = "") -> None:
        super().__init__(message)
        self.sqlite_errorname = name


@pytest.mark.parametrize(
    ("name", "message", "reading"),
    [
        (
            "SQLITE_CONSTRAINT_UNIQUE",
            "UNIQUE constraint failed: index 'ix_lower'",
            Reading(errors.UniqueViolationError, "ix_lower"),
        ),
        (
            "SQLITE_CONSTRAINT_CHECK",
            "CHECK constraint failed: price > 0",
            Reading(errors.CheckViolationError),
        ),
        ("SQLITE_BUSY", "database is locked", Reading(errors.LockTimeoutError)),
        ("SQLITE_BUSY_SNAPSHOT", "database is locked", Reading(errors.SerializationFailureError)),
        ("SQLITE_FULL", "database or disk is full", Reading(errors.DatabaseUnavailableError)),
        ("SQLITE_MISMATCH", "datatype mismatch", Reading(errors.InvalidDataError)),
    ],
)
def test_an_error_name_has_its_error(name: str, message: str, reading: Reading) -> None:
    assert SQLITE.read(SqliteError(name, message)) == reading


def test_names_of_locks_fit_and_differ() -> None:
    names = ["create_all", "seed", "x" * 500, "é"]

    numbers: set[Any] = {lock_number(name) for name in names}
    labels = {lock_label("database", name) for name in names}

    assert len(numbers) == len(labels) == len(names)
    assert all(-(2**63) <= number < 2**63 for number in numbers)
    assert all(len(label) <= 64 for label in labels)
    assert lock_label("a", "b") != lock_label("ab", "")


def test_an_error_inside_asyncpg_means_that_the_connection_is_lost() -> None:
    class InternalClientError(Exception):
        pass

    error = InternalClientError("cannot switch to state 11; another operation (2) is in progress")

    assert POSTGRESQL.read(error) == Reading(errors.DatabaseUnavailableError)


READS = (
    "SELECT 1",
    "select 1;",
    " ; SELECT 1 ; SELECT 2 ; ",
    "-- DELETE\nSELECT 1",
    "/* DELETE */ SELECT /*+ NO_INDEX */ 1",
    "((SELECT 1) UNION (SELECT 2))",
    "SELECT 'DELETE FROM items; a ''quoted'' INTO' AS text",
    "SELECT $$ it's $$, $a$ $$ $a$",
    r"SELECT E'\'; DELETE FROM items'",
    'SELECT x.into, "into", `into`, [into] FROM x',
    "SELECT json #> '{a}' FROM x",
    "SELECT 1 FROM x WHERE a = 1 --DELETE",
    'WITH t AS (SELECT "update", x."delete", x.merge AS insert FROM x) TABLE t',
    "WITH t AS (SELECT 1) SELECT replace('a', 'b', 'c'), insert('a', 1, 1, 'b')",
    "SELECT * FROM items LOCK IN SHARE MODE",  # which MariaDB's own read-only transactions allow
    "VALUES (1), (2)",
    "TABLE items",
    "EXPLAIN SELECT 1",
    "EXPLAIN (ANALYZE, VERBOSE) (SELECT 1)",
    "EXPLAIN ANALYZE VERBOSE SELECT 1",
    "EXPLAIN QUERY PLAN SELECT 1",
    "EXPLAIN FORMAT=JSON SELECT 1",
    "SHOW CREATE TABLE items",
    "PRAGMA foreign_keys",
    'PRAGMA main.table_xinfo("items")',
    "PRAGMA foreign_key_check",
    "BEGIN",
    "BEGIN IMMEDIATE",
    "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
    "START TRANSACTION READ ONLY",
    "SAVEPOINT sa_savepoint_1",
    "RELEASE SAVEPOINT sa_savepoint_1",
    "ROLLBACK TO SAVEPOINT sa_savepoint_1",
)
WRITES = (
    "",
    "-- SELECT",
    "--SELECT\nDELETE FROM items",
    "/*!50000 DELETE FROM items */ SELECT 1",  # which MariaDB carries out
    "SELECT 1 /*M! INTO OUTFILE 'a' */",
    "/* /* */ ' */ ; DELETE FROM items; -- '",  # in PostgreSQL one comment, and a DELETE
    "/* a */" * 10_000 + "DELETE FROM items",
    "SELECT * INTO copies FROM items",
    "SELECT 1 INTO @number",
    "TABLE items INTO OUTFILE 'a'",
    "SELECT 1; DROP TABLE items",
    "SELECT 1; SELECT 2; CALL refill()",
    "BEGIN; DELETE FROM items",
    r"SELECT '\'; DELETE FROM items; -- '",  # in PostgreSQL a backslash is one
    r"SELECT 'a\''; DELETE FROM items; -- '",  # in MySQL it is not
    "SELECT 1--1; DELETE FROM items",  # in MySQL a subtraction
    "SELECT $a$; DELETE FROM items; SELECT $a$",  # in SQLite a parameter
    "SELECT 1 # '\n; DELETE FROM items; -- '",  # in MySQL a comment
    "WITH t AS (UPDATE items SET price = 1 RETURNING *) TABLE t",
    "WITH t AS (DELETE FROM items RETURNING *) SELECT * FROM t",
    "WITH t AS MATERIALIZED (INSERT INTO items VALUES (1) RETURNING *) SELECT * FROM t",
    "WITH t AS (SELECT 1) DELETE FROM items",
    "WITH t AS (SELECT 1) UPDATE items SET price = 1",
    "WITH t AS (SELECT 1) MERGE items USING t ON true",
    "WITH t AS (SELECT 1) REPLACE INTO items SELECT * FROM t",
    "SELECT * FROM OLD TABLE (DELETE FROM items)",
    "SELECT * FROM items FOR UPDATE",
    "SELECT * FROM items FOR NO KEY UPDATE",
    "SELECT * FROM items FOR KEY SHARE",
    "SELECT * FROM items FOR/**/UPDATE",
    "SELECT * FROM items FOR -- a\n SHARE",
    "EXPLAIN ANALYZE CREATE TABLE copies AS SELECT 1",
    "EXPLAIN ANALYZE INSERT INTO items VALUES (1)",
    "EXPLAIN (ANALYZE) EXECUTE prepared",
    "EXPLAIN (ANALYZE) (WITH t AS (DELETE FROM items RETURNING *) TABLE t)",
    "EXPLAIN PLAN FOR SELECT 1",  # Oracle writes it into a table
    "PRAGMA user_version = 5",
    "PRAGMA user_version(5)",
    "PRAGMA main.journal_mode=WAL",
    "PRAGMA optimize",
    "PRAGMA wal_checkpoint",
    "BEGIN DELETE FROM items",
    "BEGIN NOT ATOMIC DELETE FROM items",
    "COMMIT",
    "CALL refill()",
    "DO $$ BEGIN DELETE FROM items; END $$",
    "EXECUTE prepared",
    "COPY items FROM STDIN",
    "LOCK TABLE items",
    "VACUUM",
    "ANALYZE",
    "ANALYZE SELECT 1",  # in MariaDB it is carried out
    "REFRESH MATERIALIZED VIEW totals",
    "SET ROLE admin",
    "TRUNCATE items",
    "REPLACE INTO items VALUES (1)",
)


@pytest.mark.parametrize("statement", READS)
def test_a_read_is_told_by_its_text(statement: str) -> None:
    assert is_read(statement)


@pytest.mark.parametrize("statement", WRITES)
def test_what_may_write_is_no_read(statement: str) -> None:
    assert not is_read(statement)


@pytest.mark.parametrize("opening", ["'", '"', "/*", "$$", "$a$", "`", "(", "E'", "[", "--\n", "; SELECT 1"])
def test_a_long_text_is_told_at_once(opening: str) -> None:
    assert not is_read("SELECT 1 " + opening * 20_000 + " INTO copies; DELETE FROM items" + opening)
