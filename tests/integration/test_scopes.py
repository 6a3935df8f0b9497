"""Scopes, soft deletion, tenants and versions, on each database."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel
from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    MetaData,
    case,
    event,
    exists,
    func,
    inspect,
    literal,
    select,
    true,
    union,
    update,
)
from sqlalchemy.orm import (
    Mapped,
    aliased,
    joinedload,
    mapped_column,
    outerjoin,
    relationship,
    selectinload,
    validates,
)

from layered_backend import Base as LibraryBase
from layered_backend import (
    BaseRepository,
    ConflictError,
    CursorParams,
    IntegerPrimaryKey,
    InvalidDataError,
    Lock,
    NotFoundError,
    PageParams,
    PermissionDeniedError,
    Scope,
    SoftDeletable,
    StaleError,
    TenantScope,
    UniqueViolationError,
    UnitOfWork,
    UnitOfWorkError,
    Versioned,
)
from layered_backend.models import NAMING_CONVENTION
from layered_backend.session import drive
from tests.databases import Shop

T = TypeVar("T")


class Base(LibraryBase):
    __abstract__ = True
    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class Owned:
    tenant_id: Mapped[int]


class Folder(IntegerPrimaryKey, Owned, SoftDeletable, Base):
    __tablename__ = "scoped_folders"

    name: Mapped[str]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("scoped_folders.id"))
    parent: Mapped[Folder | None] = relationship(back_populates="children", remote_side="Folder.id")
    children: Mapped[list[Folder]] = relationship(back_populates="parent")
    files: Mapped[list[File]] = relationship(back_populates="folder")


class File(IntegerPrimaryKey, Owned, SoftDeletable, Versioned, Base):
    __tablename__ = "scoped_files"

    name: Mapped[str] = mapped_column(unique=True)
    size: Mapped[int] = mapped_column(default=0)
    folder_id: Mapped[int | None] = mapped_column(ForeignKey("scoped_folders.id"))
    folder: Mapped[Folder | None] = relationship(back_populates="files")

    @validates("size")
    def _at_least_nothing(self, key: str, size: int) -> int:
        if size < 0:
            raise InvalidDataError("a size is at least 0")
        return size


class Setting(IntegerPrimaryKey, Versioned, Base):
    __tablename__ = "scoped_settings"

    name: Mapped[str] = mapped_column(unique=True)
    value: Mapped[str]


@dataclass
class User:
    tenant_id: int | None


class Office(UnitOfWork):
    scopes = (Scope(SoftDeletable, lambda cls: cls.deleted_at.is_(None), name="soft_delete"), TenantScope(Owned))
    folders: BaseRepository[Folder]
    files: BaseRepository[File]
    settings: BaseRepository[Setting]


Work = Callable[[Office], Awaitable[Any]]


@dataclass
class Offices:
    """The offices of several tenants, in one database."""

    shop: Shop

    async def run(self, work: Callable[[Office], Awaitable[T]], tenant: int | None = 1) -> T:
        async def awaited(uow: Office) -> T:
            return await work(uow)

        def run_sync() -> T:
            with Office(self.shop.database, actor=User(tenant)) as uow:
                return drive(awaited(uow))

        if not self.shop.backend.asynchronous:
            return await asyncio.to_thread(run_sync)
        async with Office(self.shop.database, actor=User(tenant)) as uow:
            return await work(uow)


@pytest.fixture
async def offices(shop: Shop) -> AsyncGenerator[Offices]:
    if shop.backend.asynchronous:
        await shop.database.create_all(Base.metadata)
    else:
        await asyncio.to_thread(shop.database.create_all_sync, Base.metadata)
    yield Offices(shop)
    await shop.run(lambda uow: uow.session.run_sync(lambda session: Base.metadata.drop_all(session.connection())))


async def _two_files(uow: Office) -> tuple[File, File]:
    """Make a folder with two files, and delete the second."""
    folder = await uow.folders.create({"name": "papers"})
    kept = await uow.files.create({"name": f"kept {folder.tenant_id}", "folder_id": folder.id})
    gone = await uow.files.create({"name": f"gone {folder.tenant_id}", "folder_id": folder.id})
    await uow.files.delete(gone)
    return kept, gone


async def _every_way_to_read(uow: Office) -> list[list[str]]:
    """Return the names of the files that each way of reading finds, without what the session has of them."""
    uow.session.expunge_all()
    ids = list(await uow.session.scalars(select(File.id)))
    by_key = [await uow.files.get_or_none(file_id) for file_id in ids]
    loaded = await uow.folders.list(options=[selectinload(Folder.files)])
    uow.session.expunge_all()
    joined = await uow.folders.list(options=[joinedload(Folder.files)])
    uow.session.expunge_all()
    lazily = await uow.folders.list()
    await uow.session.run_sync(lambda _: [folder.files for folder in lazily])
    columns = uow.folders.select().join(Folder.files).with_only_columns(File.name)
    page = await uow.files.page(PageParams(size=1))
    assert page.total == (await uow.files.page(PageParams(page=999))).total == await uow.files.count()
    assert page.total == len([file for file in by_key if file is not None])
    assert await uow.files.exists(File.id.in_(ids)) is bool(page.total)
    found = [
        [file for file in by_key if file is not None],
        await uow.files.list(),
        await uow.files.get_many(ids),
        (await uow.files.page(PageParams())).items,
        (await uow.files.slice(PageParams())).items,
        (await uow.files.cursor_page(CursorParams())).items,
        [file async for file in uow.files.stream()],
        [file for folder in loaded for file in folder.files],
        [file for folder in joined for file in folder.files],
        [file for folder in lazily for file in folder.files],
    ]
    return [sorted(file.name for file in files) for files in found] + [sorted(await uow.session.scalars(columns))]


class TestReading:
    async def test_each_way_of_reading_is_in_scope(self, offices: Offices) -> None:
        for tenant in (1, 2):
            await offices.run(_two_files, tenant)

        for tenant in (1, 2, 1):
            found = await offices.run(_every_way_to_read, tenant)
            assert found == [[f"kept {tenant}"]] * len(found)

    async def test_a_scope_is_lifted_by_name_and_the_other_holds(self, offices: Offices) -> None:
        for tenant in (1, 2):
            await offices.run(_two_files, tenant)

        async def work(uow: Office) -> None:
            with uow.without("soft_delete"):
                found = await _every_way_to_read(uow)
                assert found == [["gone 1", "kept 1"]] * len(found)
            with uow.without("tenant"):
                found = await _every_way_to_read(uow)
                assert found == [["kept 1", "kept 2"]] * len(found)
                with uow.without("soft_delete"):
                    assert await uow.files.count() == 4
            with uow.without("tenant", "soft_delete"):
                assert await uow.files.count() == 4
            assert await uow.files.count() == 1
            with pytest.raises(UnitOfWorkError, match="no scope is called deleted; there are: soft_delete, tenant"):
                with uow.without("deleted"):
                    pass

        await offices.run(work)

    async def test_an_entity_that_the_session_has_is_not_found_out_of_scope(self, offices: Offices) -> None:
        async def work(uow: Office) -> None:
            kept, gone = await _two_files(uow)
            assert gone in uow.session
            assert await uow.files.get_or_none(gone.id) is None
            assert await uow.files.get(kept.id, lock=Lock.update()) is kept
            with pytest.raises(NotFoundError):
                await uow.files.update(gone, {"name": "back"})
            with pytest.raises(NotFoundError):
                await uow.files.delete(gone)

        await offices.run(work)

    async def test_a_reference_that_moved_is_loaded_in_scope(self, offices: Offices) -> None:
        async def work(uow: Office) -> None:
            kept, _ = await _two_files(uow)
            deleted = await uow.folders.create({"name": "old papers"})
            await uow.folders.delete(deleted)
            (kept,) = await uow.files.list(options=[selectinload(File.folder)])
            assert (await uow.files.update(kept, {"folder_id": deleted.id})).folder is None

        await offices.run(work)


OTHER_FILE, OTHER_FOLDER = aliased(File), aliased(Folder)
FILES: Any = File.__table__
PARENTS = select(Folder.parent_id.label("id")).where(Folder.parent_id.is_not(None))

# Each is true of a folder where it has a file, or a folder in it.
ON_RELATED_ROWS: dict[str, ColumnElement[bool]] = {
    "any": Folder.files.any(),
    "any, with a criterion": Folder.files.any(File.size >= 0),
    "any, of an alias": Folder.files.of_type(OTHER_FILE).any(OTHER_FILE.size >= 0),
    "any, of the class itself": Folder.children.any(Folder.name != ""),
    "any, within any": Folder.children.any(Folder.files.any() | Folder.name.is_not(None)),
    "has, within any": Folder.files.any(File.folder.has(Folder.id > 0)),
    "exists, by a criterion": exists().where(File.folder_id == Folder.id),
    "exists, of a column": exists(File.id).where(File.folder_id == Folder.id),
    "exists, of a table": exists().where(FILES.c.folder_id == Folder.id),
    "exists, of a join": select(literal(1))
    .select_from(outerjoin(OTHER_FOLDER, File, File.folder_id == OTHER_FOLDER.id))
    .where(OTHER_FOLDER.id == Folder.id, File.id.is_not(None))
    .exists(),
    "in, of a column": Folder.id.in_(select(File.folder_id)),
    "in, of an alias": Folder.id.in_(select(OTHER_FILE.folder_id)),
    "in, of a table": Folder.id.in_(select(FILES.c.folder_id)),
    "in, of a join": Folder.id.in_(select(OTHER_FOLDER.id).join(File, File.folder_id == OTHER_FOLDER.id)),
    "in, of a union": Folder.id.in_(union(select(File.folder_id), PARENTS)),
    "in, of a subquery": Folder.id.in_(select(PARENTS.subquery().c.id)),
    "in, of a common table": Folder.id.in_(select(PARENTS.cte("parents").c.id)),
    "a count": select(func.count(File.id)).where(File.folder_id == Folder.id).scalar_subquery() > 0,
    "a count of all": select(func.count()).where(File.folder_id == Folder.id).scalar_subquery() > 0,
    "a case": case((Folder.files.any(), 1), else_=0) == 1,
}


async def _folders(uow: Office) -> None:
    """Make a folder with a file and a folder in it, and one in which both are deleted."""
    for name in ("full", "emptied"):
        folder = await uow.folders.create({"name": name})
        child = await uow.folders.create({"name": "child", "parent_id": folder.id})
        file = await uow.files.create({"name": f"{name} {folder.tenant_id}", "folder_id": folder.id})
        if name == "emptied":
            await uow.folders.delete(child)
            await uow.files.delete(file)


async def _hang_on(uow: Office) -> None:
    """Hang a file and a folder of this tenant on each folder of another."""
    with uow.without("tenant"):
        others = await uow.folders.list(Folder.tenant_id == 1, Folder.parent_id.is_(None))
    for folder in others:
        await uow.files.create({"name": f"foreign {folder.name}", "folder_id": folder.id})
        await uow.folders.create({"name": "foreign", "parent_id": folder.id})


class FolderRead(BaseModel):
    name: str


class TestCriteria:
    """What is out of scope is not there for a criterion either, wherever it stands."""

    async def test_no_way_to_ask_sees_related_rows_out_of_scope(self, offices: Offices) -> None:
        for tenant in (1, 2):
            await offices.run(_folders, tenant)
        await offices.run(_hang_on, 2)

        async def work(uow: Office) -> None:
            folders, projection = uow.folders, uow.folders.project(FolderRead)
            for name, criterion in ON_RELATED_ROWS.items():
                found: list[Sequence[Any]] = [
                    await folders.list(criterion),
                    (await folders.page(PageParams(), criterion)).items,
                    (await folders.slice(PageParams(), criterion)).items,
                    (await folders.cursor_page(CursorParams(), criterion)).items,
                    [folder async for folder in folders.stream(criterion)],
                    [await folders.one(criterion)],
                    await projection.list(criterion),
                    [folder async for folder in projection.stream(criterion)],
                ]
                assert [[folder.name for folder in each] for each in found] == [["full"]] * len(found), name
                totals = [
                    await folders.page(PageParams(page=9), criterion),
                    await projection.page(PageParams(), criterion),
                ]
                assert [await folders.count(criterion), *(page.total for page in totals)] == [1, 1, 1], name
                assert not await folders.exists(criterion, Folder.name == "emptied"), name

        for tenant in (1, 2, 1):  # what is compiled for one tenant serves the other
            await offices.run(work, tenant)

    async def test_lifted_scopes_are_lifted_there_too(self, offices: Offices) -> None:
        for tenant in (1, 2):
            await offices.run(_folders, tenant)
        await offices.run(_hang_on, 2)

        async def work(uow: Office) -> None:
            for name, criterion in ON_RELATED_ROWS.items():
                assert await uow.folders.count(criterion) == 1, name
                for lifted in ("soft_delete", "tenant"):
                    with uow.without(lifted):
                        assert await uow.folders.count(criterion, Folder.tenant_id == 1) == 2, (name, lifted)

        await offices.run(work)

    async def test_no_write_reaches_rows_by_what_is_out_of_scope(self, offices: Offices) -> None:
        for tenant in (1, 2):
            await offices.run(_folders, tenant)
        await offices.run(_hang_on, 2)

        async def work(uow: Office) -> None:
            for name, criterion in ON_RELATED_ROWS.items():
                if name == "in, of a common table":
                    continue  # SQLite's driver does not count behind WITH
                assert await uow.folders.update_where(criterion, values={"name": "full"}) == 1, name
            assert await uow.settings.delete_where(exists().where(File.name.startswith("foreign"))) == 0
            assert await uow.settings.update_where(exists().where(File.name == "emptied 1"), values={"value": ""}) == 0
            same_name = Setting.name.in_(select(File.name))
            assert await uow.settings.update_where(same_name, values={"value": ""}) == 0
            assert await uow.settings.delete_where(same_name) == 0

        await offices.run(lambda uow: uow.settings.create({"name": "foreign full", "value": "kept"}))
        await offices.run(work)

    async def test_what_is_built_on_select_stays_in_scope(self, offices: Offices) -> None:
        for tenant in (1, 2):
            await offices.run(_folders, tenant)
        await offices.run(_hang_on, 2)

        async def work(uow: Office) -> None:
            folders = uow.folders.select()
            names = folders.with_only_columns(Folder.name)
            by_files = aliased(File, select(File).where(File.size == 0).subquery())
            statements: dict[str, Any] = {
                "a join": folders.join(Folder.files).with_only_columns(File.name),
                "a join of an alias": folders.join(OTHER_FILE, OTHER_FILE.folder_id == Folder.id).with_only_columns(
                    OTHER_FILE.name
                ),
                "a join of a subquery": folders.join(by_files, by_files.folder_id == Folder.id).with_only_columns(
                    by_files.name
                ),
                "a join of a table": folders.join(FILES, FILES.c.folder_id == Folder.id).with_only_columns(
                    FILES.c.name
                ),
                "a table that only a criterion names": folders.where(File.folder_id == Folder.id).with_only_columns(
                    File.name
                ),
            }
            for name, statement in statements.items():
                found = sorted(await uow.session.scalars(statement))
                assert found == [f"full {uow.actor.tenant_id}"], name
            outer = folders.outerjoin(Folder.files).where(Folder.parent_id.is_(None))
            rows = await uow.session.execute(outer.with_only_columns(Folder.name, File.name).order_by(Folder.name))
            assert [tuple(row) for row in rows] == [("emptied", None), ("full", f"full {uow.actor.tenant_id}")]
            expected = sorted(await uow.session.scalars(names))
            within: dict[str, Any] = {
                "a union": names.union_all(names.where(Folder.name == "")),
                "a subquery": select(names.subquery().c.name),
                "a criterion": select(Folder.name).where(Folder.id.in_(folders.with_only_columns(Folder.id))),
            }
            for name, statement in within.items():
                assert sorted(await uow.session.scalars(statement)) == expected, name

        for tenant in (1, 2, 1):
            await offices.run(work, tenant)

    async def test_an_entity_can_be_pickled(self, offices: Offices) -> None:
        await offices.run(_two_files)

        kept = await offices.run(lambda uow: uow.files.one())
        assert pickle.loads(pickle.dumps(kept)).name == "kept 1"  # noqa: S301  # our own


class TestSoftDeletion:
    async def test_delete_marks_restore_takes_back_and_hard_delete_is_for_good(self, offices: Offices) -> None:
        async def work(uow: Office) -> None:
            _, gone = await _two_files(uow)
            assert gone.deleted_at is not None
            assert (await uow.files.restore(gone.id)).deleted_at is None
            assert await uow.files.count() == 2
            assert await uow.files.delete_where(true()) == 2
            assert await uow.files.delete_where(true()) == 0
            await uow.files.hard_delete(gone.id)
            with uow.without("soft_delete"):
                assert await uow.files.count() == 1
            with pytest.raises(NotFoundError):
                await uow.files.restore(gone.id)
            with pytest.raises(TypeError, match="derive it from SoftDeletable"):
                await uow.settings.restore(1)

        await offices.run(work)

    async def test_another_tenants_row_is_neither_restored_nor_deleted(self, offices: Offices) -> None:
        _, gone = await offices.run(_two_files, 2)

        for verb in ("restore", "hard_delete", "delete", "get"):
            with pytest.raises(NotFoundError):
                await offices.run(lambda uow, verb=verb: getattr(uow.files, verb)(gone.id))  # type: ignore[misc]
        assert await offices.run(lambda uow: uow.files.delete_where(true())) == 0


class TestTenants:
    async def test_new_rows_get_the_tenant_and_another_is_refused(self, offices: Offices) -> None:
        async def work(uow: Office) -> None:
            assert (await uow.folders.create({"name": "a"})).tenant_id == 1
            assert (await uow.folders.add(Folder(name="b"))).tenant_id == 1
            await uow.folders.create_many([{"name": "c"}, {"name": "d", "tenant_id": 1}])
            await uow.files.upsert({"name": "e"}, on=File.name)
            await uow.files.get_or_create({"name": "f"}, on=File.name)
            await uow.files.upsert_many([{"name": "g"}], on=File.name)
            assert (await uow.folders.count(), await uow.files.count()) == (4, 3)
            for refused in (
                uow.folders.create({"name": "x", "tenant_id": 2}),
                uow.folders.create_many([{"name": "x", "tenant_id": 2}]),
                uow.folders.add(Folder(name="x", tenant_id=2)),
            ):
                with pytest.raises(PermissionDeniedError, match="out of the scope"):
                    await refused
            raise _EnoughError

        with pytest.raises(_EnoughError):
            await offices.run(work)

    async def test_no_change_moves_a_row_to_another_tenant(self, offices: Offices) -> None:
        kept, _ = await offices.run(_two_files)

        attempts: list[Work] = [
            lambda uow: uow.files.update(kept.id, {"tenant_id": 2}),
            lambda uow: uow.files.update_where(true(), values={"tenant_id": 2}),
        ]
        for work in attempts:
            with pytest.raises(PermissionDeniedError, match=r"File\.tenant_id cannot be changed"):
                await offices.run(work)

        async def lifted(uow: Office) -> None:
            with uow.without("tenant"):
                await uow.files.update(kept.id, {"tenant_id": 2})

        await offices.run(lifted)
        assert (await offices.run(lambda uow: uow.files.get(kept.id), 2)).tenant_id == 2

    async def test_writes_by_criteria_stay_in_scope(self, offices: Offices) -> None:
        for tenant in (1, 2):
            await offices.run(_two_files, tenant)

        assert await offices.run(lambda uow: uow.files.update_where(true(), values={"size": 5})) == 1
        assert await offices.run(lambda uow: uow.files.delete_where(File.size == 5)) == 1
        assert [file.size for file in await offices.run(lambda uow: uow.files.list(), 2)] == [0]

    async def test_an_upsert_does_not_touch_a_row_out_of_scope(self, offices: Offices) -> None:
        for tenant in (1, 2):
            await offices.run(_two_files, tenant)

        for name in ("kept 2", "gone 1"):
            row = {"name": name, "size": 9}
            attempts: list[Work] = [
                lambda uow, row=row: uow.files.upsert(row, on=File.name),  # type: ignore[misc]
                lambda uow, row=row: uow.files.upsert_many([row], on=File.name),  # type: ignore[misc]
                lambda uow, row=row: uow.files.get_or_create(row, on=File.name),  # type: ignore[misc]
            ]
            for attempt in attempts:
                with pytest.raises(UniqueViolationError):
                    await offices.run(attempt)

        async def sizes(uow: Office) -> set[int]:
            with uow.without("tenant", "soft_delete"):
                return {file.size for file in await uow.files.list()}

        assert await offices.run(sizes) == {0}

    async def test_without_a_tenant_everything_of_a_tenant_is_refused_and_nothing_else(self, offices: Offices) -> None:
        await offices.run(_two_files)

        async def work(uow: Office) -> None:
            await uow.settings.create({"name": "color", "value": "red"})
            assert await uow.settings.count() == 1
            for refused in (
                uow.files.list(),
                uow.files.get(1),
                uow.files.count(),
                uow.files.page(PageParams()),
                uow.files.create({"name": "x"}),
                uow.files.create_many([{"name": "x"}]),
                uow.files.update_where(true(), values={"size": 1}),
                uow.folders.delete_where(true()),
                uow.files.upsert({"name": "x"}, on=File.name),
            ):
                with pytest.raises(PermissionDeniedError, match=r"the actor has none.*uow\.without\('tenant'\)"):
                    await refused
            with uow.without("tenant"):
                assert await uow.files.count() == 1

        await offices.run(work, None)


class TestVersions:
    async def test_an_update_of_what_somebody_else_changed_is_stale(self, offices: Offices) -> None:
        setting = await offices.run(lambda uow: uow.settings.create({"name": "color", "value": "red"}))
        assert setting.version == 1

        async def work(uow: Office) -> None:
            read = await uow.settings.get(setting.id)
            statement = update(Setting).values(value="blue", version=2)
            await uow.session.execute(statement, execution_options={"synchronize_session": False})
            await uow.settings.update(read, {"value": "green"})

        with pytest.raises(StaleError):
            await offices.run(work)

    async def test_data_may_name_the_version_that_was_read(self, offices: Offices) -> None:
        setting = await offices.run(lambda uow: uow.settings.create({"name": "color", "value": "red"}))

        changed = await offices.run(lambda uow: uow.settings.update(setting.id, {"value": "blue", "version": 1}))
        assert (changed.value, changed.version) == ("blue", 2)
        with pytest.raises(ConflictError, match="changed or deleted since it was read"):
            await offices.run(lambda uow: uow.settings.update(setting.id, {"value": "green", "version": 1}))

    async def test_each_way_of_writing_counts(self, offices: Offices) -> None:
        async def work(uow: Office) -> None:
            assert await uow.settings.create_many([{"name": "color", "value": "red"}]) == 1
            setting = await uow.settings.one()
            assert setting.version == 1
            await uow.settings.upsert({"name": "color", "value": "blue"}, on=Setting.name)
            assert setting.version == 2
            await uow.settings.upsert_many([{"name": "color", "value": "green"}], on=Setting.name)
            assert setting.version == 3
            await uow.settings.update_where(true(), values={"value": "pink"})
            assert setting.version == 4
            assert (await uow.settings.update(setting, {"value": "grey"})).version == 5

        await offices.run(work)


class TestWhatAStatementWouldSkip:
    async def test_a_validator_sees_every_row(self, offices: Offices) -> None:
        await offices.run(_two_files)

        attempts: list[Work] = [
            lambda uow: uow.files.create_many([{"name": "x", "size": -1}]),
            lambda uow: uow.files.update_where(true(), values={"size": -1}),
        ]
        for work in attempts:
            with pytest.raises(InvalidDataError, match="a size is at least 0"):
                await offices.run(work)

    async def test_an_event_sees_every_row(self, offices: Offices) -> None:
        seen: list[str] = []

        def remember(mapper: Any, connection: Any, target: Setting) -> None:
            seen.append(target.name)

        names = ("before_insert", "before_update", "before_delete")
        for name in names:
            event.listen(Setting, name, remember)
        try:

            async def work(uow: Office) -> None:
                assert await uow.settings.create_many([{"name": "a", "value": ""}, {"name": "b", "value": ""}]) == 2
                assert await uow.settings.update_where(Setting.name == "a", values={"value": "x"}) == 1
                assert await uow.settings.delete_where(Setting.name == "b") == 1

            await offices.run(work)
        finally:
            for name in names:
                event.remove(Setting, name, remember)

        assert seen == ["a", "b", "a", "b"]

    def test_the_mixins_keep_what_the_base_says(self) -> None:
        assert inspect(Setting).eager_defaults is True


class _EnoughError(Exception):
    pass
