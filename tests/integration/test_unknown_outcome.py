"""A server that does not know what became of a COMMIT says so by its SQLSTATE; nobody may take the work for undone."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from layered_backend import CommitUnknownError, DatabaseUnavailableError, Outcome, transact
from tests.databases import ASYNC_BACKENDS, Shop, backends_of
from tests.shop import ShopUnitOfWork, add_item

UNKNOWN = ["40003", "08007"]
KNOWN = {"40001": "SerializationFailureError", "40002": "DBAPIError"}
ASYNC_POSTGRESQL = [backend for backend in ASYNC_BACKENDS if backend.server == "postgresql"]


async def _fail_at_the_commit(uow: ShopUnitOfWork, sqlstate: str) -> None:
    """Have the server answer the COMMIT with *sqlstate*."""
    for statement in (
        "CREATE TEMPORARY TABLE doubts (id integer) ON COMMIT DROP",
        "CREATE FUNCTION pg_temp.doubt() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'in doubt' USING ERRCODE = '{sqlstate}'; END $$",
        "CREATE CONSTRAINT TRIGGER doubt AFTER INSERT ON doubts INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION pg_temp.doubt()",
        "INSERT INTO doubts VALUES (1)",
    ):
        await uow.session.execute(text(statement))


@pytest.mark.parametrize("shop", backends_of("postgresql"), indirect=True, ids=str)
@pytest.mark.parametrize("sqlstate", UNKNOWN)
async def test_the_outcome_is_unknown(shop: Shop, sqlstate: str) -> None:
    units: list[ShopUnitOfWork] = []
    hooks: list[str] = []

    async def work(uow: ShopUnitOfWork) -> None:
        units.append(uow)
        uow.on_commit(lambda: hooks.append("ran"))
        await add_item(uow, "tea")
        await _fail_at_the_commit(uow, sqlstate)

    with pytest.raises(CommitUnknownError) as caught:
        await shop.run(work)

    assert isinstance(caught.value.__cause__, DatabaseUnavailableError)
    assert [unit.outcome for unit in units] == [Outcome.UNKNOWN]
    assert hooks == []
    assert await shop.names() == []


@pytest.mark.parametrize("async_shop", ASYNC_POSTGRESQL, indirect=True, ids=str)
@pytest.mark.parametrize("sqlstate", UNKNOWN)
async def test_it_is_not_run_again(async_shop: Shop, sqlstate: str) -> None:
    runs: list[ShopUnitOfWork] = []

    async def work(uow: ShopUnitOfWork) -> None:
        runs.append(uow)
        await _fail_at_the_commit(uow, sqlstate)

    with pytest.raises(CommitUnknownError):
        await transact(async_shop.unit, work)

    assert len(runs) == 1


@pytest.mark.parametrize("shop", backends_of("postgresql"), indirect=True, ids=str)
@pytest.mark.parametrize("sqlstate", KNOWN)
async def test_another_error_of_the_commit_is_known_to_have_undone_the_work(shop: Shop, sqlstate: str) -> None:
    units: list[ShopUnitOfWork] = []

    async def work(uow: ShopUnitOfWork) -> None:
        units.append(uow)
        await _fail_at_the_commit(uow, sqlstate)

    with pytest.raises(Exception) as caught:  # noqa: PT011  # its class is what the next line is about
        await shop.run(work)

    assert KNOWN[sqlstate] in {kind.__name__ for kind in type(caught.value).__mro__}
    assert [unit.outcome for unit in units] == [Outcome.ROLLED_BACK]
