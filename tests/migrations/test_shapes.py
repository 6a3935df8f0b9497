"""Whatever the models are: a revision makes the tables, nothing is left to change then, and it can be undone and done again."""

from __future__ import annotations

from pathlib import Path

import pytest

from layered_backend import MigrationSetupError
from layered_backend.migrations import check_sync, downgrade_sync, upgrade_sync, write_revision
from tests.migrations.projects import SERVERS, Project, project_on
from tests.migrations.shapes import GROUPS, GROUPS_WITHOUT_NAMES, models_of

CASES = [
    (server, group)
    for group, shapes in (GROUPS | GROUPS_WITHOUT_NAMES).items()
    for server in SERVERS
    if any(server in shape.servers for shape in shapes.values())
]


def drift(project: Project) -> tuple[str, ...]:
    report = check_sync(project.database, folder=project.folder)
    assert not report.pending
    return report.drift


def assert_migrated_once(project: Project) -> str:
    """Generate a revision, apply it, compare twice, undo it and apply it again; return its code."""
    code = project.generate("one")
    upgrade_sync(project.database, folder=project.folder)
    assert drift(project) == (), code
    assert write_revision("two", database=project.database, folder=project.folder) is None, code
    downgrade_sync(project.database, "base", folder=project.folder)
    assert project.tables() == set()
    project.drop_types()
    upgrade_sync(project.database, folder=project.folder)
    assert drift(project) == (), code
    return code


@pytest.mark.parametrize(("server", "group"), CASES, ids=lambda each: each.replace(" ", "-"))
def test_nothing_is_left_to_change(server: str, group: str, tmp_path: Path) -> None:
    with project_on(server, tmp_path) as project:
        project.declare(models_of(group, server))
        if server == "postgresql":
            project.run("CREATE EXTENSION citext", "CREATE EXTENSION hstore")

        assert_migrated_once(project)


@pytest.mark.parametrize("group", ["defaults", "types", "checks", "checks of types", "foreign keys"])
def test_a_revision_of_another_database_fits(
    project: Project, group: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = project.database.url.get_backend_name()
    with project_on("sqlite", tmp_path_factory.mktemp("development")) as development:
        development.folder = project.folder
        development.declare(models_of(group, server))
        development.generate("everything")

    upgrade_sync(project.database, folder=project.folder)

    assert drift(project) == ()


_IN_SCHEMAS = """
class Invoice(Base):
    __tablename__ = "things"
    __table_args__ = {"schema": "billing"}
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20), index=True, unique=True, server_default="x")
    is_paid: Mapped[bool] = mapped_column(Boolean(create_constraint=True, name="is_paid"), server_default=true())

class Thing(Base):
    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey("billing.things.id", ondelete="CASCADE"))

class Parcel(Base):
    __tablename__ = "things"
    __table_args__ = {"schema": "shipping"}
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey("billing.things.id"))
    thing_id: Mapped[int] = mapped_column(ForeignKey("things.id"), index=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("shipping.things.id"))
    size: Mapped[int]
    double: Mapped[int] = mapped_column(Computed("size * 2", persisted=True))
"""


def test_tables_in_schemas_are_compared_and_other_schemas_are_left_alone(postgresql_project: Project) -> None:
    postgresql_project.declare(_IN_SCHEMAS)
    postgresql_project.run(
        "CREATE SCHEMA billing",
        "CREATE SCHEMA shipping",
        "CREATE SCHEMA other",
        "CREATE TABLE other.things (id integer)",
    )

    assert_migrated_once(postgresql_project)

    postgresql_project.run(
        "CREATE TABLE billing.more (id integer)", "ALTER TABLE billing.things ALTER name DROP NOT NULL"
    )
    assert set(drift(postgresql_project)) == {"remove table billing.more", "make billing.things.name NOT NULL"}


@pytest.mark.parametrize("name", ["", ", name='to_thing'"], ids=["without a name", "with a name"])
def test_the_default_schema_may_be_named(postgresql_project: Project, name: str) -> None:
    key = f"ForeignKey('public.things.id', ondelete='CASCADE'{name})"
    models = f"""
Table("things", Base.metadata, Column("id", Integer, primary_key=True), Column("note", String(9), index=True), schema="public")
Table("others", Base.metadata, Column("id", Integer, primary_key=True), Column("thing_id", {key}), schema="public")
"""
    postgresql_project.declare(models)
    assert_migrated_once(postgresql_project)

    postgresql_project.declare(models.replace("CASCADE", "SET NULL"))
    assert [each.split()[0] for each in drift(postgresql_project)] == ["remove", "add"]


_PARTITIONED = """
Table(
    "things", Base.metadata, Column("id", Integer, primary_key=True), Column("day", Integer, primary_key=True),
    Column("note", String(20), index=True), postgresql_partition_by="RANGE (day)",
)
Table(
    "references", Base.metadata, Column("id", Integer, primary_key=True), Column("thing_id", Integer), Column("day", Integer),
    ForeignKeyConstraint(["thing_id", "day"], ["things.id", "things.day"]),
)
Table("parents", Base.metadata, Column("id", Integer, primary_key=True))
"""


def test_no_partition_is_dropped_and_no_table_that_inherits(postgresql_project: Project) -> None:
    postgresql_project.declare(_PARTITIONED)
    assert_migrated_once(postgresql_project)
    postgresql_project.run(
        "CREATE SCHEMA parts",
        "CREATE TABLE parts.first PARTITION OF things FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE second PARTITION OF things FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id)",
        "CREATE TABLE below PARTITION OF second FOR VALUES IN (1, 2) PARTITION BY HASH (id)",
        "CREATE TABLE lowest PARTITION OF below FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        "CREATE TABLE others PARTITION OF things DEFAULT",
        "CREATE TABLE heirs (size integer) INHERITS (parents)",
    )

    assert drift(postgresql_project) == ()
    postgresql_project.run("CREATE TABLE stray (id integer)")
    assert drift(postgresql_project) == ("remove table stray",)


_COMPUTED = """
Table(
    "things", Base.metadata, Column("id", Integer, primary_key=True), Column("size", Integer),
    Column("made", Integer, {computed}), Index("ix_made", "made"), UniqueConstraint("made", "size", name="uq_made"),
)
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Computed('size * 2', persisted=True)", "Computed('size * 3', persisted=True)"),
        ("Computed('size * 2', persisted=True)", "nullable=True"),
        ("nullable=True", "Computed('size * 2', persisted=True)"),
    ],
    ids=["another expression", "none any more", "one that was not computed"],
)
def test_a_column_that_is_computed_otherwise_is_made_anew(project: Project, before: str, after: str) -> None:
    project.declare(_COMPUTED.format(computed=before))
    assert_migrated_once(project)
    project.declare(_COMPUTED.format(computed=after))
    assert {"remove column things.made", "add column things.made"} <= set(drift(project))

    project.generate("computed otherwise")
    upgrade_sync(project.database, folder=project.folder)

    assert drift(project) == ()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Integer, server_default='1'", "Integer, server_default='2'"),
        ("String(20), server_default='New'", "String(20), server_default='new'"),
        ("String(20), server_default='now()'", "String(20), server_default='(now())'"),
        ("String(20), server_default='x'", "String(20), server_default=''"),
        ("String(20), server_default=''", "String(20)"),
        ("Boolean, server_default=true()", "Boolean, server_default=false()"),
        ("Numeric(10, 2), server_default='1.5'", "Numeric(10, 2), server_default='1.05'"),
        ("JSON, server_default='{}'", "JSON, server_default='[]'"),
    ],
)
def test_another_default_is_found(project: Project, before: str, after: str) -> None:
    table = "Table('things', Base.metadata, Column('id', Integer, primary_key=True), Column('c', {}))\n"
    project.declare(table.format(before))
    assert_migrated_once(project)

    project.declare(table.format(after))

    assert [each.partition(" ")[2] for each in drift(project)] == ["the default of things.c"]


def test_a_revision_of_no_models_is_refused_and_told(sqlite_project: Project) -> None:
    sqlite_project.declare("")

    with pytest.raises(MigrationSetupError, match=r"no models to compare: env\.py must import every module of models"):
        write_revision("nothing", database=sqlite_project.database, folder=sqlite_project.folder)

    report = check_sync(sqlite_project.database, folder=sqlite_project.folder)
    assert (report.ok, report.has_models) == (True, False)
    assert "env.py must import every module of models" in str(report)
