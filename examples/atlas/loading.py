"""Loading the ISO standards into the database, through the services."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from examples.atlas import iso
from examples.atlas.services import CountryService, CurrencyService, LanguageService, SubdivisionService
from examples.atlas.unit_of_work import AtlasUnitOfWork
from layered_backend import BaseService, Database, TransientError, UniqueViolationError

Report = Callable[[str, int, int], None]
"""Hears how far the loading is: the name of a data set, its rows so far, its rows altogether."""


@dataclass(frozen=True)
class DataSet:
    """One of the standards: where its rows come from, and the service that takes them."""

    name: str
    read: Callable[[], Sequence[BaseModel]]
    service: type[BaseService[Any, Any, Any, Any, Any]]


DATA_SETS = (
    DataSet("countries", iso.countries, CountryService),
    DataSet("subdivisions", iso.subdivisions, SubdivisionService),
    DataSet("currencies", iso.currencies, CurrencyService),
    DataSet("languages", iso.languages, LanguageService),
)


def silent(data_set: str, loaded: int, total: int) -> None:
    """Report nothing."""


async def load_atlas(
    database: Database, report: Report = silent, data_sets: Sequence[DataSet] = DATA_SETS
) -> Mapping[str, int]:
    """Load the data sets that are not there yet, each in a unit of work of its own, so wholly or not at all.

    Args:
        database: With the tables of the atlas.
        report: Called after each row.
        data_sets: Which to load, what others refer to first.

    Returns:
        How many rows were loaded, by data set.
    """
    return {data_set.name: await _load(data_set, database, report) for data_set in data_sets}


async def _load(data_set: DataSet, database: Database, report: Report) -> int:
    try:
        return await _load_once(data_set, database, report)
    except (UniqueViolationError, TransientError):  # another process that started at the same time was faster
        return await _load_once(data_set, database, report)


async def _load_once(data_set: DataSet, database: Database, report: Report) -> int:
    async with AtlasUnitOfWork(database) as uow:
        service = data_set.service.of(uow)
        if await service.exists():
            return 0
        rows = data_set.read()
        for loaded, row in enumerate(rows, start=1):
            await service.create(row)
            report(data_set.name, loaded, len(rows))
        return len(rows)
