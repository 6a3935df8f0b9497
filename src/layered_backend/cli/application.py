"""The commands, put together."""

from __future__ import annotations

import typer

from layered_backend.cli.db import db
from layered_backend.cli.seed import seed

__all__ = ["app"]

app: typer.Typer = typer.Typer(
    name="layered-backend", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
app.add_typer(db, name="db")
app.add_typer(seed, name="seed")


@app.callback()
def describe() -> None:
    """Layers for back ends with FastAPI and SQLAlchemy."""
