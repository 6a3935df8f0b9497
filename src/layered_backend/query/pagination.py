"""Pages: the parameters that ask for one, and the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Self, TypeAlias, TypeVar

from pydantic import ConfigDict, Field, computed_field, model_validator
from pydantic_core import PydanticCustomError

from layered_backend.query.parameters import QueryModel

__all__ = ["CursorPage", "CursorParams", "NumberedParams", "OffsetParams", "Page", "PageParams", "Slice"]

T_co = TypeVar("T_co", covariant=True)

LARGEST_PAGE = 100
_LAST_ROW = 2**63 - 1  # the largest OFFSET that every database takes

# FastAPI would let an entity through `response_model=Page[ItemRead]` as it is, unvalidated, without both of these.
_VALIDATED = ConfigDict(revalidate_instances="always", from_attributes=True)


class PageParams(QueryModel):
    """Which page, by its number."""

    page: int = Field(default=1, ge=1, le=_LAST_ROW // LARGEST_PAGE, description="Number of the page, from 1.")
    size: int = Field(default=50, ge=1, le=LARGEST_PAGE, description="Rows on a page.")

    @model_validator(mode="after")
    def _within_reach(self) -> Self:  # for a class that allows larger pages
        if self.page * self.size > _LAST_ROW:
            raise PydanticCustomError("page_too_far", "page times size is at most {most}", {"most": _LAST_ROW})
        return self

    @property
    def offset(self) -> int:
        """The number of rows before the page."""
        return (self.page - 1) * self.size


class OffsetParams(QueryModel):
    """Which page, by the number of rows before it; for clients that ask by `limit` and `offset`.

    It is asked for and answered as `PageParams` are. The number of the page is that of the one with its first row.
    """

    limit: int = Field(default=50, ge=1, le=LARGEST_PAGE, description="Rows on a page.")
    offset: int = Field(default=0, ge=0, le=_LAST_ROW, description="Rows before the page.")

    @property
    def size(self) -> int:
        """The number of rows on the page."""
        return self.limit

    @property
    def page(self) -> int:
        """The number of the page that has its first row, from 1."""
        return self.offset // self.limit + 1


NumberedParams: TypeAlias = PageParams | OffsetParams
"""Parameters of a page that is found by counting the rows before it."""


class CursorParams(QueryModel):
    """Which page, by the cursor that another page gave; the first one without a cursor."""

    cursor: str | None = Field(
        default=None, description="`next` or `previous` of another page; none for the first page."
    )
    size: int = Field(default=50, ge=1, le=LARGEST_PAGE, description="Rows on a page.")


@dataclass(frozen=True)
class Page(Generic[T_co]):
    """One page, and how many rows there are on all of them.

    Attributes:
        items: The rows of this page.
        total: How many rows there are on all pages.
        page: The number of this page, from 1; of the page with its first row where that was asked for by `offset`.
        size: How many rows a page has at most.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _VALIDATED

    items: Sequence[T_co]
    total: int
    page: int
    size: int

    @computed_field  # type: ignore[prop-decorator]  # mypy refuses decorated properties (python/mypy#1362)
    @property
    def pages(self) -> int:
        """The number of pages."""
        return -(-self.total // self.size)


@dataclass(frozen=True)
class Slice(Generic[T_co]):
    """One page, and whether there is another; nothing is counted.

    Attributes:
        items: The rows of this page.
        page: The number of this page, from 1.
        size: How many rows a page has at most.
        has_next: Whether there are more rows.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _VALIDATED

    items: Sequence[T_co]
    page: int
    size: int
    has_next: bool


@dataclass(frozen=True)
class CursorPage(Generic[T_co]):
    """One page, and the cursors of the pages next to it; a far page costs no more than the first.

    Attributes:
        items: The rows of this page.
        size: How many rows a page has at most.
        next: The cursor of the page behind this one; None if it is the last.
        previous: The cursor of the page before this one; None if it is the first.
        total: How many rows there are on all pages; None if that was not asked for.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _VALIDATED

    items: Sequence[T_co]
    size: int
    next: str | None
    previous: str | None
    total: int | None = None
