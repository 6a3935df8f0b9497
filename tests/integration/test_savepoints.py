"""Errors at the edges of a savepoint undo it alone, and entities keep their identity through its rollback."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ForeignKey, MetaData, select, text
from sqlalchemy.orm import Mapped, Session, load_only, mapped_column

from layered_backend import Base as LibraryBase
from layered_backend import (
    Database,
    ForeignKeyViolationError,
    IntegerPrimaryKey,
    LayeredError,
    RolledBackError,
    UniqueViolationError,
    UnitOfWork,
    UnitOfWorkError,
)
from tests.databases import Shop
from tests.shop import Category, Item, ShopUnitOfWork, add_item, violate

Edge = Callable[[ShopUnitOfWork], AbstractAsyncContextManager[Any]]


@asynccontextmanager
async def _begin_nested_on_the_inner_session(uow: ShopUnitOfWork) -> AsyncGenerator[None]:
    """Open a savepoint as code of SQLAlchemy's does that knows the synchronous session alone."""
    nested = await uow.session.run_sync(lambda session: session.begin_nested().__enter__())
    try:
        yield
    except BaseException as raised:
        error = raised
        await uow.session.run_sync(lambda _: nested.__exit__(type(error), error, None))
        raise
    await uow.session.run_sync(lambda _: nested.__exit__(None, None, None))


async def _take_a_name(uow: ShopUnitOfWork) -> None:
    (await uow.items.one(Item.name == "coffee")).name = "tea"


async def _add_a_name(uow: ShopUnitOfWork) -> None:
    uow.session.add(Item(name="tea", price=1))


async def _refer_to_nothing(uow: ShopUnitOfWork) -> None:
    (await uow.items.one(Item.name == "coffee")).category_id = 404


PENDING = {
    "an update": (_take_a_name, UniqueViolationError),
    "an insert": (_add_a_name, UniqueViolationError),
    "a reference": (_refer_to_nothing, ForeignKeyViolationError),
}
EDGES: dict[str, Edge] = {
    "savepoint": lambda uow: uow.savepoint(),
    "begin_nested": lambda uow: uow.session.begin_nested(),
    "inner": _begin_nested_on_the_inner_session,
}
Change = tuple[Callable[[ShopUnitOfWork], Awaitable[None]], type[LayeredError]]


@pytest.fixture(params=list(PENDING.values()), ids=list(PENDING))
def pending(request: pytest.FixtureRequest) -> Change:
    """A change that the session has not sent yet, and that fails when it does."""
    change: Change = request.param
    return change


@pytest.fixture
async def stocked(shop: Shop) -> Shop:
    async def add(uow: ShopUnitOfWork) -> None:
        await uow.items.create_many([{"name": "tea", "price": 1}, {"name": "coffee", "price": 1}])

    await shop.run(add)
    return shop


def _edges_of(shop: Shop) -> list[Edge]:
    """Return the ways to open a savepoint; SQLAlchemy's own is awaited only."""
    return [edge for name, edge in EDGES.items() if shop.backend.asynchronous or name != "begin_nested"]


class TestAnErrorAtTheEnd:
    async def test_undoes_the_savepoint_alone(self, stocked: Shop, pending: Change) -> None:
        change, kind = pending
        hooks: list[str] = []

        async def work(uow: ShopUnitOfWork) -> None:
            uow.on_commit(lambda: hooks.append("before"))
            await add_item(uow, "milk")
            for edge in _edges_of(stocked):
                with pytest.raises(kind):
                    async with edge(uow):
                        uow.on_commit(lambda: hooks.append("inside"))
                        await add_item(uow, "cocoa")
                        await change(uow)
            await add_item(uow, "sugar")

        await stocked.run(work)

        assert await stocked.names() == ["tea", "coffee", "milk", "sugar"]
        assert hooks == ["before"]

    async def test_undoes_the_inner_savepoint_alone(self, stocked: Shop, pending: Change) -> None:
        change, kind = pending

        async def work(uow: ShopUnitOfWork) -> None:
            async with uow.savepoint():
                await add_item(uow, "milk")
                with pytest.raises(kind):
                    async with uow.savepoint():
                        await change(uow)
                await add_item(uow, "sugar")

        await stocked.run(work)

        assert await stocked.names() == ["tea", "coffee", "milk", "sugar"]


@pytest.mark.filterwarnings("ignore:Session's state has been changed on a non-active transaction")
async def test_a_flush_after_one_that_has_undone_the_savepoint_undoes_no_more(stocked: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        await add_item(uow, "milk")
        coffee = await uow.items.one(Item.name == "coffee")
        with pytest.raises(RolledBackError):
            async with uow.savepoint():
                with pytest.raises(UniqueViolationError):
                    await uow.items.update(coffee, {"name": "tea"})
                await uow.session.run_sync(lambda session: session.connection())
        with pytest.raises(RolledBackError):
            async with uow.savepoint():
                with pytest.raises(UniqueViolationError):
                    await uow.items.update(coffee.id, {"name": "tea"})
                await add_item(uow, "cocoa")
        await add_item(uow, "sugar")

    await stocked.run(work)

    assert await stocked.names() == ["tea", "coffee", "milk", "sugar"]


class TestAnErrorAtTheBeginning:
    async def test_undoes_the_pending_change_alone(self, stocked: Shop, pending: Change) -> None:
        change, kind = pending

        async def work(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "milk")
            for edge in _edges_of(stocked):
                await change(uow)
                with pytest.raises(kind):
                    async with edge(uow):
                        pytest.fail("the savepoint was opened")
            await add_item(uow, "sugar")

        await stocked.run(work)

        assert await stocked.names() == ["tea", "coffee", "milk", "sugar"]

    async def test_leaves_the_savepoint_around_it_as_it_is(self, stocked: Shop, pending: Change) -> None:
        change, kind = pending

        async def work(uow: ShopUnitOfWork) -> None:
            async with uow.savepoint():
                await add_item(uow, "milk")
                await change(uow)
                with pytest.raises(kind):
                    async with uow.savepoint():
                        pytest.fail("the savepoint was opened")
                await add_item(uow, "sugar")

        await stocked.run(work)

        assert await stocked.names() == ["tea", "coffee", "milk", "sugar"]

    async def test_what_was_pending_and_is_right_outlives_the_savepoint(self, stocked: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            for number, edge in enumerate(_edges_of(stocked)):
                coffee = await uow.items.one(Item.name == "coffee")
                coffee.note = f"strong {number}"
                uow.session.add(Item(name=f"milk {number}", price=1))
                with pytest.raises(KeyError):
                    async with edge(uow):
                        raise KeyError
                assert (await uow.items.one(Item.name == "coffee")).note == f"strong {number}"

        await stocked.run(work)

        assert (await stocked.names())[2:] == [f"milk {number}" for number, _ in enumerate(_edges_of(stocked))]


ERRORS: dict[str, Callable[[ShopUnitOfWork], Awaitable[object]]] = {
    "a flush": lambda uow: add_item(uow, "tea"),
    "a statement": violate,
}


@pytest.mark.filterwarnings("ignore:Session's state has been changed on a non-active transaction")
@pytest.mark.parametrize("fail", list(ERRORS.values()), ids=list(ERRORS))
class TestAnErrorThatTheBlockCatches:
    async def _go_on_after(self, fail: Callable[[ShopUnitOfWork], Awaitable[object]], uow: ShopUnitOfWork) -> None:
        await add_item(uow, "cocoa")
        coffee = await uow.items.one(Item.name == "coffee")
        milk = await uow.items.one(Item.name == "milk")
        with pytest.raises(UniqueViolationError):
            await fail(uow)
        coffee.note = "later"
        await uow.session.run_sync(lambda session: session.delete(milk))
        uow.session.add(Item(name="later", price=1))

    async def test_undoes_the_block_and_nothing_else(self, stocked: Shop, fail: Any) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "milk")
            for edge in _edges_of(stocked):
                with pytest.raises(
                    RolledBackError, match=r"UniqueViolationError on items\.name was caught inside"
                ) as caught:
                    async with edge(uow):
                        await self._go_on_after(fail, uow)
                assert isinstance(caught.value.__cause__, UniqueViolationError)
            await add_item(uow, "sugar")

        await stocked.run(work)

        assert await stocked.names() == ["tea", "coffee", "milk", "sugar"]
        assert await stocked.run(lambda uow: uow.items.exists(Item.note == "later")) is False

    async def test_undoes_the_unit_of_work_where_nobody_catches_it_again(self, stocked: Shop, fail: Any) -> None:
        for edge in _edges_of(stocked):
            await stocked.run(lambda uow: add_item(uow, "milk"))

            async def work(uow: ShopUnitOfWork, edge: Edge = edge) -> None:
                await add_item(uow, "sugar")
                async with edge(uow):
                    await self._go_on_after(fail, uow)

            with pytest.raises(RolledBackError):
                await stocked.run(work)

            assert await stocked.names() == ["tea", "coffee", "milk"]
            await stocked.run(lambda uow: uow.items.delete_where(Item.name == "milk"))

    async def test_is_not_forgotten_by_an_end_in_mid_block(self, stocked: Shop, fail: Any) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "milk")
            nested = await uow.session.run_sync(Session.begin_nested)
            await self._go_on_after(fail, uow)
            with pytest.raises(RolledBackError, match="was caught inside a savepoint"):
                await uow.session.run_sync(lambda _: nested.commit())
            await add_item(uow, "sugar")

        await stocked.run(work)

        assert await stocked.names() == ["tea", "coffee", "milk", "sugar"]


class TestAStatementAfterTheEndOfItsSavepoint:
    async def test_names_the_error_that_has_undone_it(self, stocked: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            for edge in _edges_of(stocked):
                with pytest.raises(RolledBackError):
                    async with edge(uow):
                        with pytest.raises(UniqueViolationError):
                            await add_item(uow, "tea")
                        with pytest.raises(
                            RolledBackError, match=r"^UniqueViolationError on items\.name was caught inside"
                        ):
                            await uow.session.execute(text("SELECT 1"))
            await add_item(uow, "sugar")

        await stocked.run(work)

        assert await stocked.names() == ["tea", "coffee", "sugar"]

    async def test_is_refused_in_its_block(self, stocked: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            nested = await uow.session.run_sync(lambda session: session.begin_nested().__enter__())
            await add_item(uow, "milk")
            await uow.session.run_sync(lambda _: nested.rollback())
            with pytest.raises(UnitOfWorkError, match="this savepoint has ended"):
                await uow.session.execute(text("SELECT 1"))
            await uow.session.run_sync(lambda _: nested.__exit__(None, None, None))
            await add_item(uow, "sugar")

        await stocked.run(work)

        assert await stocked.names() == ["tea", "coffee", "sugar"]

    async def test_says_that_the_connection_was_invalidated(self, stocked: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            await add_item(uow, "milk")
            await uow.session.run_sync(lambda session: session.connection().invalidate())
            with pytest.raises(RolledBackError, match=r"^the connection was invalidated"):
                await uow.items.count()

        with pytest.raises(RolledBackError, match=r"^the connection was invalidated"):
            await stocked.run(work)

        assert await stocked.names() == ["tea", "coffee"]


async def _undo_a_savepoint(uow: ShopUnitOfWork, change: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(KeyError):
        async with uow.savepoint():
            await change()
            raise KeyError


async def _roll_back(uow: ShopUnitOfWork, change: Callable[[], Awaitable[object]]) -> None:
    await change()
    await uow.rollback()


class TestAnEntityWhoseChangeWasUndone:
    @pytest.mark.parametrize("undo", [_undo_a_savepoint, _roll_back])
    async def test_can_say_its_key(self, shop: Shop, undo: Any) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            item = await add_item(uow, "tea")
            meter = await uow.meters.create({"serial": 7, "reading": 1})
            stock = await uow.stocks.create({"warehouse": "north", "item_code": 3, "amount": 5})
            await uow.commit()
            key = item.id

            async def change() -> None:
                await uow.items.update(item, {"note": "strong"})
                await uow.meters.update(meter, {"reading": 2})
                await uow.stocks.update(stock, {"amount": 6})

            await undo(uow, change)

            assert (item.id, meter.serial, stock.warehouse, stock.item_code) == (key, 7, "north", 3)
            assert (await uow.items.update(item.id, {"note": "weak"})).note == "weak"
            assert (await uow.meters.get(meter.serial)).reading == 1
            assert (await uow.stocks.get((stock.warehouse, stock.item_code))).amount == 5

        await shop.run(work)

    @pytest.mark.parametrize("read", ["first", "again", "more", "inside"])
    async def test_does_not_show_what_a_statement_had_changed(self, shop: Shop, read: str) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            kept: list[Item] = []

            async def look() -> None:
                query = select(Item).where(Item.name.in_(["tea", "coffee"]))
                kept.extend(await uow.session.scalars(query, execution_options={"populate_existing": read == "again"}))

            async def change() -> None:
                await uow.session.execute(text("UPDATE items SET note = 'undone'"))
                if read == "inside":
                    async with uow.savepoint():
                        await look()
                else:
                    await look()
                assert [item.note for item in kept[-2:]] == ["undone", "undone"]

            if read == "again":
                await look()
            elif read == "more":
                kept.extend(await uow.session.scalars(select(Item).options(load_only(Item.name))))
            for edge in _edges_of(shop):
                with pytest.raises(KeyError):
                    async with edge(uow):
                        await change()
                        raise KeyError
                for item in kept:
                    key = item.id
                    assert (await uow.items.get(key)).note == "kept"
                    assert item.note == "kept"
                if read != "again":
                    kept.clear()
                    uow.session.expunge_all()

        await shop.run(
            lambda uow: uow.items.create_many([{"name": n, "price": 1, "note": "kept"} for n in ("tea", "coffee")])
        )
        await shop.run(work)

    async def test_is_left_alone_where_it_was_read_before(self, stocked: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            before = await uow.items.one(Item.name == "tea")
            async with uow.savepoint():
                released = await uow.items.one(Item.name == "coffee")
            await _undo_a_savepoint(uow, uow.items.count)
            assert (before.name, released.name) == ("tea", "coffee")

        await stocked.run(work)

    async def test_has_nothing_that_belongs_to_the_undone_row(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            added: list[Item] = []

            async def add() -> None:
                added.append(await add_item(uow, "tea"))

            await _undo_a_savepoint(uow, add)
            assert await uow.items.count() == 0
            assert added[0] not in uow.session

        await shop.run(work)

    async def test_names_the_savepoint_where_something_cannot_be_read(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            item = await add_item(uow, "tea")
            await _undo_a_savepoint(uow, lambda: uow.items.update(item, {"note": "strong"}))
            with pytest.raises(UnitOfWorkError, match=r"^Item\b.* when a savepoint was rolled back; .*query"):
                _ = item.name
            await uow.items.get(item.id)
            assert item.name == "tea"
            await uow.commit()
            await uow.items.update(item, {"note": "strong"})
            await uow.rollback()
            with pytest.raises(UnitOfWorkError, match=r"^Item\b.* when the unit of work was rolled back; .*query"):
                _ = item.name

        await shop.run(work)

    async def test_of_another_class_is_left_alone(self, shop: Shop) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            category = await uow.categories.create({"name": "drinks"})
            item = await add_item(uow, "tea")
            await _undo_a_savepoint(uow, lambda: uow.items.update(item, {"note": "strong"}))
            assert category.name == "drinks"
            assert isinstance(category, Category)

        await shop.run(work)


class _Staff(IntegerPrimaryKey, LibraryBase):
    __tablename__ = "staff"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "staff"}  # noqa: RUF012  # SQLAlchemy's
    metadata = MetaData()

    kind: Mapped[str]


class _Engineer(_Staff):
    __tablename__ = "engineers"
    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012  # SQLAlchemy's

    engineer_id: Mapped[int] = mapped_column(ForeignKey("staff.id"), primary_key=True)
    language: Mapped[str]


class _Lead(_Engineer):
    __tablename__ = "leads"
    __mapper_args__ = {"polymorphic_identity": "lead"}  # noqa: RUF012  # SQLAlchemy's

    lead_id: Mapped[int] = mapped_column(ForeignKey("engineers.engineer_id"), primary_key=True)


async def test_each_name_of_an_inherited_key_can_be_read_after_a_rollback(tmp_path: Path) -> None:
    async with Database(f"sqlite:///{tmp_path / 'staff.db'}") as database:
        await database.create_all(_Staff.metadata)
        async with UnitOfWork(database) as uow:
            lead = _Lead(language="SQL")
            uow.session.add(lead)
            await uow.flush()
            with pytest.raises(KeyError):
                async with uow.savepoint():
                    lead.language = "COBOL"
                    await uow.flush()
                    raise KeyError

            assert (lead.id, lead.engineer_id, lead.lead_id) == (1, 1, 1)
