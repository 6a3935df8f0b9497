"""Database servers of the tests' own, which may be stopped, started and set up as no shared server may.

Each lives in a temporary folder and listens on a free port of the loopback interface. A watchdog of its own ends it and
removes the folder when the pipe to it closes: at the end of the block, and where the process of the tests is killed.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import sqlalchemy
from sqlalchemy import URL
from sqlalchemy.exc import OperationalError

from tests.databases import MUST_HAVE_SERVERS, ServerMissingError

__all__ = ["PostgreSQLCluster", "mariadb_cluster", "or_skip", "postgresql_cluster"]

_TIME_LIMIT = 60  # seconds, to start or to stop
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))
# Below the range that outgoing connections take their ports from: one of theirs must not take a stopped server's.
_PORTS = range(20_000, 32_000)

_POSTGRESQL_WATCHDOG = 'cat; "$0" stop --silent --mode immediate --pgdata "$1/data"; rm -rf "$1"'
_MARIADB_WATCHDOG = 'folder=$1; shift; "$0" "$@" 2>>"$folder/log" </dev/null & cat; kill -9 $!; wait; rm -rf "$folder"'


@dataclass(frozen=True)
class PostgreSQLCluster:
    """A PostgreSQL server, with the default settings but for those that it was given. Lives as long as its block.

    Attributes:
        url: Its database `postgres`.
        folder: Where its data and its log are.
    """

    url: URL
    folder: Path
    _control: Path
    _owner: Mapping[str, Any]

    def start(self, *options: str) -> None:
        """Start it, with *options* of pg_ctl, and wait until it accepts connections."""
        self._run("start", "--log", str(self.folder / "log"), *options)

    def stop(self, mode: Literal["smart", "fast", "immediate"], *options: str) -> None:
        """Stop it, with *options* of pg_ctl, and wait for its end: an `immediate` one is a crash."""
        self._run("stop", "--mode", mode, *options)

    def restart(self, mode: Literal["fast", "immediate"]) -> None:
        self._run("restart", "--log", str(self.folder / "log"), "--mode", mode)

    def _run(self, *arguments: str) -> None:
        command = [str(self._control), "--silent", "--pgdata", str(self.folder / "data"), *arguments]
        _run(command, self._owner, log_path=self.folder / "log")


@contextmanager
def postgresql_cluster(**settings: str) -> Generator[PostgreSQLCluster]:
    """Start a PostgreSQL server with *settings* of postgresql.conf.

    Raises:
        ServerMissingError: PostgreSQL is not installed here.
    """
    initdb = _program("initdb", *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
    with _folder("postgres") as (folder, owner):
        control, data, port = initdb.parent / "pg_ctl", folder / "data", _free_port()
        url = URL.create("postgresql+psycopg", "postgres", host="127.0.0.1", port=port, database="postgres")
        cluster = PostgreSQLCluster(url, folder, control, owner)
        with _watchdog(_POSTGRESQL_WATCHDOG, owner, control, folder):
            arguments = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
            _run([str(initdb), *arguments, str(data)], owner)
            settings |= {"port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder)}
            lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
            with (data / "postgresql.conf").open("a") as configuration:
                configuration.writelines(lines)
            cluster.start()
            yield cluster


@contextmanager
def mariadb_cluster(*options: str) -> Generator[URL]:
    """Start a MariaDB server with *options* of mariadbd, and yield the URL of an empty database on it.

    Raises:
        ServerMissingError: MariaDB is not installed here.
    """
    server, install = _program("mariadbd"), _program("mariadb-install-db")
    with _folder("mysql") as (folder, owner):
        port, data = _free_port(), folder / "data"
        arguments = (f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db")
        _run([str(install), "--no-defaults", *arguments], owner)
        places = (f"--datadir={data}", f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}")
        listening = ("--bind-address=127.0.0.1", f"--port={port}")
        with _watchdog(_MARIADB_WATCHDOG, owner, server, folder, "--no-defaults", *places, *listening, *options):
            url = URL.create("mariadb+pymysql", "root", host="127.0.0.1", port=port)
            _create_database(url, "test")
            yield url.set(database="test")


@contextmanager
def or_skip() -> Generator[None]:
    """Skip the test where no server can be made, or fail it where there must be one."""
    try:
        yield
    except ServerMissingError as error:
        (pytest.fail if MUST_HAVE_SERVERS else pytest.skip)(str(error))


def _program(name: str, *places: Path) -> Path:
    found = shutil.which(name, path=os.pathsep.join((_PATH, *map(str, places))))
    if found is None:
        raise ServerMissingError(f"{name} is not installed")
    return Path(found).resolve()  # beside which the others are


@contextmanager
def _folder(user: str) -> Generator[tuple[Path, Mapping[str, Any]]]:
    """Make a folder for a server, and yield with it how to start processes as its owner: no server runs as root."""
    folder = Path(tempfile.mkdtemp(prefix="layered_"))
    owner: dict[str, Any] = {"cwd": folder, "start_new_session": True}
    try:
        if os.geteuid() == 0:
            account = _account(user)
            os.chown(folder, account.pw_uid, account.pw_gid)
            owner |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        yield folder, owner
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise ServerMissingError(f"there is no user {user} to run the server") from None


def _run(command: Sequence[str], owner: Mapping[str, Any], log_path: Path | None = None) -> None:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, **owner, capture_output=True, text=True, timeout=_TIME_LIMIT, check=False
    )
    log = log_path.read_text() if log_path and log_path.exists() else ""
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}{log}"


@contextmanager
def _watchdog(script: str, owner: Mapping[str, Any], *arguments: Path | str) -> Generator[None]:
    process = subprocess.Popen(
        ["/bin/sh", "-c", script, *arguments], **owner, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.communicate(timeout=_TIME_LIMIT)


def _free_port() -> int:
    while True:
        port = random.choice(_PORTS)  # noqa: S311  # no secret
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


def _create_database(url: URL, name: str) -> None:
    engine = sqlalchemy.create_engine(url)
    deadline = time.monotonic() + _TIME_LIMIT
    while True:
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return engine.dispose()
