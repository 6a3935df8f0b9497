"""What an orchestrator is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI

from layered_backend import Database, UnitOfWorkError, health_router, install
from tests.databases import Shop
from tests.fastapi_seeding.seeders import ItemSeeder, application, client
from tests.shop import ShopUnitOfWork

DOWN = {"status": "not ready", "database": "down", "seeding": "off"}


@asynccontextmanager
async def silent_server() -> AsyncGenerator[int]:
    """Give the port of a server that accepts connections and never says a word."""
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


def watched(database: Database, time_limit: float = 2.0) -> FastAPI:
    app = FastAPI()
    install(app, ShopUnitOfWork, database=database)
    app.include_router(health_router(time_limit=time_limit))
    return app


async def test_a_process_that_answers_is_alive_whatever_its_database_does() -> None:
    async with client(watched(Database("postgresql://127.0.0.1:1/nowhere"))) as a_client:
        answer = await a_client.get("/health/live")

    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


async def test_an_application_whose_database_answers_is_ready(async_shop: Shop) -> None:
    async with client(watched(async_shop.database)) as a_client:
        answer = await a_client.get("/health/ready")

    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "database": "up", "seeding": "off"})
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_database_that_refuses_connections_is_down_and_what_it_says_goes_to_the_log_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with client(watched(Database("postgresql://user:secret@127.0.0.1:1/nowhere"))) as a_client:
        answer = await a_client.get("/health/ready")

    assert (answer.status_code, answer.json(), answer.headers["Retry-After"]) == (503, DOWN, "1")
    assert [record.getMessage()[:32] for record in caplog.records] == ["the database does not answer: th"]
    assert "secret" not in caplog.text


@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg", "mariadb+asyncmy"])
async def test_a_database_that_never_answers_is_down_in_time(driver: str, caplog: pytest.LogCaptureFixture) -> None:
    async with silent_server() as port:
        database = Database(f"{driver}://user@127.0.0.1:{port}/nowhere")
        async with asyncio.timeout(10), client(watched(database, time_limit=0.05)) as a_client:
            answers = [await a_client.get("/health/ready") for _ in range(3)]
        await _no_question_is_left()
        await database.dispose()

    assert [(answer.status_code, answer.json()) for answer in answers] == [(503, DOWN)] * 3
    assert caplog.messages == ["the database has not answered for 0.05 seconds"] * 3


async def test_a_question_that_cannot_be_cancelled_is_not_waited_for(
    sqlite_shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    is_over = asyncio.Event()

    async def hang() -> None:
        while not is_over.is_set():
            try:
                await is_over.wait()
            except asyncio.CancelledError:
                continue
        raise RuntimeError("the connection is dead")

    monkeypatch.setattr(sqlite_shop.database, "ping", hang)
    async with asyncio.timeout(10), client(watched(sqlite_shop.database, time_limit=0.05)) as a_client:
        answer = await a_client.get("/health/ready")
    is_over.set()
    await _no_question_is_left()

    assert (answer.status_code, answer.json()) == (503, DOWN)
    assert caplog.messages[-1] == "the database does not answer: the connection is dead"


async def test_a_pool_without_a_free_connection_is_down_in_time_and_up_again_afterwards(async_shop: Shop) -> None:
    async with client(watched(async_shop.database, time_limit=0.2)) as a_client:
        async with async_shop.unit(read_only=True) as first, async_shop.unit(read_only=True) as second:
            await first.items.list()
            await second.items.list()
            meanwhile = await a_client.get("/health/ready")
        afterwards = await a_client.get("/health/ready")

    assert (meanwhile.status_code, meanwhile.json()) == (503, DOWN)
    assert afterwards.status_code == 200


async def test_sqlite_is_up_while_somebody_writes(sqlite_shop: Shop) -> None:
    async with sqlite_shop.unit() as uow:
        await uow.categories.create({"name": "drinks"})
        async with client(watched(sqlite_shop.database)) as a_client:
            assert (await a_client.get("/health/ready")).status_code == 200


async def test_the_bodies_are_typed_in_the_openapi_document(sqlite_shop: Shop) -> None:
    document = application(sqlite_shop.database, ItemSeeder).openapi()
    schemas = document["components"]["schemas"]
    responses = document["paths"]["/health/ready"]["get"]["responses"]

    for status in ("200", "503"):
        reference = responses[status]["content"]["application/json"]["schema"]["$ref"]
        assert reference == "#/components/schemas/Readiness"
    assert schemas["SeedingState"]["enum"] == ["off", "pending", "done", "failed"]
    assert schemas["Readiness"]["required"] == ["status", "database", "seeding"]
    alive = document["paths"]["/health/live"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert alive["$ref"] == "#/components/schemas/Liveness"


async def test_the_prefix_is_the_applications_choice(sqlite_shop: Shop) -> None:
    app = FastAPI()
    install(app, ShopUnitOfWork, database=sqlite_shop.database)
    app.include_router(health_router(prefix=""))

    async with client(app) as a_client:
        assert [(await a_client.get(path)).status_code for path in ("/live", "/ready")] == [200, 200]


async def test_without_install_readiness_says_what_to_call() -> None:
    app = FastAPI()
    app.include_router(health_router())

    with pytest.raises(UnitOfWorkError, match=r"call install\(app, ShopUnitOfWork\)"):
        async with client(app) as a_client:
            await a_client.get("/health/ready")


@pytest.mark.parametrize("time_limit", [0, -1])
def test_no_time_at_all_is_refused(time_limit: float) -> None:
    with pytest.raises(ValueError, match="more than 0 seconds"):
        health_router(time_limit=time_limit)


async def _no_question_is_left() -> None:
    """Wait until the questions that nobody waits for have ended: cancelled, or with an error that is logged."""
    deadline = time.monotonic() + 10
    while any(task.get_name() == "health" for task in asyncio.all_tasks()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
