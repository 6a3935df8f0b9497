from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from layered_backend import BaseRepository, NotFoundError, Outcome, UnitOfWorkError
from layered_backend.testing import mock_repository, mock_uow, mocked
from tests.shop import Country, Document, Item, ItemCreate, ItemRepository, ItemService, Meter, ShopUnitOfWork


def tea() -> Item:
    return Item(id=1, name="tea", price=Decimal(4))


class TestRepository:
    async def test_its_methods_are_awaited_and_told_what_to_return(self) -> None:
        items = mock_repository(ItemRepository)
        mocked(items.get).return_value = tea()
        mocked(items.cheaper_than).return_value = [tea()]

        assert (await items.get(1)).name == "tea"
        assert len(await items.cheaper_than(Decimal(5))) == 1
        mocked(items.get).assert_awaited_once_with(1)

    async def test_a_method_that_the_class_does_not_have_is_an_error(self) -> None:
        items: Any = mock_repository(ItemRepository)

        with pytest.raises(AttributeError, match="get_by_name"):
            items.get_by_name("tea")
        with pytest.raises(AttributeError, match="get_by_name"):
            items.get_by_name = 1

    async def test_arguments_that_the_method_does_not_take_are_an_error(self) -> None:
        items: Any = mock_repository(ItemRepository)

        with pytest.raises(TypeError, match="lokc"):
            items.get(1, lokc=True)
        with pytest.raises(TypeError, match="price"):
            items.cheaper_than()

    async def test_it_is_one_of_its_class_and_knows_its_model(self) -> None:
        documents = mock_repository(BaseRepository[Document])

        assert isinstance(mock_repository(ItemRepository), ItemRepository)
        assert documents.model is Document
        assert mock_repository(BaseRepository[Any], Meter).model is Meter

    async def test_an_error_is_raised_where_it_is_told_to(self) -> None:
        items = mock_repository(ItemRepository)
        mocked(items.get).side_effect = NotFoundError("Item", 7)

        with pytest.raises(NotFoundError):
            await items.get(7)

    async def test_a_stream_yields_what_it_is_told_to(self) -> None:
        items: Any = mock_repository(ItemRepository)
        items.stream.return_value.__aiter__.return_value = [tea()]

        assert [item.name async for item in items.stream(batch_size=10)] == ["tea"]


class TestUnitOfWork:
    async def test_its_repositories_are_mocks_of_the_annotated_classes(self) -> None:
        uow = mock_uow(ShopUnitOfWork)
        untyped: Any = uow

        assert isinstance(uow.items, ItemRepository)
        assert uow.repository(ItemRepository) is uow.items
        assert uow.documents.model is Document
        assert uow.countries.model is Country
        with pytest.raises(AttributeError):
            untyped.orders  # noqa: B018
        with pytest.raises(AttributeError):
            untyped.items.get_by_name("tea")

    async def test_a_service_works_with_them(self) -> None:
        uow = mock_uow(ShopUnitOfWork)
        mocked(uow.items.get).return_value = tea()
        mocked(uow.items.update).return_value = tea()

        service = ItemService.of(uow)
        await service.discount(1, 25)

        assert service.repository is uow.items
        mocked(uow.items.update).assert_awaited_once()
        assert ItemService(ItemRepository, Item, uow).repository is uow.items

    async def test_it_commits_and_runs_its_hooks_at_the_end_of_the_block(self) -> None:
        told: list[str] = []
        async with mock_uow(ShopUnitOfWork) as uow:
            uow.on_commit(lambda: told.append("at the end"))
            assert uow.outcome is Outcome.OPEN
        assert (told, uow.outcome) == (["at the end"], Outcome.COMMITTED)

    async def test_it_rolls_back_where_the_block_raises(self) -> None:
        told: list[str] = []
        uow = mock_uow(ShopUnitOfWork)

        with pytest.raises(ZeroDivisionError):
            async with uow:
                uow.on_commit(lambda: told.append("never"))
                raise ZeroDivisionError

        assert (told, uow.outcome) == ([], Outcome.ROLLED_BACK)

    async def test_it_need_not_be_entered(self) -> None:
        told: list[str] = []
        uow = mock_uow(ShopUnitOfWork, actor="ann")
        uow.on_commit(lambda: told.append("committed"))
        await uow.flush()
        await uow.commit()
        uow.on_commit(lambda: told.append("never"))
        await uow.rollback()

        assert (told, uow.outcome, uow.actor) == (["committed"], Outcome.COMMITTED, "ann")

    async def test_a_savepoint_that_fails_drops_its_hooks(self) -> None:
        told: list[str] = []
        async with mock_uow(ShopUnitOfWork) as uow:
            async with uow.savepoint():
                uow.on_commit(lambda: told.append("kept"))
            with pytest.raises(ZeroDivisionError):
                async with uow.savepoint():
                    uow.on_commit(lambda: told.append("dropped"))
                    raise ZeroDivisionError

        assert told == ["kept"]

    def test_it_works_without_an_event_loop(self) -> None:
        told: list[str] = []
        with mock_uow(ShopUnitOfWork) as uow:
            mocked(uow.items.get).return_value = tea()
            with uow.savepoint():
                uow.on_commit(lambda: told.append("committed"))
            assert uow.run(uow.items.get(1)).name == "tea"

        assert told == ["committed"]

    async def test_its_session_says_that_there_is_no_database(self) -> None:
        with pytest.raises(UnitOfWorkError, match="a mock has no database; take the fixture `uow`"):
            async with mock_uow(ShopUnitOfWork) as uow:
                await uow.session.get(Item, 1)


async def test_the_example_of_the_guide() -> None:
    uow = mock_uow(ShopUnitOfWork)
    mocked(uow.items.create).return_value = Item(id=1, name="Test Item", price=Decimal(10))
    service = ItemService.of(uow)
    item_in = ItemCreate(name="Test Item", price=Decimal(10))

    result = await service.create(item_in)

    assert result.name == "Test Item"
    mocked(uow.items.create).assert_awaited_once_with(item_in)
