from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from layered_backend.testing import in_one_transaction, in_one_transaction_sync
from tests.databases import Shop


@pytest.fixture
async def bound(shop: Shop) -> AsyncGenerator[Shop]:
    """The test domain on each database, in one transaction that leaves nothing behind."""
    if shop.backend.asynchronous:
        async with in_one_transaction(shop.database) as one:
            yield shop
            assert one.is_idle
    else:
        with in_one_transaction_sync(shop.database) as one:
            yield shop
            assert one.is_idle
    assert await shop.names() == [], "the test has left rows behind"


@pytest.fixture
async def async_bound(async_shop: Shop) -> AsyncGenerator[Shop]:
    """The test domain on each database, awaited, in one transaction that leaves nothing behind."""
    async with in_one_transaction(async_shop.database) as one:
        yield async_shop
        assert one.is_idle
    assert await async_shop.names() == [], "the test has left rows behind"
