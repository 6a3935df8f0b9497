"""The principal: who is known to make a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

__all__ = ["Principal"]


@dataclass(frozen=True)
class Principal:
    """The known maker of a request, with their scopes. Lives as long as the request.

    Attributes:
        subject: Who it is, in the words of whoever issued the token: the key of a user, the name of a service.
        scopes: What the token allows.
        claims: All that the token says. They are not in the `repr`, since they may be personal.
    """

    subject: str
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scopes", frozenset(self.scopes))
        object.__setattr__(self, "claims", MappingProxyType(dict(self.claims)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Have it pickled and copied, which a read-only view of a mapping refuses."""
        return Principal, (self.subject, self.scopes, dict(self.claims))

    def lacks(self, scopes: Iterable[str]) -> tuple[str, ...]:
        """Return those of *scopes* that are not allowed, in their order; none where all are."""
        return tuple(scope for scope in scopes if scope not in self.scopes)
