"""The conditions of a request on the version of a row: `If-Match` before a write, `If-None-Match` before a read."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Header

from layered_backend.errors import PreconditionFailedError, PreconditionRequiredError, StaleError
from layered_backend.fastapi.preconditions import IfMatch
from layered_backend.fastapi.service_classes import AnyService
from layered_backend.models import Versioned

__all__ = ["WriteCondition", "has_tag", "if_match_header", "if_none_match_header", "tag_of"]


@dataclass(frozen=True)
class WriteCondition:
    """The way in which a router checks `If-Match`. Lives as long as the router.

    Attributes:
        is_required: Whether a write without it is refused.
    """

    is_required: bool

    @asynccontextmanager
    async def holding(self, service: AnyService, key: Any, header: str | None) -> AsyncGenerator[None]:
        """Check the condition in the transaction of the block, in which the row is then changed.

        Raises:
            NotFoundError: No entity has that key.
            PreconditionFailedError: The row is at another version, or was changed meanwhile; or it has no versions.
            PreconditionRequiredError: There is no condition, and there must be one.
        """
        if header is None:
            if self.is_required:
                raise PreconditionRequiredError("the request needs the header If-Match, with the ETag that was read")
            yield
            return
        entity = await service.get(key)
        _check(entity, header)
        try:
            yield  # while `entity` is held, the session has no other version of it to write over
        except StaleError as error:  # somebody else was faster, after the check
            raise PreconditionFailedError from error


def _check(entity: object, header: str) -> None:
    if isinstance(entity, Versioned):
        IfMatch(header).check(entity)
    elif header.strip() != "*":
        raise PreconditionFailedError("the row has no versions that If-Match could name")


def tag_of(version: int) -> str:
    """Return the entity tag of a version, as `etag_of` does."""
    return f'"{version}"'


def has_tag(header: str | None, tag: str) -> bool:
    """Tell whether `If-None-Match` names *tag*: a weak one is as good (RFC 9110, section 13.1.2)."""
    if header is None:
        return False
    return header.strip() == "*" or tag in {named.strip().removeprefix("W/") for named in header.split(",")}


def if_match_header(*, is_shown: bool) -> object:
    """Return the annotation of the header `If-Match`; where rows have no versions, the document does not show it."""
    description = "The `ETag` of the version that was read."
    return Annotated[str | None, Header(alias="If-Match", description=description, include_in_schema=is_shown)]


def if_none_match_header(*, is_shown: bool) -> object:
    """Return the annotation of the header `If-None-Match`."""
    description = "The `ETag` of a version that the client has: it is not sent again."
    return Annotated[str | None, Header(alias="If-None-Match", description=description, include_in_schema=is_shown)]
