"""Conditional requests: a client says which version of a row it has read (RFC 9110, section 13.1.1)."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header

from layered_backend.errors import PreconditionFailedError, PreconditionRequiredError
from layered_backend.models import Versioned

__all__ = ["IfMatch", "IfMatchDep", "etag_of", "get_if_match"]


def etag_of(entity: Versioned) -> str:
    """Return the entity tag of the version that *entity* is at, for the header `ETag`."""
    return f'"{entity.version}"'


@dataclass(frozen=True, slots=True)
class IfMatch:
    """The condition in a request's header `If-Match`. Lives as long as one request.

        @router.patch("/{item_id}")
        async def update_item(item_id: int, data: ItemUpdate, service: Service, if_match: IfMatchDep) -> ItemRead:
            item = await service.get(item_id)
            if_match.require(item)
            return await service.update(item_id, data)

    A change by somebody else after the check is a StaleError, as for every update of a versioned row.

    Attributes:
        header: The header as it was sent, or None.
    """

    header: str | None

    def check(self, entity: Versioned) -> None:
        """Raise if the client names a version, and *entity* is at another.

        Raises:
            PreconditionFailedError: It is.
        """
        if self.header is None or self.header.strip() == "*":
            return
        if etag_of(entity) not in {tag.strip() for tag in self.header.split(",")}:
            raise PreconditionFailedError

    def require(self, entity: Versioned) -> None:
        """Do what `check` does, and raise if the client names no version.

        Raises:
            PreconditionFailedError: *entity* is at another version.
            PreconditionRequiredError: The request has no `If-Match`.
        """
        if self.header is None:
            raise PreconditionRequiredError("the request needs the header If-Match, with the ETag that was read")
        self.check(entity)


async def get_if_match(
    if_match: Annotated[str | None, Header(description="The `ETag` of the version that was read.")] = None,
) -> IfMatch:
    """Return what the request's header `If-Match` asks for."""
    return IfMatch(if_match)


IfMatchDep = Annotated[IfMatch, Depends(get_if_match)]
"""The condition in the request's header `If-Match`, as an annotation."""
