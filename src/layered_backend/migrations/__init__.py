"""Migrations: changing the tables of a database that holds data, with Alembic; needs the extra `migrations`."""

try:
    from layered_backend.migrations.commands import (
        check,
        check_sync,
        downgrade,
        downgrade_sync,
        upgrade,
        upgrade_sync,
        write_revision,
    )
    from layered_backend.migrations.environment import run_migrations
    from layered_backend.migrations.folder import init
    from layered_backend.migrations.report import MigrationReport, Revision
except ModuleNotFoundError as _error:
    if (_error.name or "").partition(".")[0] != "alembic":
        raise
    missing = "migrations need a package: pip install 'layered-backend[migrations]'"
    raise ModuleNotFoundError(missing, name=_error.name) from _error

__all__ = [
    "MigrationReport",
    "Revision",
    "check",
    "check_sync",
    "downgrade",
    "downgrade_sync",
    "init",
    "run_migrations",
    "upgrade",
    "upgrade_sync",
    "write_revision",
]
