from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

ATLANTIS = {"alpha_2": "XA", "alpha_3": "XAA", "numeric": "900", "name": "Atlantis"}
POSEIDONIS = {"code": "XA-PO", "country_code": "XA", "name": "Poseidonis", "type": "City"}


def codes(response: httpx2.Response) -> list[str]:
    return [row["code"] for row in response.json()]


async def test_a_country_is_read(client: httpx2.AsyncClient) -> None:
    response = await client.get("/countries/CW")

    assert response.status_code == 200
    country = response.json()
    assert country.items() >= {"alpha_2": "CW", "alpha_3": "CUW", "name": "Curaçao", "flag": "🇨🇼"}.items()
    assert datetime.fromisoformat(country["created_at"]) < datetime.now(UTC)


@pytest.mark.parametrize(
    "path", ["/countries/ZZ", "/countries/ZZ/subdivisions", "/subdivisions/GB-NO", "/subdivisions/GB-NO/children"]
)
async def test_a_code_that_does_not_exist_is_answered_with_404(client: httpx2.AsyncClient, path: str) -> None:
    response = await client.get(path)

    assert response.status_code == 404
    assert response.json()["detail"].endswith("not found")


@pytest.mark.parametrize("path", ["/countries/gb", "/countries/GBR", "/subdivisions/GB", "/languages/ENG"])
async def test_what_is_not_written_as_a_code_is_answered_with_422(client: httpx2.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 422


async def test_lists_are_read_part_by_part(client: httpx2.AsyncClient) -> None:
    whole = (await client.get("/currencies?limit=4")).json()
    parts = [(await client.get(f"/currencies?limit=2&offset={offset}")).json() for offset in (0, 2)]

    assert len(whole) == 4
    assert whole == parts[0] + parts[1]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "offset=-1", "offset=1000001", "limit=many"])
@pytest.mark.parametrize("path", ["/countries", "/subdivisions", "/currencies", "/languages"])
async def test_a_part_out_of_bounds_is_answered_with_422(client: httpx2.AsyncClient, path: str, query: str) -> None:
    assert (await client.get(f"{path}?{query}")).status_code == 422


async def test_the_subdivisions_of_a_country_are_listed(client: httpx2.AsyncClient) -> None:
    assert codes(await client.get("/countries/BE/subdivisions?limit=3&offset=11")) == ["BE-WLX", "BE-WNA"]


async def test_a_subdivision_comes_with_its_parent_and_its_country(client: httpx2.AsyncClient) -> None:
    subdivision = (await client.get("/subdivisions/FR-67")).json()

    assert subdivision["parent"]["name"] == "Alsace"
    assert subdivision["country"]["name"] == "France"


async def test_the_family_of_a_subdivision_is_listed(client: httpx2.AsyncClient) -> None:
    assert codes(await client.get("/subdivisions/FR-6AE/children")) == ["FR-67", "FR-68"]
    assert codes(await client.get("/subdivisions/FR-67/ancestors")) == ["FR-6AE", "FR-GES"]
    assert codes(await client.get("/subdivisions/FR-67/children")) == []


async def test_languages_are_searched_by_name(client: httpx2.AsyncClient) -> None:
    found = (await client.get("/languages", params={"search": "welsh"})).json()
    assert [language["name"] for language in found] == ["Middle Welsh", "Old Welsh", "Welsh", "Welsh Romani"]


async def test_a_country_is_created(client: httpx2.AsyncClient) -> None:
    response = await client.post("/countries", json=ATLANTIS)

    assert response.status_code == 201
    assert response.json()["official_name"] is None
    assert (await client.get("/countries/XA")).json() == response.json()


@pytest.mark.parametrize("taken", [{"alpha_2": "GB"}, {"alpha_3": "GBR"}, {"numeric": "826"}])
async def test_a_duplicate_code_is_answered_with_409(client: httpx2.AsyncClient, taken: dict[str, str]) -> None:
    response = await client.post("/countries", json=ATLANTIS | taken)

    assert response.status_code == 409
    assert response.json() == {"detail": f"Another row already has the same {next(iter(taken))}"}


@pytest.mark.parametrize("wrong", [{"alpha_2": "xa"}, {"numeric": "٩٠٠"}, {"name": " "}, {"colour": "blue"}])
async def test_data_that_break_the_schema_are_answered_with_422(
    client: httpx2.AsyncClient, wrong: dict[str, str]
) -> None:
    assert (await client.post("/countries", json=ATLANTIS | wrong)).status_code == 422


async def test_patch_leaves_alone_what_it_does_not_name(client: httpx2.AsyncClient) -> None:
    before = (await client.get("/countries/FR")).json()

    after = (await client.patch("/countries/FR", json={"official_name": "The Republic"})).json()

    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"official_name", "updated_at"}
    assert (await client.get("/countries/FR")).json() == after


async def test_patch_writes_a_null(client: httpx2.AsyncClient) -> None:
    response = await client.patch("/countries/FR", json={"official_name": None})

    assert response.status_code == 200
    assert (await client.get("/countries/FR")).json()["official_name"] is None


async def test_a_null_where_a_value_is_needed_is_answered_with_422(client: httpx2.AsyncClient) -> None:
    response = await client.patch("/countries/FR", json={"name": None})

    assert response.status_code == 422
    assert (await client.get("/countries/FR")).json()["name"] == "France"


async def test_patch_of_nothing_changes_nothing(client: httpx2.AsyncClient) -> None:
    before = (await client.get("/countries/FR")).json()
    assert (await client.patch("/countries/FR", json={})).json() == before


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"parent_code": "FR-67"}, 422),  # of another country
        ({"parent_code": "GB-NO"}, 409),  # does not exist
        ({"parent_code": "GB-LND"}, 409),  # lies in it
        ({"parent_code": "GB-ENG"}, 422),  # is it
        ({"code": "GB-EN"}, 422),  # cannot be changed
    ],
)
async def test_a_change_that_breaks_a_rule_is_refused(
    client: httpx2.AsyncClient, changes: dict[str, Any], status: int
) -> None:
    before = (await client.get("/subdivisions/GB-ENG")).json()

    response = await client.patch("/subdivisions/GB-ENG", json=changes)

    assert response.status_code == status
    assert (await client.get("/subdivisions/GB-ENG")).json() == before


async def test_a_subdivision_of_no_country_is_answered_with_409(client: httpx2.AsyncClient) -> None:
    response = await client.post("/subdivisions", json=POSEIDONIS)

    assert response.status_code == 409
    assert "country_code" in response.json()["detail"].lower()


async def test_what_others_refer_to_is_not_deleted(client: httpx2.AsyncClient) -> None:
    assert (await client.delete("/countries/GB")).status_code == 409
    assert (await client.delete("/subdivisions/GB-ENG")).status_code == 409
    assert (await client.get("/subdivisions/GB-LND")).json()["parent"]["code"] == "GB-ENG"


async def test_a_country_is_deleted_after_its_subdivisions(client: httpx2.AsyncClient) -> None:
    await client.post("/countries", json=ATLANTIS)
    await client.post("/subdivisions", json=POSEIDONIS)

    assert (await client.delete("/countries/XA")).status_code == 409
    assert (await client.delete("/subdivisions/XA-PO")).status_code == 204
    assert (await client.delete("/countries/XA")).status_code == 204
    assert (await client.delete("/countries/XA")).status_code == 404
