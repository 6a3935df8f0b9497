"""What is said where the packages of this part are not installed."""

from __future__ import annotations

__all__ = ["missing_package"]


def missing_package(error: ImportError) -> ModuleNotFoundError:
    """Return the error that says what to install instead of *error*."""
    return ModuleNotFoundError(
        "passwords and tokens need two packages: pip install 'layered-backend[security]'", name=error.name
    )
