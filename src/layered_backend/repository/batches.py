"""Rows in batches, from any iterable, so that no more than one batch is in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from itertools import islice
from typing import TypeVar

__all__ = ["batched"]

T = TypeVar("T")


async def batched(rows: Iterable[T] | AsyncIterable[T], size: int) -> AsyncGenerator[list[T]]:
    """Yield *rows* in lists of at most *size*."""
    if isinstance(rows, Iterable):
        iterator = iter(rows)
        while batch := list(islice(iterator, size)):
            yield batch
        return
    batch = list[T]()
    async for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = list[T]()
    if batch:
        yield batch
