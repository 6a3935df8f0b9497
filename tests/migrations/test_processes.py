"""Processes that migrate one database at once, and one that is killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from layered_backend import Database, MigrationError
from layered_backend.migrations import check_sync, upgrade_sync
from tests.faults.clusters import or_skip
from tests.faults.pgbouncer import pooling
from tests.migrations.projects import TWO_TABLES, Project

_TIME_LIMIT = 240  # seconds
pytestmark = [pytest.mark.slow, pytest.mark.time_limit(_TIME_LIMIT + 60)]

_ROOT = Path(__file__).parents[2]
_STOPPING = "import os, time, pathlib; pathlib.Path({path!r}).write_text(str(os.getpid())); time.sleep(600)"


def started(project: Project, count: int) -> subprocess.Popen[str]:
    """Start *count* processes that migrate, and one that waits for them."""
    url = project.database.url.render_as_string(hide_password=False)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.migrations.worker", url, str(project.folder), str(count), project.pooler],
        cwd=_ROOT, env=os.environ | {"PYTHONPATH": f"{_ROOT / 'src'}:{_ROOT}"}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def applied_by(project: Project, count: int) -> list[str]:
    """Return how many revisions each of *count* processes has applied, sorted."""
    with started(project, count) as process:
        printed, complaints = process.communicate(timeout=_TIME_LIMIT)
    assert (process.returncode, complaints) == (0, "")
    return sorted(printed.split())


def test_of_eight_processes_that_start_at_once_one_migrates(project: Project) -> None:
    slowly = "import time; time.sleep(0.5); "
    project.write(*((slowly + upgrade, downgrade) for upgrade, downgrade in TWO_TABLES))

    assert applied_by(project, 8) == ["0"] * 7 + ["2"]
    assert project.tables() == {"a", "b"}


def test_of_eight_processes_behind_pgbouncer_one_migrates(postgresql_project: Project) -> None:
    """There, a lock of the session would be another client's as soon as the transaction has ended."""
    slowly = "import time; time.sleep(0.5); "
    postgresql_project.write(*((slowly + upgrade, downgrade) for upgrade, downgrade in TWO_TABLES))

    with or_skip(), pooling(pool_size=4, patience=30) as port:
        url = postgresql_project.database.url.set(drivername="postgresql", host="127.0.0.1", port=port)
        with Database(url, pgbouncer=True) as pooled:
            assert applied_by(Project(postgresql_project.folder, pooled), 8) == ["0"] * 7 + ["2"]
            assert check_sync(pooled, folder=postgresql_project.folder).ok is False  # the models have no tables

    assert postgresql_project.tables() == {"a", "b"}
    with postgresql_project.database.unpooled().sync_engine.connect() as connection:
        left = "SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database WHERE datname = current_database()"
        assert connection.exec_driver_sql(f"{left} AND locktype = 'advisory'").scalar() == 0


def test_a_process_that_is_killed_on_the_way_leaves_no_lock_and_what_is_left_is_told(
    project: Project, tmp_path: Path
) -> None:
    reached = tmp_path / "reached"
    half, undo = TWO_TABLES[0]
    project.write((f"{half}; {_STOPPING.format(path=str(reached))}", undo), TWO_TABLES[1])
    with started(project, 1):
        deadline = time.monotonic() + _TIME_LIMIT
        while not (reached.exists() and reached.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(int(reached.read_text()), signal.SIGKILL)
    project.write(*TWO_TABLES)

    if project.database.url.get_backend_name() == "mariadb":
        with pytest.raises(MigrationError, match=r"revision r1 step 1 failed: .*'a' already exists.*; MariaDB commits"):
            upgrade_sync(project.database, folder=project.folder, lock_timeout=60)
        assert check_sync(project.database, folder=project.folder).current == ()
    else:
        assert len(upgrade_sync(project.database, folder=project.folder, lock_timeout=60)) == 2


def test_an_index_is_made_concurrently_while_another_process_waits(postgresql_project: Project) -> None:
    building = """with op.get_context().autocommit_block():
        op.execute("SELECT pg_sleep(1)")
        op.create_index("ix_a_id", "a", ["id"], postgresql_concurrently=True)"""
    postgresql_project.write(TWO_TABLES[0], (building, "pass"))

    assert applied_by(postgresql_project, 3) == ["0", "0", "2"]
