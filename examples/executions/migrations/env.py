"""Where Alembic begins; the database is that of the settings, unless the caller gives one."""

from examples.executions.models import Table
from examples.executions.settings import StorageSettings
from layered_backend.migrations import run_migrations

run_migrations(StorageSettings.current().database(), Table.metadata)
