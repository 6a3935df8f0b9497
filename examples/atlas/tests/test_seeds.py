import io

import httpx2
import pycountry
from rich.console import Console
from sqlalchemy import update

from examples.atlas import iso
from examples.atlas.application import create_app
from examples.atlas.demo.progress import shown
from examples.atlas.models import Country, Currency
from examples.atlas.seeds import seeds
from examples.atlas.unit_of_work import AtlasUnitOfWork
from layered_backend import Database

NAMES = ["countries", "currencies", "languages", "subdivisions"]


async def test_every_row_of_the_standards_is_there(atlas: Database) -> None:
    async with AtlasUnitOfWork(atlas) as uow:
        assert await uow.countries.count() == len(pycountry.countries)
        assert await uow.subdivisions.count() == len(pycountry.subdivisions)
        assert await uow.currencies.count() == len(pycountry.currencies)
        assert await uow.languages.count() == len(pycountry.languages)


async def test_every_subdivision_has_the_country_and_the_parent_of_the_standard(atlas: Database) -> None:
    async with AtlasUnitOfWork(atlas) as uow:
        stored = {row.code: (row.country_code, row.parent_code) for row in await uow.subdivisions.list()}

    assert stored == {row.code: (row.country_code, row.parent_code) for row in iso.subdivisions()}
    assert stored["GB-LND"] == ("GB", "GB-ENG")
    assert stored["GB-ENG"] == ("GB", None)


def test_what_is_referred_to_comes_first() -> None:
    order = [seeder.name for seeder in seeds.plan().order]

    assert sorted(order) == NAMES
    assert order.index("countries") < order.index("subdivisions")


async def test_the_edits_of_a_user_survive_and_what_only_the_standard_says_is_mended(atlas: Database) -> None:
    async with AtlasUnitOfWork(atlas) as uow:
        await uow.countries.update("FR", {"name": "Gaul", "numeric": "999"})
        await uow.subdivisions.update("GB-LND", {"parent_code": None})
        await uow.session.execute(update(Currency).where(Currency.alpha_3 == "EUR").values(name="Ecu"))

    report = await seeds.run(database=atlas)

    assert {result.name: result.updated for result in report.results if result.updated} == {
        "countries": 1,
        "currencies": 1,
    }
    async with AtlasUnitOfWork(atlas) as uow:
        france = await uow.countries.get("FR")
        assert (france.name, france.numeric) == ("Gaul", "250")
        assert (await uow.subdivisions.get("GB-LND")).parent_code is None
        assert (await uow.currencies.get("EUR")).name == "Euro"


async def test_a_row_that_is_gone_comes_back_and_a_users_own_stays(atlas: Database) -> None:
    async with AtlasUnitOfWork(atlas) as uow:
        await uow.currencies.delete("EUR")
        await uow.countries.create({"alpha_2": "XA", "alpha_3": "XAA", "numeric": "900", "name": "Atlantis"})

    report = await seeds.run(database=atlas)

    assert {result.name: result.inserted for result in report.results if result.inserted} == {"currencies": 1}
    async with AtlasUnitOfWork(atlas) as uow:
        assert await uow.countries.exists(Country.alpha_2 == "XA")


async def test_the_application_seeds_before_its_first_request(empty: Database) -> None:
    app = create_app(empty)
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://atlas") as client,
    ):
        ready = await client.get("/health/ready")
        country = await client.get("/countries/CW")

    assert ready.json() == {"status": "ready", "database": "up", "seeding": "done"}
    assert country.json()["name"] == "Curaçao"


async def test_a_terminal_shows_a_bar_for_each_data_set(empty: Database) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100)

    with shown(terminal) as tell:
        await seeds.run(database=empty, progress=tell)

    assert isinstance(terminal.file, io.StringIO)
    printed = terminal.file.getvalue()
    assert [name for name in NAMES if name not in printed] == []
    assert f"{len(pycountry.languages)}/{len(pycountry.languages)}" in printed


def test_a_pipe_is_shown_no_bars() -> None:
    with shown(Console(file=io.StringIO())) as tell:
        assert tell is None
