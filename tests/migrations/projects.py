"""A folder of migrations for a test, with whatever models and revisions the test writes into it."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import inspect

from layered_backend import Database
from layered_backend.migrations import write_revision
from tests.databases import new_database

SERVERS = ("sqlite", "postgresql", "mariadb")

_IMPORTS = """
from sqlalchemy import *
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.sql.elements import conv
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
import layered_backend as lb
from layered_backend.migrations import run_migrations
from layered_backend.models import NAMING_CONVENTION

class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = lb.Base.type_annotation_map
"""
_CALL = """
run_migrations(lb.Database("sqlite:///named_in_env.db"), Base.metadata{options})
"""
_REVISION = '''"""{message}"""
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = {id!r}, {before!r}, None, None


def upgrade() -> None:
    {upgrade}


def downgrade() -> None:
    {downgrade}
'''

TWO_TABLES = (
    ("op.create_table('a', sa.Column('id', sa.Integer, primary_key=True))", "op.drop_table('a')"),
    ("op.create_table('b', sa.Column('id', sa.Integer, primary_key=True))", "op.drop_table('b')"),
)


@dataclass
class Project:
    """A folder of migrations, and the database to migrate.

    Attributes:
        folder: The folder that holds env.py.
        database: An empty database.
    """

    folder: Path
    database: Database

    @property
    def pooler(self) -> str:
        """What stands before the database, if anything."""
        return "pgbouncer" if self.database.pgbouncer else ""

    def declare(self, models: str, options: str = "") -> None:
        """Write env.py, with *models* in it: what stands behind a `Base` that has no tables."""
        (self.folder / "versions").mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.folder / "__pycache__", ignore_errors=True)  # of an env.py of this second, and of this size
        template = Path(__file__).parents[2] / "src/layered_backend/migrations/templates/script.py.mako"
        (self.folder / "script.py.mako").write_text(template.read_text())
        (self.folder / "env.py").write_text(_IMPORTS + models + _CALL.format(options=options))

    def write(self, *revisions: tuple[str, str]) -> None:
        """Write revisions r1, r2, ... with these upgrades and downgrades."""
        for number, (upgrade, downgrade) in enumerate(revisions, start=1):
            facts = {
                "message": f"step {number}",
                "id": f"r{number}",
                "before": f"r{number - 1}" if number > 1 else None,
                "upgrade": upgrade,
                "downgrade": downgrade,
            }
            (self.folder / "versions" / f"r{number}.py").write_text(_REVISION.format(**facts))

    def generate(self, message: str) -> str:
        """Return the code of the revision that is generated for what the models say."""
        path = write_revision(message, database=self.database, folder=self.folder)
        assert path is not None, "nothing has changed"
        return path.read_text()

    def run(self, *statements: str) -> None:
        """Run *statements*, each committed."""
        with self.database.unpooled().sync_engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def drop_types(self) -> None:
        """Drop the types of PostgreSQL's that a downgrade leaves, as the documentation says."""
        if self.database.url.get_backend_name() != "postgresql":
            return
        query = (
            "SELECT CASE typtype WHEN 'd' THEN 'DOMAIN ' ELSE 'TYPE ' END || quote_ident(typname) FROM pg_type "
            "WHERE typtype IN ('e', 'd') AND typnamespace = 'public'::regnamespace"
        )
        with self.database.unpooled().sync_engine.begin() as connection:
            for kind_and_name in connection.exec_driver_sql(query).scalars().all():
                connection.exec_driver_sql(f"DROP {kind_and_name}")

    def tables(self) -> set[str]:
        """Return the names of the tables that there are, but for Alembic's own."""
        with self.database.unpooled().sync_engine.connect() as connection:
            return set(inspect(connection).get_table_names()) - {"alembic_version"}


@contextmanager
def project_on(server: str, tmp_path: Path) -> Generator[Project]:
    with new_database(server, tmp_path) as url, Database(url.set(drivername=server)) as database:
        project = Project(tmp_path / "migrations", database)
        project.declare("")
        yield project
