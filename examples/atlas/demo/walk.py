"""A walk through the atlas: requests, and what came back."""

import json
from dataclasses import dataclass
from typing import TypeAlias

import httpx2
from rich.console import Console
from rich.text import Text

from examples.atlas.demo.errors import DemonstrationError

Json: TypeAlias = "dict[str, Json] | list[Json] | str | float | None"

_SHOWN = frozenset(
    {"alpha_2", "alpha_3", "code", "name", "official_name", "type", "flag", "parent", "detail", "msg"}
    | {"items", "total", "pages", "next", "previous"}
)

# ISO leaves codes that begin with X, and the numbers from 900, to whoever wants to use them.
_ATLANTIS: Json = {"alpha_2": "XA", "alpha_3": "XAA", "numeric": "900", "name": "Atlantis"}
_ALBION: Json = {"alpha_2": "GB", "alpha_3": "XAB", "numeric": "901", "name": "Albion"}
_POSEIDONIS: Json = {"code": "XA-PO", "country_code": "XA", "name": "Poseidonis", "type": "City"}


@dataclass(frozen=True)
class Step:
    """One request: what it shows, and the status that it is answered with. `{next}` is of the answer before."""

    title: str
    status: int
    method: str
    path: str
    body: Json = None


STEPS = (
    Step("A country", 200, "GET", "/countries/FR"),
    Step("Countries by a part of their name, sorted by it", 200, "GET", "/countries?name=island&sort=name&size=2"),
    Step("Two subdivisions of a country, and how many it has", 200, "GET", "/countries/FR/subdivisions?size=2"),
    Step(
        "The regions of Belgium, the last first", 200, "GET", "/subdivisions?country=BE&type=Region&sort=-name&size=2"
    ),
    Step("A subdivision with its parent", 200, "GET", "/subdivisions/FR-67"),
    Step("All that it lies in", 200, "GET", "/subdivisions/FR-67/ancestors"),
    Step("All that lies in its parent", 200, "GET", "/subdivisions/FR-6AE/children"),
    Step("A currency", 200, "GET", "/currencies/EUR"),
    Step("Languages by a part of their name", 200, "GET", "/languages?name=welsh&size=3"),
    Step("The next page, by the cursor", 200, "GET", "/languages?name=welsh&size=3&cursor={next}"),
    Step("A cursor, with another filter than its own", 422, "GET", "/languages?name=irish&size=3&cursor={previous}"),
    Step("A filter that is not there: the answer names those that are", 422, "GET", "/subdivisions?county=FR"),
    Step("A sort that is not allowed", 422, "GET", "/subdivisions?sort=-created_at"),
    Step("A code that no country has", 404, "GET", "/countries/ZZ"),
    Step("A new country", 201, "POST", "/countries", _ATLANTIS),
    Step("Another one with a code that is taken", 409, "POST", "/countries", _ALBION),
    Step("PATCH changes what it names", 200, "PATCH", "/countries/XA", {"official_name": "The Sunken Realm"}),
    Step("PATCH writes a null", 200, "PATCH", "/countries/XA", {"official_name": None}),
    Step("PATCH of a null where a value is needed", 422, "PATCH", "/countries/XA", {"name": None}),
    Step("A new subdivision", 201, "POST", "/subdivisions", _POSEIDONIS),
    Step("A parent of another country: a rule", 422, "PATCH", "/subdivisions/XA-PO", {"parent_code": "FR-67"}),
    Step("A parent that is not there: a foreign key", 409, "PATCH", "/subdivisions/XA-PO", {"parent_code": "XA-NO"}),
    Step("Deleting a country that has a subdivision", 409, "DELETE", "/countries/XA"),
    Step("Deleting the subdivision", 204, "DELETE", "/subdivisions/XA-PO"),
    Step("Deleting the country", 204, "DELETE", "/countries/XA"),
)


def walk(url: str, console: Console) -> None:
    """Send each request to the server at *url* and print what came back. What the walk creates, it deletes.

    Raises:
        DemonstrationError: An answer has another status than expected.
        httpx2.HTTPError: The server does not answer.
    """
    with httpx2.Client(base_url=url) as client:
        _delete_leftovers(client)
        answer: Json = None
        for step in STEPS:
            answer = _take(step, _path(step, answer), client, console)


def _delete_leftovers(client: httpx2.Client) -> None:
    """Delete what a walk that was interrupted has created."""
    client.delete("/subdivisions/XA-PO")
    client.delete("/countries/XA")


def _path(step: Step, last: Json) -> str:
    return step.path.format_map(last) if isinstance(last, dict) else step.path


def _take(step: Step, path: str, client: httpx2.Client, console: Console) -> Json:
    response = client.request(step.method, path, json=step.body)
    answer: Json = response.json() if response.content else None
    style = "green" if response.is_success else "yellow"
    console.print(Text(f"\n{step.title}", "bold"), soft_wrap=True)
    console.print(Text(f"  {step.method} {path} {_json(step.body)}".rstrip()), soft_wrap=True)
    console.print(
        Text.assemble("  ", (str(response.status_code), style), f" {_json(_shortened(answer))}".rstrip()),
        soft_wrap=True,
    )
    if response.status_code != step.status:
        raise DemonstrationError(f"that should have been answered with {step.status}")
    return answer


def _shortened(value: Json) -> Json:
    """Return an answer without the fields that would hide what a step shows."""
    if isinstance(value, list):
        return [_shortened(member) for member in value]
    if isinstance(value, dict):
        return {name: _shortened(field) for name, field in value.items() if name in _SHOWN}
    return value


def _json(value: Json) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)
