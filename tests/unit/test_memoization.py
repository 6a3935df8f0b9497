from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Integer, Table, orm

from layered_backend.memoization import memoized, unique


def test_what_a_client_chooses_does_not_fill_the_memory() -> None:
    @memoized
    def doubled(number: int) -> int:
        return 2 * number

    assert [doubled(number) for number in range(3_000)][-1] == 5_998
    remembering: Any = doubled
    assert remembering.cache_info().currsize <= 1_000


def test_what_is_known_by_its_identity_stays_the_same_when_a_class_is_mapped_later() -> None:
    @unique
    def made(number: int) -> object:
        return object()

    first = made(1)
    registry = orm.registry()

    class Late:
        pass

    registry.map_imperatively(Late, Table("late", registry.metadata, Column("id", Integer, primary_key=True)))
    registry.configure()

    assert made(1) is first
    registry.dispose()
