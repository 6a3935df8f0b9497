"""What is generated is what the models say, and comparing them again finds nothing; a change is found."""

from __future__ import annotations

import pytest

from layered_backend.migrations import check_sync, downgrade_sync, upgrade_sync
from tests.migrations.projects import Project, project_on

_EVERYTHING = "from tests.migrations.models import Base\n"
_ITEMS = """
class Category(lb.IntegerPrimaryKey, Base):
    __tablename__ = "categories"

class Item(lb.IntegerPrimaryKey, Base):
    __tablename__ = "items"
    name: Mapped[str] = mapped_column(String(20))
    text: Mapped[str] = mapped_column(String(20))
    note: Mapped[str] = mapped_column(String(20))
    size: Mapped[int | None] = mapped_column(server_default="3")
    shape: Mapped[int | None]
    category_id: Mapped[int | None]
"""
_CHANGED_ITEMS = """
class Category(lb.IntegerPrimaryKey, Base):
    __tablename__ = "categories"

class Item(lb.IntegerPrimaryKey, Base):
    __tablename__ = "items"
    __table_args__ = (CheckConstraint("size > 0", name="positive"),)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    text: Mapped[str] = mapped_column(Text)
    note: Mapped[str | None] = mapped_column(String(20), server_default="new", index=True)
    size: Mapped[int]
    color: Mapped[str | None]
    category_id: Mapped[int | None] = mapped_column(ForeignKey("categories.id"))
"""


def drift(project: Project) -> tuple[str, ...]:
    report = check_sync(project.database, folder=project.folder)
    assert not report.pending
    return report.drift


def test_nothing_is_pending_and_nothing_has_drifted_after_each_mixin_type_and_constraint(project: Project) -> None:
    project.declare(_EVERYTHING)
    code = project.generate("everything")

    applied = upgrade_sync(project.database, folder=project.folder)
    report = check_sync(project.database, folder=project.folder)

    assert [revision.message for revision in applied] == ["everything"]
    assert (report.ok, report.drift) == (True, ())
    assert "from layered_backend.models import UTCDateTime" in code
    assert "name=op.f('uq_items_name_category_id')" in code
    assert "name=op.f('ck_items_price_not_negative')" in code


def test_what_was_generated_can_be_undone(project: Project) -> None:
    project.declare(_EVERYTHING)
    project.generate("everything")
    upgrade_sync(project.database, folder=project.folder)

    downgrade_sync(project.database, "base", folder=project.folder)

    assert project.tables() == set()


def test_a_revision_that_was_generated_on_sqlite_fits_the_other_databases(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with project_on("sqlite", tmp_path_factory.mktemp("development")) as development:
        development.folder = project.folder
        development.declare(_EVERYTHING)
        development.generate("everything")

    upgrade_sync(project.database, folder=project.folder)

    assert drift(project) == ()


def test_a_change_of_the_models_is_told_and_the_next_revision_makes_it(project: Project) -> None:
    project.declare(_ITEMS)
    project.generate("items")
    upgrade_sync(project.database, folder=project.folder)

    project.declare(_CHANGED_ITEMS)
    told = drift(project)
    project.generate("change")
    upgrade_sync(project.database, folder=project.folder)

    assert set(told) == {
        "change the type of items.name from VARCHAR(20) to VARCHAR(40)",
        "change the type of items.text from VARCHAR(20) to TEXT",
        "let items.note be NULL",
        "make items.size NOT NULL",
        "add the default of items.note",
        "drop the default of items.size",
        "add column items.color",
        "remove column items.shape",
        "add constraint uq_items_name of items (name)",
        "add constraint ck_items_positive of items",
        "add index ix_items_note of items (note)",
        "add foreign key fk_items_category_id_categories of items (category_id)",
    }
    assert drift(project) == ()

    downgrade_sync(project.database, folder=project.folder)
    assert len(check_sync(project.database, folder=project.folder).pending) == 1


def test_a_table_of_another_application_is_left_out_where_the_caller_says_so(sqlite_project: Project) -> None:
    sqlite_project.declare(_ITEMS)
    sqlite_project.generate("items")
    upgrade_sync(sqlite_project.database, folder=sqlite_project.folder)

    sqlite_project.declare("")
    assert "remove table items" in drift(sqlite_project)

    sqlite_project.declare(
        "", ", include_object=lambda item, name, kind, stored, other: name not in {'items', 'categories'}"
    )
    assert drift(sqlite_project) == ()
