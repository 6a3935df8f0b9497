"""The environment that a process runs in."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ENVIRONMENT_VARIABLE", "Environment"]

ENVIRONMENT_VARIABLE = "LAYERED_ENV"


class Environment(StrEnum):
    """The environment that a process runs in, by the variable LAYERED_ENV; development unless it is set."""

    DEVELOPMENT = "development"
    TEST = "test"
    STAGING = "staging"
    PRODUCTION = "production"
