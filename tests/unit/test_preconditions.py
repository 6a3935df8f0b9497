from __future__ import annotations

import pytest
from sqlalchemy import MetaData

from layered_backend import Base as LibraryBase
from layered_backend import (
    IfMatch,
    IntegerPrimaryKey,
    PreconditionFailedError,
    PreconditionRequiredError,
    Versioned,
    etag_of,
)


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData()


class Counted(IntegerPrimaryKey, Versioned, Base):
    __tablename__ = "counted"


@pytest.mark.parametrize("header", [None, "*", '"7"', '"6", "7"', ' "7" '])
def test_the_version_that_is_stored_passes(header: str | None) -> None:
    entity = Counted(id=1, version=7)

    IfMatch(header).check(entity)

    assert etag_of(entity) == '"7"'


@pytest.mark.parametrize("header", ['"6"', "7", 'W/"7"', '"77"', ""])
def test_another_version_fails(header: str) -> None:
    for method in (IfMatch(header).check, IfMatch(header).require):
        with pytest.raises(PreconditionFailedError):
            method(Counted(id=1, version=7))


def test_a_version_may_be_required() -> None:
    with pytest.raises(PreconditionRequiredError, match="needs the header If-Match"):
        IfMatch(None).require(Counted(id=1, version=7))
