"""Files of rows: what is written is read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layered_backend.errors import SeedPlanError
from layered_backend.seeding.files import FileRows, text_of

_texts = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ["no", "007", "null", "1e3", "2024-02-29", "~", "é\x85\u2028\u2029"]
)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts,
    lambda children: st.lists(children, max_size=2) | st.dictionaries(_texts, children, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".ndjson", ".yaml", ".yml"])
@given(rows=st.lists(st.dictionaries(_texts, _values, min_size=1, max_size=3), max_size=3))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, rows: list[dict[str, Any]]
) -> None:
    path: Path = tmp_path_factory.getbasetemp() / f"rows{suffix}"
    path.write_text(text_of(rows, suffix), encoding="utf-8", newline="")

    assert json.dumps(list(FileRows(path))) == json.dumps(rows)


def test_other_files_are_not_written() -> None:
    with pytest.raises(SeedPlanError, match=r"written to \.json, .* and \.yml, not to '\.csv'"):
        text_of([], ".csv")
