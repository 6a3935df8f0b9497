"""Background jobs and request ids of a real server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import sqlalchemy
from sqlalchemy import URL, select

from tests.databases import MUST_HAVE_SERVERS, SERVERS, ServerMissingError, new_database
from tests.shop import Base, Country
from tests.uvicorn_process import TIME_LIMIT, Uvicorn, uvicorn

pytestmark = pytest.mark.slow

APPLICATION = "tests.fastapi_background.served:app"
LOG_CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "layered_backend.RequestIdFilter"}},
    "formatters": {"line": {"format": "[%(request_id)s] %(name)s: %(message)s"}},
    "handlers": {"stream": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]}},
    "root": {"level": "INFO", "handlers": ["stream"]},
}


@pytest.fixture(params=["sqlite", *SERVERS])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sqlalchemy.Engine]:
    """A database with the tables and no rows."""
    try:
        with new_database(request.param, tmp_path) as url:
            engine = sqlalchemy.create_engine(url)
            Base.metadata.create_all(engine)
            yield engine
            engine.dispose()
    except ServerMissingError as error:
        (pytest.fail if MUST_HAVE_SERVERS else pytest.skip)(str(error))


@pytest.fixture
def log_config(tmp_path: Path) -> Path:
    path = tmp_path / "log.json"
    path.write_text(json.dumps(LOG_CONFIG))
    return path


def address(url: URL) -> str:
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False)


def post(server: Uvicorn, path: str, request_id: str) -> httpx2.Response:
    return httpx2.post(server.url + path, headers={"X-Request-ID": request_id}, timeout=TIME_LIMIT)


def test_a_server_that_is_stopped_finishes_what_it_can_and_undoes_the_rest(
    engine: sqlalchemy.Engine, tmp_path: Path, log_config: Path
) -> None:
    is_alone = engine.dialect.name == "sqlite"  # which has one writer, so that the second would wait for the first
    names = ["slow"] if is_alone else ["quick", "slow"]
    environment = {"SERVED_DATABASE_URL": address(engine.url)}
    with uvicorn(APPLICATION, tmp_path, "--log-config", str(log_config), **environment) as server:
        for name in names:
            assert post(server, f"/{name}?seconds={2 if name == 'quick' else 600}", name).status_code == 200
        server.wait_for_lines("has begun", len(names))
        server.stop()

    with engine.connect() as connection:
        assert connection.scalars(select(Country.code)).all() == (names[:-1])
    assert "Application shutdown complete" in server.log
    cut_off = r"\[slow\] layered_backend: the application stopped before the background job .*served:write_slowly\("
    assert len(re.findall(cut_off, server.log)) == 1
    assert is_alone or "[quick] shop: quick is about to end" in server.log
    complaints = ("Traceback", "Warning", "never awaited", "was destroyed but it is pending", "failed")
    assert [each for each in complaints if each in server.log] == [], server.log


def test_a_job_that_ends_in_time_is_committed_on_sqlite_too(tmp_path: Path, log_config: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    Base.metadata.create_all(engine)
    environment = {"SERVED_DATABASE_URL": address(engine.url)}
    with uvicorn(APPLICATION, tmp_path, "--log-config", str(log_config), **environment) as server:
        post(server, "/quick?seconds=2", "quick")
        server.wait_for_lines("has begun")
        server.stop()

    with engine.connect() as connection:
        assert connection.scalars(select(Country.code)).all() == ["quick"]
    engine.dispose()


def test_the_lines_of_the_server_itself_have_the_id_of_their_request(tmp_path: Path, log_config: Path) -> None:
    environment = {"SERVED_DATABASE_URL": f"sqlite:///{tmp_path / 'shop.db'}"}
    with uvicorn(APPLICATION, tmp_path, "--log-config", str(log_config), **environment) as server:
        with httpx2.Client(base_url=server.url, timeout=TIME_LIMIT) as client:  # one connection for all
            client.get("/", headers={"X-Request-ID": "whole"})
            client.get("/", headers={"X-Request-ID": 'forged"\t[forged by hand] shop: a line'})
            broken = client.get("/broken", headers={"X-Request-ID": "broken"})  # after which uvicorn closes it
        server.stop()

    assert (broken.status_code, broken.headers["x-request-id"]) == (500, "broken")
    assert re.search(r'\[broken\] uvicorn\.access: .*"GET /broken HTTP/1\.1" 500', server.log)
    assert "[broken] uvicorn.error: Exception in ASGI application" in server.log
    assert "[whole] shop: in the handler" in server.log
    assert re.search(r'\[whole\] uvicorn\.access: .*"GET / HTTP/1\.1" 200', server.log)
    assert "[-] uvicorn.error: Shutting down" in server.log
    assert "forged" not in server.log
