from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from examples.atlas import iso

ATLANTIS = {"alpha_2": "XA", "alpha_3": "XAA", "numeric": "900", "name": "Atlantis"}
POSEIDONIS = {"code": "XA-PO", "country_code": "XA", "name": "Poseidonis", "type": "City"}


def found(response: httpx2.Response, field: str = "code") -> list[str]:
    """Return a field of each row on a page."""
    assert response.status_code == 200, response.text
    return [row[field] for row in response.json()["items"]]


def refusals(response: httpx2.Response) -> list[str]:
    assert response.status_code == 422
    return [error["msg"] for error in response.json()["detail"]]


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


@pytest.mark.parametrize("path", ["/countries", "/subdivisions", "/currencies", "/countries/FR/subdivisions"])
async def test_lists_are_read_page_by_page(client: httpx2.AsyncClient, path: str) -> None:
    whole = (await client.get(f"{path}?size=4")).json()
    halves = [(await client.get(f"{path}?size=2&page={page}")).json() for page in (1, 2)]
    behind = (await client.get(f"{path}?page=1000")).json()

    assert whole["items"] == halves[0]["items"] + halves[1]["items"]
    assert {answer["total"] for answer in (whole, *halves, behind)} == {whole["total"]}
    assert (behind["items"], halves[0]["pages"]) == ([], -(-whole["total"] // 2))


@pytest.mark.parametrize("query", ["size=0", "size=101", "size=many", "offset=3"])
@pytest.mark.parametrize(
    "path", ["/countries", "/subdivisions", "/currencies", "/languages", "/subdivisions/GB-ENG/children"]
)
async def test_a_page_out_of_bounds_is_answered_with_422(client: httpx2.AsyncClient, path: str, query: str) -> None:
    assert (await client.get(f"{path}?{query}")).status_code == 422


async def test_the_subdivisions_of_a_country_are_listed(client: httpx2.AsyncClient) -> None:
    assert found(await client.get("/countries/BE/subdivisions?size=11&page=2")) == ["BE-WLX", "BE-WNA"]


async def test_countries_are_filtered_and_sorted(client: httpx2.AsyncClient) -> None:
    assert found(await client.get("/countries?name=GUINEA&sort=-name"), "alpha_2") == ["PG", "GW", "GN", "GQ"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("country=BE&type=Region", ["BE-BRU", "BE-VLG", "BE-WAL"]),
        ("country=BE&type=Region&sort=-name", ["BE-WAL", "BE-VLG", "BE-BRU"]),
        ("country=GB&type=Country&type=Province&sort=-type,name", ["GB-NIR", "GB-ENG", "GB-SCT", "GB-WLS"]),
        ("parent=FR-6AE&sort=-code", ["FR-68", "FR-67"]),
        ("country=GB&name=LONDON", ["GB-LND"]),
        ("country=ZZ", []),
    ],
)
async def test_subdivisions_are_filtered_and_sorted(
    client: httpx2.AsyncClient, query: str, expected: list[str]
) -> None:
    assert found(await client.get(f"/subdivisions?{query}")) == expected


async def test_what_a_list_cannot_be_asked_for_is_refused_and_what_it_can_is_named(client: httpx2.AsyncClient) -> None:
    assert refusals(await client.get("/subdivisions?county=FR")) == [
        "There is no such parameter; allowed are country, name, page, parent, size, sort, type"
    ]
    assert refusals(await client.get("/subdivisions?sort=created_at")) == [
        "Cannot sort by created_at; allowed are code, name, type"
    ]
    assert refusals(await client.get("/languages?page=2")) == [
        "There is no such parameter; allowed are cursor, name, size, type"
    ]
    assert "'A', 'C', 'E', 'H', 'L' or 'S'" in refusals(await client.get("/languages?type=X"))[0]


async def test_the_document_shows_what_a_list_can_be_asked_for(client: httpx2.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]

    parameters = {parameter["name"]: parameter for parameter in paths["/subdivisions"]["get"]["parameters"]}
    assert set(parameters) == {"country", "parent", "type", "name", "sort", "page", "size"}
    assert "Allowed: code, name, type." in parameters["sort"]["description"]
    assert {parameter["name"] for parameter in paths["/languages"]["get"]["parameters"]} == {
        "name",
        "type",
        "cursor",
        "size",
    }


async def test_a_subdivision_comes_with_its_parent_and_its_country(client: httpx2.AsyncClient) -> None:
    subdivision = (await client.get("/subdivisions/FR-67")).json()

    assert subdivision["parent"]["name"] == "Alsace"
    assert subdivision["country"]["name"] == "France"


async def test_the_family_of_a_subdivision_is_listed(client: httpx2.AsyncClient) -> None:
    assert found(await client.get("/subdivisions/FR-6AE/children")) == ["FR-67", "FR-68"]
    ancestors = (await client.get("/subdivisions/FR-67/ancestors")).json()
    assert [ancestor["code"] for ancestor in ancestors] == ["FR-6AE", "FR-GES"]
    assert found(await client.get("/subdivisions/FR-67/children")) == []


async def test_languages_are_walked_by_their_names_both_ways(client: httpx2.AsyncClient) -> None:
    walked: list[list[str]] = []
    path = query = "/languages?name=WELSH&size=3"
    while True:
        answer = await client.get(path)
        walked.append(found(answer, "name"))
        if answer.json()["next"] is None:
            break
        path = f"{query}&cursor={answer.json()['next']}"

    assert walked == [["Middle Welsh", "Old Welsh", "Welsh"], ["Welsh Romani"]]
    back = await client.get(f"{query}&cursor={answer.json()['previous']}")
    assert found(back, "name") == walked[0]


async def test_every_language_is_on_one_page(client: httpx2.AsyncClient) -> None:
    names: list[str] = []
    cursor = ""
    while cursor is not None:
        page = await client.get(f"/languages?size=100&type=E{cursor and f'&cursor={cursor}'}")
        names += found(page, "name")
        cursor = page.json()["next"]

    assert len(names) == len([language for language in iso.languages() if language.type == "E"])
    assert names == sorted(names)


async def test_a_cursor_is_refused_with_another_filter_and_when_it_is_broken(client: httpx2.AsyncClient) -> None:
    cursor = (await client.get("/languages?name=welsh&size=3")).json()["next"]

    for query in (f"name=irish&cursor={cursor}", f"name=welsh&cursor={cursor[:-2]}", "cursor=x"):
        answer = await client.get(f"/languages?{query}")
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("The cursor is broken or was made for another sort or filter")


async def test_a_percent_sign_is_searched_for_as_it_is(client: httpx2.AsyncClient) -> None:
    assert found(await client.get("/languages?name=%25"), "name") == []
    assert found(await client.get("/languages?name=_"), "name") == []


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
