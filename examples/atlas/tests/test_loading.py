import asyncio
from collections.abc import Sequence

import pycountry
import pytest
from sqlalchemy import func, select

from examples.atlas import iso
from examples.atlas.loading import DATA_SETS, DataSet, load_atlas
from examples.atlas.models import Currency, Subdivision
from examples.atlas.schemas import CurrencyCreate
from examples.atlas.services import CurrencyService
from examples.atlas.unit_of_work import AtlasUnitOfWork
from layered_backend import Database, UniqueViolationError

CURRENCIES = DataSet("currencies", iso.currencies, CurrencyService)


async def test_every_row_of_the_standards_is_loaded(atlas: Database) -> None:
    async with AtlasUnitOfWork(atlas) as uow:
        assert await uow.countries.count() == len(pycountry.countries)
        assert await uow.subdivisions.count() == len(pycountry.subdivisions)
        assert await uow.currencies.count() == len(pycountry.currencies)
        assert await uow.languages.count() == len(pycountry.languages)


async def test_every_subdivision_has_the_parent_of_the_standard(atlas: Database) -> None:
    async with AtlasUnitOfWork(atlas) as uow:
        parents = {subdivision.code: subdivision.parent_code for subdivision in await uow.subdivisions.list()}

    assert parents == {row.code: row.parent_code for row in iso.subdivisions()}
    assert parents["GB-LND"] == "GB-ENG"
    assert parents["GB-ENG"] is None


def test_parents_come_before_their_children() -> None:
    seen: set[str | None] = {None}
    for row in iso.subdivisions():
        assert row.parent_code in seen
        seen.add(row.code)


async def test_a_second_load_changes_nothing(atlas: Database) -> None:
    newest = select(func.max(Subdivision.updated_at))
    async with AtlasUnitOfWork(atlas) as uow:
        before = await uow.session.scalar(newest)

    loaded = await load_atlas(atlas)

    assert loaded == {data_set.name: 0 for data_set in DATA_SETS}
    async with AtlasUnitOfWork(atlas) as uow:
        assert await uow.session.scalar(newest) == before


async def test_the_progress_is_reported_row_by_row(empty: Database) -> None:
    reports: list[tuple[str, int, int]] = []

    def report(data_set: str, loaded: int, total: int) -> None:
        reports.append((data_set, loaded, total))

    await load_atlas(empty, report, [CURRENCIES])

    total = len(pycountry.currencies)
    assert reports == [("currencies", loaded, total) for loaded in range(1, total + 1)]


async def test_a_data_set_that_fails_leaves_no_row(empty: Database) -> None:
    def twice_the_euro() -> Sequence[CurrencyCreate]:
        return [CurrencyCreate(alpha_3="EUR", numeric=numeric, name="Euro") for numeric in ("978", "979")]

    with pytest.raises(UniqueViolationError):
        await load_atlas(empty, data_sets=[DataSet("currencies", twice_the_euro, CurrencyService)])

    async with AtlasUnitOfWork(empty) as uow:
        assert not await uow.currencies.exists()


async def test_of_two_that_load_at_once_one_finds_the_work_done(empty: Database) -> None:
    first, second = await asyncio.gather(*(load_atlas(empty, data_sets=[CURRENCIES]) for _ in range(2)))

    assert {first["currencies"], second["currencies"]} == {0, len(pycountry.currencies)}
    async with AtlasUnitOfWork(empty) as uow:
        assert await uow.currencies.count(Currency.alpha_3 == "EUR") == 1
