"""PgBouncer in transaction pooling mode: all of it holds there too, for three processes at once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import insert, text

from layered_backend import Database, UnitOfWork
from tests.databases import Backend, backends_of
from tests.faults.clusters import or_skip
from tests.faults.pgbouncer import Pooled, pooled_database, pooling
from tests.faults.pgbouncer_client import LANES, METER
from tests.shop import Meter

PROCESSES = 3
ROUNDS = 12
TIME_LIMIT = 900  # seconds, on a machine that has other work
ROOT = Path(__file__).parents[2]
INTEGRATION = (
    "background",
    "bulk",
    "bulk_keys",
    "bulk_rows",
    "by_key",
    "commit",
    "database",
    "deferred_begin",
    "fastapi",
    "jobs",
    "listeners",
    "projection",
    "repository",
    "round_trips",
    "savepoint_oracle",
    "savepoints",
    "time_limits",
    "transact",
    "unit_of_work",
    "unknown_outcome",
)
"""They depend on the connection: transactions, locks, prepared statements, arrays, streams and cancelled queries. Others
send the same kinds of statement with other texts."""
TESTS = [
    *(f"tests/integration/test_{name}.py" for name in INTEGRATION),
    *sorted(str(path) for path in Path(__file__).parent.glob("test_0[1-8]_*.py")),
]

UNPREPARED: dict[str, tuple[Backend, dict[str, Any]]] = {
    "asyncpg": (Backend("postgresql", "asyncpg"), {}),
    "asyncpg without SQLAlchemy's cache": (
        Backend("postgresql", "asyncpg"),
        {"connect_args": {"prepared_statement_cache_size": 0}},
    ),
    "psycopg": (Backend("postgresql", "psycopg"), {}),
    "psycopg without an event loop": (Backend("postgresql", "psycopg", asynchronous=False), {}),
}
"""What a driver does unless it is told otherwise, and half of what asyncpg is to be told."""


@dataclass(frozen=True)
class Ended:
    """A process that has ended.

    Attributes:
        status: Its exit status.
        output: What it printed.
    """

    status: int
    output: str


@contextmanager
def running(
    command: Sequence[str], log_path: Path, environment: Mapping[str, str]
) -> Generator[subprocess.Popen[bytes]]:
    """Start *command*, and kill it at the end if it is still there."""
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def run_at_once(commands: Sequence[Sequence[str]], folder: Path, **environment: str) -> list[Ended]:
    """Run *commands* at the same time, and return how each has ended."""
    paths = [folder / f"{number}.log" for number in range(len(commands))]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(running(command, path, environment | {"LAYERED_TEST_SHARE": f"{number}/{PROCESSES}"}))
            for number, (command, path) in enumerate(zip(commands, paths, strict=True))
        ]
        statuses = [process.wait(TIME_LIMIT) for process in processes]
    return [Ended(status, path.read_text()) for status, path in zip(statuses, paths, strict=True)]


@pytest.mark.time_limit(TIME_LIMIT + 60)
def test_what_holds_without_it_holds_through_it(tmp_path: Path) -> None:
    """Three processes at once, each with a third of the tests."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.faults.shares", "-k", "postgresql", "-q", *TESTS]
    # Sixteen transactions of one test are open at a time.
    with or_skip(), pooling(pool_size=20, patience=30) as port:
        ended = run_at_once([command] * PROCESSES, tmp_path, LAYERED_TEST_PGBOUNCER=str(port))
        transactions = transactions_through(port)

    assert [each.status for each in ended] == [0] * PROCESSES, "\n".join(each.output[-4000:] for each in ended)
    passed = [int(number) for each in ended for number in re.findall(r"^(\d+) passed", each.output, re.MULTILINE)]
    assert len(passed) == PROCESSES
    assert transactions > sum(passed), "they did not go through it"


def transactions_through(port: int) -> int:
    """Return how many transactions went through the PgBouncer on *port*."""
    with psycopg.connect(
        f"host=127.0.0.1 port={port} user=postgres dbname=pgbouncer", autocommit=True, prepare_threshold=None
    ) as connection:
        cursor = psycopg.ClientCursor(connection, row_factory=dict_row)
        return sum(int(row["total_xact_count"]) for row in cursor.execute("SHOW STATS"))


def share_connections(pooled: Pooled, backend: Backend, folder: Path, **options: Any) -> list[Ended]:
    """Let three processes work on one database, through two connections of the server for all of them."""
    url = pooled.url(backend).render_as_string(hide_password=False)
    mode = "async" if backend.asynchronous else "sync"
    client = [sys.executable, "-m", "tests.faults.pgbouncer_client", url, mode, json.dumps(options), str(ROUNDS)]
    pooled.execute(insert(Meter).values(serial=METER, reading=0))
    return run_at_once([client] * PROCESSES, folder)


@pytest.mark.parametrize("backend", backends_of("postgresql"), ids=str)
def test_processes_that_share_connections_do_not_meet(backend: Backend, tmp_path: Path) -> None:
    with or_skip(), pooled_database(pool_size=2) as pooled:
        ended = share_connections(pooled, backend, tmp_path, pgbouncer=True)

        rounds = PROCESSES * LANES * ROUNDS
        assert [each.status for each in ended] == [0] * PROCESSES, "\n".join(each.output[-4000:] for each in ended)
        assert pooled.scalar("SELECT reading FROM meters") == rounds
        assert pooled.scalar("SELECT count(*) FROM items") == 4 * rounds
        assert pooled.scalar("SELECT count(*) FROM countries") == rounds


@pytest.mark.parametrize(("backend", "options"), UNPREPARED.values(), ids=UNPREPARED)
def test_without_its_settings_they_do_meet(backend: Backend, options: dict[str, Any], tmp_path: Path) -> None:
    """The control: what `pgbouncer=True` sets is needed, and the test above would see that it is not there."""
    with or_skip(), pooled_database(pool_size=2) as pooled:
        ended = share_connections(pooled, backend, tmp_path, **options)

    assert any(each.status for each in ended)
    assert "prepared statement" in "".join(each.output for each in ended)


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({"pgbouncer": True}, [{"b": 2, "c": 9}]),
        ({"connect_args": {"statement_cache_size": 0}}, [{"a": 2, "b": 9}]),  # the control: SQLAlchemy's cache is left
    ],
    ids=["with its settings", "without the driver's cache alone"],
)
async def test_a_table_that_has_changed_is_read_by_its_new_columns(
    options: dict[str, Any], rows: list[dict[str, int]]
) -> None:
    with or_skip(), pooled_database(pool_size=2) as pooled:
        pooled.execute("CREATE TABLE pairs (a int, b int)", "INSERT INTO pairs VALUES (1, 2)")
        async with Database(pooled.url(Backend("postgresql", "asyncpg")), pool_size=1, **options) as database:
            await _pairs(database)
            pooled.execute("ALTER TABLE pairs DROP a", "ALTER TABLE pairs ADD c int DEFAULT 9")

            assert await _pairs(database) == rows


async def _pairs(database: Database) -> list[dict[str, int]]:
    async with UnitOfWork(database, read_only=True) as uow:
        result = await uow.session.execute(text("SELECT * FROM pairs"))
        return [dict(row) for row in result.mappings()]
