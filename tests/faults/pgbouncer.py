"""A PgBouncer of the tests' own, in transaction pooling mode, which ends with the process that started it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import URL, Executable, make_url, text

from layered_backend import Database
from tests.databases import SERVERS, Backend, ServerMissingError, Shop, own_database
from tests.shop import Base

__all__ = ["Pooled", "pooled_database", "pooling"]

_ATTEMPTS = 5  # the port that was free may be another process's by now
_START_TIMEOUT = 10  # seconds
_STOP_TIMEOUT = 10  # seconds
_UNTIL_INPUT_ENDS = '"$@" & cat >/dev/null; kill $!; wait'
_CONFIGURATION = """
[databases]
* = host={host} port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
stats_users = {user}
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
query_wait_timeout = {patience}
server_login_retry = 1
log_connections = 0
log_disconnections = 0
"""
_WITHOUT_PREPARED_STATEMENTS = "max_prepared_statements = 0\n"  # as before 1.21, which does not know the setting


@dataclass(frozen=True)
class Pooled:
    """A database of the tests' own, behind a PgBouncer of their own.

    Attributes:
        port: Where PgBouncer listens.
        engine: A way to the database that goes past PgBouncer.
    """

    port: int
    engine: sqlalchemy.Engine

    def url(self, backend: Backend) -> URL:
        drivername = (
            f"postgresql+{backend.driver}" if backend.asynchronous else "postgresql"
        )  # for which psycopg is chosen
        return self.engine.url.set(drivername=drivername, host="127.0.0.1", port=self.port)

    @asynccontextmanager
    async def clients(self, backend: Backend, number: int, **options: Any) -> AsyncGenerator[list[Shop]]:
        """The test domain as so many clients see it."""
        async with AsyncExitStack() as stack:
            databases = [Database(self.url(backend), pgbouncer=True, **options) for _ in range(number)]
            yield [Shop(backend, await stack.enter_async_context(database)) for database in databases]

    def scalar(self, sql: str) -> Any:
        """Ask the server, past PgBouncer."""
        with self.engine.begin() as connection:
            return connection.scalar(text(sql))

    def execute(self, *statements: str | Executable) -> None:
        """Have the server carry out *statements*, past PgBouncer."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement) if isinstance(statement, str) else statement)


@contextmanager
def pooled_database(*, pool_size: int, patience: int = 30) -> Generator[Pooled]:
    """Make a database of the tests' own, with the tables of the test domain, behind a PgBouncer until the block ends.

    Args:
        pool_size: How many connections to the server its clients share.
        patience: How many seconds a client waits for one of them.

    Raises:
        ServerMissingError: PgBouncer is not installed, or there is no server.
    """
    with own_database("postgresql") as url, pooling(pool_size=pool_size, patience=patience) as port:
        engine = sqlalchemy.create_engine(url)
        Base.metadata.create_all(engine)
        try:
            yield Pooled(port, engine)
        finally:
            engine.dispose()


@contextmanager
def pooling(*, pool_size: int, patience: int) -> Generator[int]:
    """Pool the connections to the tests' PostgreSQL until the block ends; the value is the port on 127.0.0.1.

    Args:
        pool_size: How many connections to the server the clients of one database share.
        patience: How many seconds a client waits for one of them.

    Raises:
        ServerMissingError: PgBouncer is not installed.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        raise ServerMissingError("pgbouncer is not installed")
    with tempfile.TemporaryDirectory(prefix="layered_pgbouncer_") as name:
        port, process = _started(program, Path(name), pool_size=pool_size, patience=patience)
        try:
            yield port
        finally:
            _end(process)


def _started(program: str, folder: Path, **settings: int) -> tuple[int, subprocess.Popen[bytes]]:
    for _ in range(_ATTEMPTS):
        port = _free_port()
        _configure(program, folder, port=port, **settings)
        process = _start(program, folder)
        if _listens(folder, port):
            return port, process
        _end(process)
    raise RuntimeError(f"pgbouncer did not start:\n{_log(folder)}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _configure(program: str, folder: Path, **settings: int) -> None:
    url = make_url(SERVERS["postgresql"])
    configuration = _CONFIGURATION.format(
        host=url.host, server_port=url.port or 5432, user=url.username, folder=folder, **settings
    )
    if _version(program) >= (1, 21):
        configuration += _WITHOUT_PREPARED_STATEMENTS
    (folder / "pgbouncer.ini").write_text(configuration)
    (folder / "users.txt").write_text(f'"{url.username}" "{url.password or ""}"\n')


def _version(program: str) -> tuple[int, ...]:
    output = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    _, number, *_ = output.split()  # PgBouncer 1.18.0
    return tuple(int(part) for part in number.split(".")[:2])


def _start(program: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start it under a shell that ends it when this process is gone, however that came."""
    nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None  # it refuses to be root
    if nobody is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            ["/bin/sh", "-c", _UNTIL_INPUT_ENDS, "sh", program, str(folder / "pgbouncer.ini")],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            user=nobody and nobody.pw_uid,
            group=nobody and nobody.pw_gid,
            extra_groups=nobody and [],
            start_new_session=True,  # an interrupt from the terminal is for the tests, which then end it
        )


def _listens(folder: Path, port: int) -> bool:
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline:
        log = _log(folder)
        if f"listening on 127.0.0.1:{port}" in log and "process up" in log:
            return True
        if "FATAL" in log or "ERROR" in log:
            return False
        time.sleep(0.02)
    return False


def _log(folder: Path) -> str:
    with suppress(FileNotFoundError):
        return (folder / "log").read_text(errors="replace")
    return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
