"""The error for missing packages of this part."""

from __future__ import annotations

__all__ = ["missing_package"]


def missing_package(error: ImportError) -> ModuleNotFoundError:
    """Return the error that says what to install instead of *error*."""
    return ModuleNotFoundError(
        "passwords and tokens need two packages: pip install 'layered-backend[security]'", name=error.name
    )
