from __future__ import annotations

from typing import Any

from layered_backend.memoization import memoized


def test_what_a_client_chooses_does_not_fill_the_memory() -> None:
    @memoized
    def doubled(number: int) -> int:
        return 2 * number

    assert [doubled(number) for number in range(3_000)][-1] == 5_998
    remembering: Any = doubled
    assert remembering.cache_info().currsize <= 1_000
