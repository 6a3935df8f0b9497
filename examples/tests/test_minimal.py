import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import httpx2
import pytest

ROOT = Path(__file__).parents[2]
TIMEOUT = 20  # seconds


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def wait_until_started(client: httpx2.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            client.get("/items")
        except httpx2.ConnectError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the server does not answer")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Generator[httpx2.Client]:
    """A client of the application, which uvicorn serves from a directory of its own."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "examples.minimal:app", "--port", str(port), "--log-level", "warning"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (
        subprocess.Popen(command, cwd=tmp_path_factory.mktemp("shop"), env=environment) as process,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        try:
            wait_until_started(client, process)
            yield client
        finally:
            process.terminate()


@pytest.fixture
def tea(shop: httpx2.Client) -> Generator[str]:
    """The path of an item."""
    response = shop.post("/items", json={"name": "tea", "price": "2.50"})
    path = f"/items/{response.json()['id']}"
    yield path
    shop.delete(path)


def test_an_item_is_created_and_read(shop: httpx2.Client, tea: str) -> None:
    response = shop.get(tea)

    assert response.status_code == 200
    assert response.json()["name"] == "tea"
    assert float(response.json()["price"]) == 2.5


def test_a_second_item_of_the_same_name_is_answered_with_409(shop: httpx2.Client, tea: str) -> None:
    response = shop.post("/items", json={"name": "tea", "price": 3})

    assert response.status_code == 409
    assert response.json() == {"detail": "Another row already has the same name"}


def test_patch_changes_what_it_names(shop: httpx2.Client, tea: str) -> None:
    response = shop.patch(tea, json={"price": "3.25"})

    assert response.json()["name"] == "tea"
    assert float(response.json()["price"]) == 3.25


def test_a_discount_lowers_the_price(shop: httpx2.Client, tea: str) -> None:
    assert float(shop.post(f"{tea}/discount?percent=10").json()["price"]) == 2.25
    assert shop.post(f"{tea}/discount?percent=100").status_code == 422


def test_items_are_listed_up_to_a_price(shop: httpx2.Client, tea: str) -> None:
    assert [item["name"] for item in shop.get("/items").json()] == ["tea"]
    assert [item["name"] for item in shop.get("/items?cheaper_than=2.51").json()] == ["tea"]
    assert shop.get("/items?cheaper_than=2.50").json() == []


def test_a_deleted_item_is_gone(shop: httpx2.Client, tea: str) -> None:
    assert shop.delete(tea).status_code == 204
    assert shop.get(tea).status_code == 404
    assert shop.get(tea).json() == {"detail": "Item not found"}
