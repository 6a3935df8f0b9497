"""Many rows of which some are there already, in whatever order and however often, are as if they came one by one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import true

from layered_backend import Scope, UniqueViolationError
from layered_backend.query.scope import ActiveScopes
from tests.databases import Shop, backends_of
from tests.samples import (
    Coin,
    Reader,
    on_each_database,
    readers_by_address,
    readers_by_place,
    repository_of,
    stored,
    with_samples,
)
from tests.shop import ShopUnitOfWork

OLD: list[dict[str, Any]] = [{"address": "a", "note": "old"}, {"shelf": 1, "place": 2, "note": "old"}]


@pytest.fixture
async def mapped(shop: Shop) -> AsyncGenerator[Shop]:
    async for prepared in with_samples(shop):
        yield prepared


class TestUpsertMany:
    @on_each_database
    @given(
        st.lists(readers_by_address, max_size=8), st.sampled_from([None, Reader.note, (Reader.color, Reader.note), ()])
    )
    async def test_rows_of_a_batch_are_those_that_come_one_by_one(
        self, mapped: Shop, rows: list[dict[str, Any]], update: Any
    ) -> None:
        await self._assert_same(mapped, rows, on=Reader.address, update=update)

    @on_each_database
    @given(st.lists(readers_by_place, max_size=8))
    async def test_keys_of_two_columns_meet_alike(self, mapped: Shop, rows: list[dict[str, Any]]) -> None:
        await self._assert_same(mapped, rows, on=(Reader.shelf, Reader.place))

    async def _assert_same(self, shop: Shop, rows: list[dict[str, Any]], **options: Any) -> None:
        async def work(uow: ShopUnitOfWork) -> None:
            readers = repository_of(uow, Reader)
            await readers.create_many(OLD)
            await readers.upsert_many(rows, **options)
            many = await stored(uow, Reader)
            await readers.delete_where(true())
            await readers.create_many(OLD)
            for row in rows:
                await readers.upsert_many([row], **options)
            assert many == await stored(uow, Reader)
            await uow.rollback()

        await shop.run(work)

    async def test_of_rows_with_one_key_the_last_one_counts(self, mapped: Shop) -> None:
        rows = [
            {"address": "a", "note": "1", "color": "red"},
            {"address": "b", "note": "1"},
            {"address": "a", "note": "2"},
            {"address": "A", "note": "3"},
            {"address": "a", "color": "blue"},
        ]

        async def work(uow: ShopUnitOfWork) -> None:
            await repository_of(uow, Reader).upsert_many(rows, on=Reader.address)
            a, b = await repository_of(uow, Reader).list(order_by=Reader.address)
            assert (a.note, a.color, a.version) == ("3", "blue", 4)
            assert (b.note, b.color, b.version) == ("1", "white", 1)

        await mapped.run(work)

    async def test_a_criterion_that_is_a_list_keeps_rows_out_of_reach(self, mapped: Shop) -> None:
        scopes = ActiveScopes([Scope(Reader, lambda cls: cls.color.in_(["white", "red"]), name="bright")])

        async def work(uow: ShopUnitOfWork) -> None:
            await repository_of(uow, Reader).create_many([{"address": "a"}, {"address": "b", "color": "black"}])
            scopes.carry(uow.session.info)
            await repository_of(uow, Reader).upsert_many(
                [{"address": each, "note": "new"} for each in ("a", "c", "d")], on=Reader.address
            )
            with pytest.raises(UniqueViolationError):
                await repository_of(uow, Reader).upsert_many(
                    [{"address": each, "note": "newer"} for each in ("a", "b")], on=Reader.address
                )
            with scopes.without("bright"):
                readers = await repository_of(uow, Reader).list(order_by=Reader.address)
            assert [(each.address, each.note) for each in readers] == [
                ("a", "newer"),
                ("b", None),
                ("c", "new"),
                ("d", "new"),
            ]

        await mapped.run(work)


@pytest.mark.parametrize("shop", backends_of("postgresql"), indirect=True, ids=str)
async def test_keys_that_only_the_server_takes_for_equal_are_written_one_after_the_other(mapped: Shop) -> None:
    async def work(uow: ShopUnitOfWork) -> None:
        coins = repository_of(uow, Coin)
        pairs_of: dict[Any, list[tuple[Any, Any]]] = {
            Coin.code: [("a", "b"), ("a ", "b "), ("a", "b")],
            Coin.worth: [(Decimal("0.101"), 2), (Decimal("0.102"), 2), (Decimal("0.103"), 2)],
            Coin.weight: [(0.1, 2.0), (0.1 + 1e-12, 2.0), (0.1, 2.0)],
        }
        for key, pairs in pairs_of.items():
            rows = [{key.key: value, "note": note} for note, pair in enumerate(pairs) for value in pair]
            await coins.upsert_many(rows, on=key)
            assert [coin.note for coin in await coins.list()] == [2, 2]
            await coins.delete_where(true())

    await mapped.run(work)
