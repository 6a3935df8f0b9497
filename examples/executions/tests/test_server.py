"""The application in processes of its own: the one command, many at once, and a server that is killed."""

import asyncio
import os
import re
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2
import pytest
from sqlalchemy import make_url

from examples.executions import running
from examples.executions.__main__ import MIGRATIONS
from examples.executions.application import create_app
from examples.executions.settings import ExecutionsSettings
from examples.executions.tests.conftest import filled, logged_in
from examples.executions.tests.servers import serving
from layered_backend import Database, background_idle
from layered_backend.migrations import check_sync
from tests.databases import SERVERS, ServerMissingError, new_database

pytestmark = pytest.mark.slow

_ROOT = Path(__file__).parents[3]
TEXT = "Tea is made of leaves. Tea is drunk. It is 5 km to the tea shop."


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'src'}", **environment}
    line = [sys.executable, "-m", "examples.executions", *arguments]
    return subprocess.run(line, cwd=folder, env=variables, capture_output=True, text=True, timeout=120, check=False)


def test_one_command_migrates_and_seeds_and_does_nothing_the_second_time(tmp_path: Path) -> None:
    first, second = (command(tmp_path, "--no-serve") for _ in range(2))

    assert (first.returncode, second.returncode, first.stderr, second.stderr) == (0, 0, "", "")
    assert first.stdout.startswith("Migrated to 0001 create the tables\nGroupSeeder: 1 inserted")
    assert "Migrated" not in second.stdout
    assert "ToolSeeder: 0 inserted, 0 updated, 7 unchanged, 0 deleted" in second.stdout
    assert (tmp_path / "executions.db").exists()


def test_production_needs_a_key_and_has_no_demonstration(tmp_path: Path) -> None:
    refused = command(tmp_path, "--no-serve", LAYERED_ENV="production")
    done = command(tmp_path, "--no-serve", LAYERED_ENV="production", SECRET_KEY=secrets.token_urlsafe(48))

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("SECRET_KEY is missing, ")
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "executions.db-journal").exists()
    assert done.returncode == 0, done.stderr
    assert "DemoUserSeeder: skipped" in done.stdout


@pytest.mark.parametrize("option", ["--no-server", "--port=1", "serve"])
def test_what_the_command_does_not_know_is_refused_with_the_usage(tmp_path: Path, option: str) -> None:
    refused = command(tmp_path, option)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("usage: python -m examples.executions [-h] [--no-serve]")
    assert option in refused.stderr
    assert not (tmp_path / "executions.db").exists()


@pytest.mark.parametrize("server", SERVERS)
def test_a_database_that_does_not_exist_is_told_in_one_line(server: str, tmp_path: Path) -> None:
    url = make_url(SERVERS[server]).set(drivername=server, database="no_such_one")

    refused = command(tmp_path, "--no-serve", DATABASE_URL=url.render_as_string(hide_password=False))

    assert (refused.returncode, refused.stdout) == (1, "")
    assert re.fullmatch(
        rf"{server}\+\w+://[\w.:]+/no_such_one: the server has no such database; create it, .*\n", refused.stderr
    )


def test_operators_make_users_and_groups_at_the_command_line(own_file: Path) -> None:
    variables = {
        "DATABASE_URL": f"sqlite:///{own_file}",
        "LAYERED_ENV": "production",
        "SECRET_KEY": secrets.token_urlsafe(48),
    }
    variables["PYTHONPATH"] = f"{_ROOT}{os.pathsep}{_ROOT / 'src'}"
    script = "import getpass; getpass.getpass = lambda: 'a long password'; import examples.executions.__main__ as m; m.main()"
    for username in ("east/eve", "north/eve"):
        line = [sys.executable, "-c", script, "add-user", username]
        environment = {**os.environ, **variables}
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")

    with serving(own_file) as server, httpx2.Client(base_url=server.url) as client:
        for username in ("east/eve", "north/eve"):
            form = {"username": username, "password": "a long password"}
            token = client.post("/login", data=form).json()["access_token"]
            groups = client.get("/groups", headers={"Authorization": f"Bearer {token}"}).json()["items"]
            assert [group["name"] for group in groups] == [username.partition("/")[0]]


def test_it_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    variables = {**os.environ, "PORT": port, "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'src'}"}
    line = [sys.executable, "-m", "examples.executions"]
    with subprocess.Popen(line, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(11)]
        assert told[-1].startswith(f"http://127.0.0.1:{port}/ for north/ann"), told
        assert _answered(f"http://127.0.0.1:{port}/").url.path == "/session"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def _answered(url: str) -> httpx2.Response:
    deadline = time.monotonic() + 30
    while True:
        try:
            return httpx2.get(url, follow_redirects=True)
        except httpx2.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.parametrize("server", SERVERS)
def test_the_same_code_runs_on_the_servers(server: str, tmp_path: Path) -> None:
    try:
        with new_database(server, tmp_path) as url:
            settings = ExecutionsSettings.model_validate({
                "secret_key": secrets.token_urlsafe(48),
                "database_url": url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False),
            })  # fmt: skip
            filled(settings.database())
            assert check_sync(settings.database(), folder=MIGRATIONS).ok
            statuses = asyncio.run(_run_at_once(settings, settings.database(), 8))
    except ServerMissingError as error:
        (pytest.fail if os.environ.get("LAYERED_REQUIRE_SERVERS") else pytest.skip)(str(error))

    assert statuses == ["COMPLETED"] * 8


def test_twenty_at_once_are_completed_on_a_file_of_sqlite(own_file: Path, settings: ExecutionsSettings) -> None:
    statuses = asyncio.run(_run_at_once(settings, Database(f"sqlite:///{own_file}"), 20))

    assert statuses == ["COMPLETED"] * 20


async def _run_at_once(settings: ExecutionsSettings, database: Database, count: int) -> list[str]:
    app = create_app(settings, database)
    transport = httpx2.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport, base_url="http://t") as client:
        client.headers.update(await logged_in(client, "north/ann"))
        plans = (await client.get("/flows", params={"name": "Full report"})).json()["items"]
        body = {"kind": "flow", "plan_id": plans[0]["id"], "text": TEXT}
        answers = await asyncio.gather(*(client.post("/executions", json=body) for _ in range(count)))
        assert [answer.status_code for answer in answers] == [201] * count
        await background_idle(app)
        found: list[dict[str, Any]] = (await client.get("/executions")).json()["items"]
    return [execution["status"] for execution in found]


def test_a_server_that_is_killed_leaves_nothing_running_for_ever(own_file: Path) -> None:
    with serving(own_file, "--factory", "examples.executions.tests.test_server:slow_app", STEP_LIMIT="60") as server:
        with server.client() as client:
            for _ in range(6):  # four at once, and two that wait
                client.post("/executions", json=server.body(client, "flow", "Full report", TEXT)).raise_for_status()
            _wait_for(client, "RUNNING", 4)
        server.kill()
    _let_time_pass(own_file)

    with serving(own_file) as server, server.client() as client:
        _wait_for(client, "RUNNING", 0)
        executions = client.get("/executions").json()["items"]

    assert [(each["status"], each["error"]) for each in executions] == [
        ("FAILED", "The server stopped before it had ended")
    ] * 6


def _wait_for(client: httpx2.Client, status: str, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(client.get("/executions", params={"status": status}).json()["items"]) != count:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _let_time_pass(path: Path) -> None:
    """Set the clock forward by an hour, as far as these rows can tell."""
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE executions SET lease_until = datetime(lease_until, '-1 hour') || '.000000'")
    connection.close()


def slow_app() -> Any:
    """Return the application with tools that never come to an end."""

    def never(*_: object) -> str:
        time.sleep(3600)
        return ""

    patch.object(running, "use", never).start()
    return create_app(ExecutionsSettings.load())
