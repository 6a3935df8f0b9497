from pathlib import Path

import pytest

from examples.atlas.schemas import SubdivisionCreate, SubdivisionDetail, SubdivisionUpdate
from examples.atlas.services import SubdivisionService
from examples.atlas.unit_of_work import AtlasUnitOfWork
from layered_backend import (
    ConflictError,
    Database,
    ForeignKeyViolationError,
    InvalidDataError,
    NotFoundError,
    PageParams,
)


def camelot(*, code: str = "GB-XX", country_code: str = "GB", parent_code: str | None = "GB-ENG") -> SubdivisionCreate:
    return SubdivisionCreate(
        code=code, country_code=country_code, parent_code=parent_code, name="Camelot", type="Castle"
    )


async def test_a_subdivision_is_created_below_its_parent(atlas: Database) -> None:
    async with AtlasUnitOfWork(atlas) as uow:
        await SubdivisionService.of(uow).create(camelot())

    async with AtlasUnitOfWork(atlas) as uow:
        stored = await uow.subdivisions.project(SubdivisionDetail).get("GB-XX")
    assert stored.parent is not None
    assert (stored.country.name, stored.parent.name) == ("United Kingdom", "England")


async def test_a_code_that_is_not_of_the_country_is_refused(atlas: Database) -> None:
    with pytest.raises(InvalidDataError, match="GB-XX does not begin with FR-"):
        async with AtlasUnitOfWork(atlas) as uow:
            await SubdivisionService.of(uow).create(camelot(country_code="FR"))


async def test_a_parent_of_another_country_is_refused(atlas: Database) -> None:
    with pytest.raises(InvalidDataError, match="FR-67 is not of the same country"):
        async with AtlasUnitOfWork(atlas) as uow:
            await SubdivisionService.of(uow).create(camelot(parent_code="FR-67"))


async def test_a_parent_of_another_country_is_refused_in_an_update_too(atlas: Database) -> None:
    with pytest.raises(InvalidDataError, match="FR-67 is not of the same country"):
        async with AtlasUnitOfWork(atlas) as uow:
            await SubdivisionService.of(uow).update("GB-LND", SubdivisionUpdate(parent_code="FR-67"))


async def test_a_subdivision_cannot_be_its_own_parent(atlas: Database) -> None:
    with pytest.raises(InvalidDataError, match="cannot be its own parent"):
        async with AtlasUnitOfWork(atlas) as uow:
            await SubdivisionService.of(uow).create(camelot(parent_code="GB-XX"))


@pytest.mark.parametrize("descendant", ["FR-6AE", "FR-67"])
async def test_a_subdivision_cannot_lie_in_what_lies_in_it(atlas: Database, descendant: str) -> None:
    with pytest.raises(ConflictError, match=f"{descendant} lies in FR-GES"):
        async with AtlasUnitOfWork(atlas) as uow:
            await SubdivisionService.of(uow).update("FR-GES", SubdivisionUpdate(parent_code=descendant))


async def test_a_parent_that_does_not_exist_is_refused_by_the_database(atlas: Database) -> None:
    with pytest.raises(ForeignKeyViolationError) as refusal:
        async with AtlasUnitOfWork(atlas) as uow:
            await SubdivisionService.of(uow).create(camelot(parent_code="GB-NO"))
    assert refusal.value.columns == ("parent_code",)


async def test_a_country_that_does_not_exist_is_refused_by_the_database(atlas: Database) -> None:
    with pytest.raises(ForeignKeyViolationError) as refusal:
        async with AtlasUnitOfWork(atlas) as uow:
            await SubdivisionService.of(uow).create(camelot(code="ZZ-XX", country_code="ZZ", parent_code=None))
    assert refusal.value.columns == ("country_code",)


async def test_an_update_writes_null_and_leaves_alone_what_it_does_not_name(atlas: Database) -> None:
    async with AtlasUnitOfWork(atlas) as uow:
        await SubdivisionService.of(uow).update("GB-LND", SubdivisionUpdate(parent_code=None))

    async with AtlasUnitOfWork(atlas) as uow:
        stored = await SubdivisionService.of(uow).get("GB-LND")
    assert stored.parent_code is None
    assert stored.name == "London, City of"


async def test_the_ancestors_are_listed_from_the_parent_up(atlas: Database) -> None:
    async with AtlasUnitOfWork(atlas) as uow:
        ancestors = await SubdivisionService.of(uow).ancestors_of("FR-67")
    assert [ancestor.name for ancestor in ancestors] == ["Alsace", "Grand-Est"]


async def test_the_subdivisions_of_no_country_are_not_an_empty_list(atlas: Database) -> None:
    with pytest.raises(NotFoundError, match="Country 'ZZ'"):
        async with AtlasUnitOfWork(atlas) as uow:
            await SubdivisionService.of(uow).of_country("ZZ", PageParams())


def test_the_same_services_work_without_an_event_loop(atlas_file: Path) -> None:
    with Database(f"sqlite:///{atlas_file}") as database, AtlasUnitOfWork(database) as uow:
        created = uow.run(SubdivisionService.of(uow).create(camelot()))
    assert created.parent_code == "GB-ENG"
