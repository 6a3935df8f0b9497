from __future__ import annotations

import inspect
import pickle
import re

import pytest

from layered_backend import errors
from layered_backend.errors import (
    CheckViolationError,
    CommitUnknownError,
    ConflictError,
    ForeignKeyViolationError,
    LayeredError,
    MultipleFoundError,
    NotFoundError,
    NotNullViolationError,
    SettingsError,
    StaleError,
    UniqueViolationError,
    UnknownFieldError,
    UnsupportedVersionError,
)


def _public_errors() -> set[str]:
    return {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, LayeredError) and not name.startswith("_")
    }


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│├└─ ]*)(\w+Error)$", line)
        if found:
            drawn.append((len(found[1]) // 4, found[2]))

    assert {name for _, name in drawn} == _public_errors() == set(errors.__all__)
    path: list[str] = []
    for depth, name in drawn:
        path = [*path[:depth], name]
        ancestors = [each.__name__ for each in getattr(errors, name).__mro__]
        assert [each for each in reversed(ancestors) if each in path] == path


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (NotFoundError("Item", 7), "Item 7 does not exist"),
        (NotFoundError("Item"), "no Item matches"),
        (MultipleFoundError("Item"), "more than one Item matches; narrow the criteria or use list()"),
        (UniqueViolationError(), "another row already has the same value"),
        (UniqueViolationError(columns=("a", "b")), "another row already has the same a and b"),
        (
            ForeignKeyViolationError(),
            "a reference refers to a row that does not exist, or the row is still referred to",
        ),
        (ForeignKeyViolationError(columns=("a",), is_referred_to=False), "the value of a refers to no row"),
        (ForeignKeyViolationError(columns=("a",), is_referred_to=True), "the row is still referred to"),
        (NotNullViolationError(), "a value is needed for a column"),
        (CheckViolationError(), "the data breaks a rule of its table"),
        (StaleError(), "the row was changed or deleted since it was read; read it again"),
        (ConflictError("shipped already"), "shipped already"),
        (ConflictError(), "the request contradicts what is stored"),
        (
            CommitUnknownError(),
            "the connection was lost during COMMIT; whether the work is saved is not known",
        ),
        (SettingsError({"DATABASE_URL": "is missing", "": "no"}), "DATABASE_URL is missing; no"),
        (UnknownFieldError("Item", "prise", ["price", "name"]), "Item has no field 'prise'; did you mean 'price'?"),
        (UnknownFieldError("Item", "zzz", ["price", "name"]), "Item has no field 'zzz'; it has name, price"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_is_a_sentence(error: LayeredError, sentence: str) -> None:
    assert str(error) == sentence


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("Item", (1, "a")),
        UniqueViolationError(constraint="uq_items_name", table="items", columns=("name",)),
        UnknownFieldError("Item", "prise", ["price"]),
        CommitUnknownError(),
        SettingsError({"DATABASE_URL": "is missing"}),
        UnsupportedVersionError("sqlalchemy", "3.0", ["Session._is_clean"], "2.0.55 to 2.1"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_the_way_to_another_process(error: LayeredError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own

    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
