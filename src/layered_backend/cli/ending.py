"""How a command ends: with its exit status, and one line of what went wrong."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import typer

from layered_backend.cli import showing
from layered_backend.cli.target import TargetError
from layered_backend.errors import LayeredError, MigrationSetupError, SeedPlanError

__all__ = ["FAILED", "WRONG_USAGE", "errors_shown"]

FAILED, WRONG_USAGE = 1, 2  # exit statuses


@contextmanager
def errors_shown(*, debug: bool) -> Generator[None]:
    """Print errors instead of raising them, and end the process with the status that tells what kind they are of."""
    try:
        yield
    except (SeedPlanError, MigrationSetupError, TargetError) as error:
        showing.show_error(error, debug=debug)
        raise typer.Exit(WRONG_USAGE) from error
    except (LayeredError, ModuleNotFoundError) as error:
        showing.show_error(error, debug=debug)
        raise typer.Exit(FAILED) from error
