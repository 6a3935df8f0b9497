"""Requests that an OpenAPI document asks for: one for each operation, valid as far as the document says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_TEXT = "probe0000probe"  # fits every pattern and length here


@dataclass(frozen=True)
class Operation:
    """An operation of a document.

    Attributes:
        method: In capitals.
        path: With its parameters in braces.
        keys: The names of the parameters of its path.
        filters: The names of those of its query, with the schema of each.
        body: What it takes, or None; the place of each UUID in it is `{key}`.
        is_form: Whether it takes a form.
    """

    method: str
    path: str
    keys: tuple[str, ...]
    filters: Mapping[str, Any] = field(hash=False)
    body: Any = field(hash=False)
    is_form: bool

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def operations_of(document: Mapping[str, Any]) -> Iterator[Operation]:
    """Yield the operations of a document."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            parameters = operation.get("parameters", [])
            content = operation.get("requestBody", {}).get("content", {})
            schema = next((each["schema"] for each in content.values()), None)
            yield Operation(
                method.upper(),
                path,
                tuple(each["name"] for each in parameters if each["in"] == "path"),
                {each["name"]: each["schema"] for each in parameters if each["in"] == "query"},
                None if schema is None else value_of(schema, document),
                "application/json" not in content,
            )


def value_of(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Any:
    """Return a small value that fits *schema*, with `{key}` for each UUID."""
    if "$ref" in schema:
        return value_of(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return value_of(schema[choice][0], document)
    if "enum" in schema or "const" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    if schema["type"] == "object":
        properties, wanted = schema.get("properties", {}), schema.get("required", [])
        return {name: value_of(properties[name], document) for name in wanted}
    if schema["type"] == "array":
        return [value_of(schema["items"], document) for _ in range(schema.get("minItems", 0))]
    text = "{key}" if schema.get("format") == "uuid" else _TEXT
    return {"string": text, "integer": 1, "number": 1.0, "boolean": True}[schema["type"]]


def with_key(value: Any, key: str) -> Any:
    """Return *value* with *key* for each `{key}` in it."""
    if isinstance(value, dict):
        return {name: with_key(each, key) for name, each in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [with_key(each, key) for each in value]  # pyright: ignore[reportUnknownVariableType]
    return key if value == "{key}" else value
