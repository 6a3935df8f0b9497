"""Jobs that are handed to a queue, and what a worker does with them."""

# No deferred annotations: FastAPI could not look up what is defined inside a function.

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import MetaData
from sqlalchemy.orm import Mapped, mapped_column

from layered_backend import (
    Background,
    Base,
    BaseRepository,
    FailedJob,
    InvalidDataError,
    Job,
    JobQueue,
    JobRunner,
    Lock,
    LockTimeoutError,
    NotFoundError,
    UnitOfWorkError,
    background_idle,
    current_request_id,
    install,
    run_in_background,
    uow_dependency,
)
from layered_backend.models import IntegerPrimaryKey
from tests.databases import Shop
from tests.shop import Document, ShopUnitOfWork, add_item

ShopUOW = Annotated[ShopUnitOfWork, Depends(uow_dependency(ShopUnitOfWork))]


class MemoryQueue:
    """Keeps jobs as text, as a queue outside of the process would."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def enqueue(self, job: Job) -> None:
        await asyncio.sleep(0)
        self.texts.append(job.to_json())


class BrokenQueue:
    async def enqueue(self, job: Job) -> None:
        raise ConnectionError("the broker is gone")


@dataclass(frozen=True)
class Clerk:
    name: str


seen: list[object] = []


async def rename(uow: ShopUnitOfWork, item_id: int, name: str) -> None:
    await uow.items.update(item_id, {"name": name})


async def note(uow: ShopUnitOfWork, document_id: uuid.UUID, day: date, *prices: Decimal) -> None:
    seen.extend((document_id, day, *prices, uow.actor, current_request_id()))


async def add_on_second_try(uow: ShopUnitOfWork) -> None:
    seen.append("tried")
    await add_item(uow, "tea")
    if len(seen) < 2:
        raise LockTimeoutError


async def chain(uow: ShopUnitOfWork, name: str) -> None:
    tea = await add_item(uow, name)
    run_in_background(chained, ShopUnitOfWork, rename, tea.id, "green tea")


chained = MemoryQueue()


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()
    chained.texts.clear()


def application(shop: Shop, background: Background | None = None) -> FastAPI:
    app = FastAPI()
    install(app, ShopUnitOfWork, database=shop.database, background=background)
    return app


async def post(app: FastAPI, path: str = "/", **options: Any) -> httpx2.Response:
    async with _client(app) as client:
        response = await client.post(path, **options)
    await background_idle(app)
    return response


@asynccontextmanager
async def _client(app: FastAPI) -> AsyncGenerator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
        yield client


class TestHandingOver:
    async def test_a_job_is_handed_over_after_the_commit_only(self, async_shop: Shop) -> None:
        app, queue = application(async_shop), MemoryQueue()

        @app.post("/")
        async def create(uow: ShopUOW, name: str, status: int = 0) -> None:
            tea = await add_item(uow, name)
            run_in_background(queue, ShopUnitOfWork, rename, tea.id, f"green {name}")
            assert queue.texts == []
            if status:
                raise HTTPException(status)

        await post(app, "/?name=coffee&status=418")
        assert queue.texts == []
        await post(app, "/?name=tea")
        [text] = queue.texts
        await JobRunner(ShopUnitOfWork, [rename], database=async_shop.database).run(Job.from_json(text))

        assert await async_shop.names() == ["green tea"]

    async def test_without_a_unit_of_work_it_is_handed_over_at_once(self, sqlite_shop: Shop) -> None:
        app, queue = application(sqlite_shop), MemoryQueue()

        @app.post("/")
        async def create() -> None:
            run_in_background(queue, ShopUnitOfWork, rename, 1, "tea")

        await post(app)

        assert len(queue.texts) == 1

    @pytest.mark.parametrize("path", ["/with", "/without"])
    async def test_a_queue_that_fails_is_logged_and_told(
        self, sqlite_shop: Shop, path: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        failures: list[FailedJob] = []
        app = application(sqlite_shop, Background(on_error=failures.append))

        @app.post("/with")
        async def create_with(uow: ShopUOW) -> None:
            run_in_background(BrokenQueue(), ShopUnitOfWork, rename, 7, "tea")

        @app.post("/without")
        async def create_without() -> None:
            run_in_background(BrokenQueue(), ShopUnitOfWork, rename, 7, "tea")

        assert (await post(app, path)).status_code == 200

        assert [(failed.ids, str(failed.error)) for failed in failures] == [((7, "tea"), "the broker is gone")]
        assert "rename(7, 'tea') failed; its work is not in the queue" in caplog.text

    async def test_a_worker_without_an_application_hands_over_too(self, sqlite_shop: Shop) -> None:
        runner = JobRunner(ShopUnitOfWork, [chain, rename], database=sqlite_shop.database)

        await runner.run(Job.of(ShopUnitOfWork, chain, "tea"))
        await runner.run(Job.from_json(chained.texts.pop()))

        assert await sqlite_shop.names() == ["green tea"]
        with pytest.raises(UnitOfWorkError, match=r"write `await queue.enqueue\(Job.of"):
            run_in_background(chained, ShopUnitOfWork, rename, 1, "tea")

    async def test_the_actor_and_the_request_id_go_with_it(self, sqlite_shop: Shop) -> None:
        app, queue = application(sqlite_shop), MemoryQueue()
        document_id = uuid.uuid4()

        @app.post("/")
        async def create(uow: ShopUOW) -> None:
            uow.actor = Clerk("anna")
            run_in_background(queue, ShopUnitOfWork, note, document_id, date(2026, 1, 2), Decimal("1.10"), Decimal(2))

        await post(app, headers={"X-Request-ID": "abc-1"})
        job = Job.from_json(queue.texts[0])
        runner = JobRunner(ShopUnitOfWork, [note], database=sqlite_shop.database, actor=Clerk)
        await runner.run(job)

        assert seen == [document_id, date(2026, 1, 2), Decimal("1.10"), Decimal(2), Clerk("anna"), "abc-1"]
        assert current_request_id() is None


class TestTheWorker:
    @pytest.mark.parametrize("is_synchronous", [False, True])
    async def test_with_one_attempt_it_runs_once(self, sqlite_shop: Shop, is_synchronous: bool) -> None:
        runner = JobRunner(ShopUnitOfWork, [add_on_second_try], database=sqlite_shop.database)
        job = Job.of(ShopUnitOfWork, add_on_second_try, attempts=1)

        with pytest.raises(LockTimeoutError):
            await (asyncio.to_thread(runner.run_sync, job) if is_synchronous else runner.run(job))

        assert len(seen) == 1

    @pytest.mark.parametrize("is_synchronous", [False, True])
    async def test_a_transient_error_runs_it_again(self, sqlite_shop: Shop, is_synchronous: bool) -> None:
        runner = JobRunner(ShopUnitOfWork, [add_on_second_try], database=sqlite_shop.database)
        job = Job.of(ShopUnitOfWork, add_on_second_try)

        await (asyncio.to_thread(runner.run_sync, job) if is_synchronous else runner.run(job))

        assert await sqlite_shop.names() == ["tea"]
        assert len(seen) == 2

    async def test_nothing_is_run_because_a_queue_names_it(self, sqlite_shop: Shop) -> None:
        runner = JobRunner(ShopUnitOfWork, [rename], database=sqlite_shop.database)
        known = Job.of(ShopUnitOfWork, rename, 1, "tea")

        for job in (
            Job.of(ShopUnitOfWork, note, uuid.uuid4(), date(2026, 1, 2)),
            Job(work="os:system", unit_of_work=known.unit_of_work, ids=("true",)),
            Job(work=known.work, unit_of_work="shop:OtherUnitOfWork", ids=known.ids),
        ):
            assert not runner.knows(job)
            with pytest.raises(InvalidDataError, match=r"is not known to the runner of .*:ShopUnitOfWork, which runs"):
                await runner.run(job)
        assert runner.knows(known)

    @pytest.mark.parametrize("ids", [(), (1,), ("one", "tea"), (1, "tea", 2), (1, {"a": 1})])
    async def test_ids_of_another_type_are_refused(self, sqlite_shop: Shop, ids: tuple[Any, ...]) -> None:
        runner = JobRunner(ShopUnitOfWork, [rename], database=sqlite_shop.database)
        job = Job.of(ShopUnitOfWork, rename, 1, "tea")

        with pytest.raises(InvalidDataError, match=r"ids of the job .*rename are not what it takes"):
            await runner.run(Job(work=job.work, unit_of_work=job.unit_of_work, ids=ids))

    async def test_an_actor_of_another_type_is_refused(self, sqlite_shop: Shop) -> None:
        runner = JobRunner(ShopUnitOfWork, [rename], database=sqlite_shop.database, actor=Clerk)
        job = Job.of(ShopUnitOfWork, rename, 1, "tea")

        with pytest.raises(InvalidDataError, match="the actor of the job"):
            await runner.run(Job(work=job.work, unit_of_work=job.unit_of_work, ids=job.ids, actor="anna"))


class TestTheJob:
    def test_it_is_the_same_after_the_way_through_a_queue(self) -> None:
        job = Job.of(ShopUnitOfWork, note, uuid.uuid4(), date(2026, 1, 2), Decimal("1.1"), attempts=2)

        assert Job.from_json(job.to_json()) == job
        assert Job.from_json(job.to_json()[:-1] + ',"added_in_a_later_release":1}') == job
        assert job.id != Job.of(ShopUnitOfWork, add_on_second_try).id

    @pytest.mark.parametrize(
        "change",
        [{"request_id": "a\nb"}, {"attempts": 0}, {"ids": "abc"}, {"work": None}],
    )
    def test_text_that_is_no_job_is_refused_without_its_values(self, change: dict[str, Any]) -> None:
        text = json.dumps(json.loads(Job.of(ShopUnitOfWork, rename, 1, "tea").to_json()) | change)

        with pytest.raises(InvalidDataError, match=f"the text is not a job: {next(iter(change))}"):
            Job.from_json(text)
        with pytest.raises(InvalidDataError, match="the text is not a job"):
            Job.from_json("no JSON")

    async def test_what_a_queue_could_not_hold_is_refused_at_once(self, sqlite_shop: Shop) -> None:
        async def local(uow: ShopUnitOfWork) -> None: ...

        async with sqlite_shop.unit() as uow:
            with pytest.raises(TypeError, match="local is not at the top level of its module"):
                run_in_background(MemoryQueue(), ShopUnitOfWork, local)
            with pytest.raises(TypeError, match="an id is a object, which JSON cannot hold"):
                run_in_background(MemoryQueue(), ShopUnitOfWork, add_object, object())
            uow.actor = object()
            with pytest.raises(TypeError, match="the actor is a object"):
                run_in_background(MemoryQueue(), ShopUnitOfWork, add_on_second_try)


async def add_object(uow: ShopUnitOfWork, value: object) -> None: ...


class Message(IntegerPrimaryKey, Base):
    """A job that waits, written in the transaction that causes it."""

    metadata = MetaData()

    __tablename__ = "messages"

    job: Mapped[str] = mapped_column()


class OutboxUnitOfWork(ShopUnitOfWork):
    messages: BaseRepository[Message]


async def title(uow: OutboxUnitOfWork, document_id: uuid.UUID, text: str) -> None:
    await uow.documents.update(document_id, {"title": text})
    if text == "bad":
        raise KeyError(text)


class TestATableAsAQueue:
    """A real queue, on each database: what is in it is committed with the rest, and taken by one worker."""

    async def test_each_job_takes_effect_once_whatever_fails_and_however_many_workers_there_are(
        self, async_shop: Shop
    ) -> None:
        await async_shop.database.create_all(Message.metadata)
        runner = JobRunner(OutboxUnitOfWork, [title], database=async_shop.database)
        async with OutboxUnitOfWork(async_shop.database) as uow:
            for number in range(10):
                document = await uow.documents.create({"title": "new"})
                job = Job.of(OutboxUnitOfWork, title, document.id, "bad" if number == 3 else f"title {number}")
                await uow.messages.create({"job": job.to_json()})

        async def next_message(uow: OutboxUnitOfWork) -> Message | None:
            lock = Lock.update(skip_locked=True)
            waiting = await uow.messages.list(limit=1, order_by=Message.id)
            return await uow.messages.get_or_none(waiting[0].id, lock=lock) if waiting else None

        async def work_off() -> None:
            for _ in range(30):
                async with OutboxUnitOfWork(async_shop.database) as uow:
                    message = await next_message(uow)
                    if message is None:
                        continue
                    await uow.messages.delete(message)
                    try:
                        async with uow.savepoint():
                            await runner.perform(uow, Job.from_json(message.job))
                    except KeyError:
                        seen.append("bad")

        await asyncio.gather(work_off(), work_off())

        async with OutboxUnitOfWork(async_shop.database) as uow:
            assert await uow.messages.count() == 0
            titles = sorted(document.title for document in await uow.repository(BaseRepository[Document]).list())
        assert titles == sorted(["new", *(f"title {number}" for number in range(10) if number != 3)])
        assert seen == ["bad"]


async def test_a_job_that_is_performed_has_its_actor_and_leaves_the_workers_own(async_shop: Shop) -> None:
    seen.clear()
    async with ShopUnitOfWork(async_shop.database, actor=Clerk("ann")) as uow:
        job = Job.of(ShopUnitOfWork, note, uuid.UUID(int=7), date(2026, 1, 2))
    runner = JobRunner(ShopUnitOfWork, [note], actor=Clerk)

    async with ShopUnitOfWork(async_shop.database, actor=Clerk("worker")) as uow:
        await runner.perform(uow, job)
        assert uow.actor == Clerk("worker")

    assert Clerk("ann") in seen
    assert Clerk("worker") not in seen


async def test_a_job_that_fails_leaves_the_workers_own_actor_too(async_shop: Shop) -> None:
    job = Job.of(ShopUnitOfWork, rename, 99, "cup")

    async with ShopUnitOfWork(async_shop.database, actor=Clerk("worker")) as uow:
        with pytest.raises(NotFoundError):
            await JobRunner(ShopUnitOfWork, [rename]).perform(uow, job)
        assert uow.actor == Clerk("worker")


def _is_a_queue(queue: JobQueue) -> JobQueue:  # for the type checkers
    return queue


_is_a_queue(MemoryQueue())
