"""A thousand mixed requests to a real server; `python -m tests.faults.soak` sends as many as are wanted."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

from tests.databases import Servers
from tests.faults.soak import soak

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path, sqlite_template: bytes) -> URL:
    if request.param != "sqlite":
        return servers.url(request.param)
    path = tmp_path / "shop.db"
    path.write_bytes(sqlite_template)
    return make_url(f"sqlite:///{path}")


def test_every_acknowledged_write_is_there_once_and_no_other(url: URL, tmp_path: Path) -> None:
    account = soak(url, tmp_path / "server.log", requests=1000, deadline=120)

    assert account.differences == [], f"{account}"
    assert account.requests.total() == 1000
    assert {0, 200, 201, 404, 409} <= account.statuses.keys(), account.statuses
