"""Where a run takes place: development, test, staging, production, or what the application calls its own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from layered_backend.environment import ENVIRONMENT_VARIABLE, Environment
from layered_backend.errors import SeedPlanError

if TYPE_CHECKING:
    from layered_backend.seeding.seeder import Seeder

__all__ = ["PRODUCTION", "environment_of", "known_environments"]

PRODUCTION = Environment.PRODUCTION.value
_KNOWN = tuple(environment.value for environment in Environment)


def known_environments(seeders: Iterable[type[Seeder[Any]]]) -> tuple[str, ...]:
    """Return the environments that a run can be asked for: the usual ones and those that *seeders* name."""
    named = {name for seeder in seeders for name in seeder.environments}
    return (*_KNOWN, *sorted(named - set(_KNOWN)))


def environment_of(given: str | None, seeders: Iterable[type[Seeder[Any]]]) -> str:
    """Return the environment: *given*, else that of LAYERED_ENV, else development.

    Raises:
        SeedPlanError: It is not known.
    """
    environment = str(given or os.environ.get(ENVIRONMENT_VARIABLE) or Environment.DEVELOPMENT)
    known = known_environments(seeders)
    if environment not in known:
        raise SeedPlanError(f"the environment {environment!r} is not known; known are {', '.join(known)}")
    return environment
