"""Where a process runs."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ENVIRONMENT_VARIABLE", "Environment"]

ENVIRONMENT_VARIABLE = "LAYERED_ENV"


class Environment(StrEnum):
    """Where a process runs, as the variable LAYERED_ENV says; development where it says nothing."""

    DEVELOPMENT = "development"
    TEST = "test"
    STAGING = "staging"
    PRODUCTION = "production"
