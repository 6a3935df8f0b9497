"""For any two data sets A and B: to seed A and then B is to seed B, but for what B leaves alone."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL, delete, insert, make_url, select, update

from layered_backend import Database
from layered_backend.seeding import Seeder, SeedRunner, ref
from tests.databases import SYNC_BACKENDS, Backend, Servers
from tests.seeding.catalogue import Label, Node, Product, Sample
from tests.seeding.conftest import create_tables

Key = tuple[str | None, str]

_texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=5)
_names = st.sampled_from(["a", "A", "a ", "é", "", "'", "%", "b", "c"])
_keys = st.tuples(st.none() | _names, _names)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.just(0.5) | _texts,
    lambda children: st.lists(children, max_size=2) | st.dictionaries(_texts, children, max_size=2),
    max_leaves=4,
)


@dataclass(frozen=True)
class DataSet:
    """What a release of an application ships.

    Attributes:
        labels: The notes by key, the key with NULLs; those with None leave the note out.
        retired: Keys of labels.
        samples: The JSON and the ratio by code.
        products: The price, which is set once, and the position by name.
        nodes: A tree: the name of each node's parent among those before it, by the node's own.
    """

    labels: dict[Key, str | None]
    retired: frozenset[Key]
    samples: dict[str, tuple[Any, float]]
    products: dict[str, tuple[Decimal, str | None]]
    nodes: dict[str, str | None]


@st.composite
def data_sets(draw: st.DrawFn) -> DataSet:
    labels = draw(st.dictionaries(_keys, st.none() | _texts, max_size=6))
    nodes: dict[str, str | None] = {}
    for name in draw(st.permutations(["r", "s", "t", "u"])):
        if draw(st.booleans()):
            nodes[name] = draw(st.sampled_from([None, *nodes]))
    return DataSet(
        labels,
        draw(st.frozensets(_keys, max_size=4)) - labels.keys(),
        draw(st.dictionaries(_names, st.tuples(_json, st.floats(-9, 9, width=16)), max_size=4)),
        draw(st.dictionaries(_names, st.tuples(st.decimals(0, 99, places=2), st.none() | _texts), max_size=4)),
        nodes,
    )


def seeders_of(data: DataSet) -> list[type[Seeder[Any]]]:
    class LabelSeeder(Seeder[Label]):
        key = (Label.scope, Label.text)
        retired = tuple(data.retired)

        def rows(self) -> Any:
            for (scope, label), note in data.labels.items():
                yield {"scope": scope, "text": label} | ({} if note is None else {"note": note})

    class SampleSeeder(Seeder[Sample]):
        key = (Sample.code,)

        def rows(self) -> Any:
            return [{"code": code, "data": json, "ratio": ratio} for code, (json, ratio) in data.samples.items()]

    class ProductSeeder(Seeder[Product]):
        key = (Product.name,)
        insert_only = (Product.price,)

        def rows(self) -> Any:
            return [{"name": name, "price": price, "note": note} for name, (price, note) in data.products.items()]

    class NodeSeeder(Seeder[Node]):
        key = (Node.name,)

        def rows(self) -> Any:
            for name, parent in reversed(data.nodes.items()):
                yield {"name": name, "parent_id": parent and ref(NodeSeeder, parent)}

    return [LabelSeeder, SampleSeeder, ProductSeeder, NodeSeeder]


@dataclass
class Store:
    """A database, with the tables and no rows."""

    database: Database

    def seed(self, data: DataSet) -> dict[str, int]:
        report = SeedRunner(seeders_of(data), database=self.database).run_sync()
        for result in report.results:
            if result.error is not None:
                raise result.error
        return {"written": sum(result.inserted + result.updated + result.deleted for result in report.results)}

    def add(self, keys: set[Key]) -> None:
        """Store labels as a user would."""
        with self.database.sync_engine.begin() as connection:
            for scope, label in keys:
                connection.execute(insert(Label).values(scope=scope, text=label, note="of a user"))

    def clear(self) -> None:
        with self.database.sync_engine.begin() as connection:
            connection.execute(update(Node).values(parent_id=None))
            for model in (Label, Sample, Product, Node):
                connection.execute(delete(model))

    def contents(self) -> dict[str, dict[Any, Any]]:
        """Return all rows, each by its natural key."""
        with self.database.sync_engine.connect() as connection:
            labels = connection.execute(select(Label.scope, Label.text, Label.note)).all()
            samples = connection.execute(select(Sample.code, Sample.data, Sample.ratio)).all()
            products = connection.execute(select(Product.name, Product.price, Product.note)).all()
            nodes = connection.execute(select(Node.id, Node.name, Node.parent_id)).all()
        names: dict[int | None, str] = {key: name for key, name, _ in nodes}
        contents: dict[str, dict[Any, Any]] = {
            "labels": {(scope, label): note for scope, label, note in labels},
            "samples": {code: (repr(json), ratio) for code, json, ratio in samples},
            "products": {name: (price, note) for name, price, note in products},
            "nodes": {name: names.get(parent) for _, name, parent in nodes},
        }
        assert [len(rows) for rows in contents.values()] == [len(labels), len(samples), len(products), len(nodes)]
        return contents


@pytest.fixture(scope="module", params=SYNC_BACKENDS, ids=str)
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, catalogue_servers: Servers
) -> Generator[Store]:
    with Database(_url(request.param, tmp_path_factory, catalogue_servers)) as database:
        yield Store(database)


def _url(backend: Backend, folders: pytest.TempPathFactory, servers: Servers) -> URL:
    if backend.server != "sqlite":
        return servers.url(backend.server)
    url = make_url(f"sqlite:///{folders.mktemp('property') / 'catalogue.db'}")
    create_tables(url)
    return url


def expected(first: dict[str, Any], alone: dict[str, Any], b: DataSet) -> dict[str, Any]:
    """Return what is there after B was seeded on *first*, given what B makes of an empty database."""
    left = {table: {key: row for key, row in rows.items() if key not in alone[table]} for table, rows in first.items()}
    left["labels"] = {key: note for key, note in left["labels"].items() if key not in b.retired}
    labels = {key: first["labels"].get(key) if b.labels[key] is None else note for key, note in alone["labels"].items()}
    products = {
        name: (first["products"].get(name, (price,))[0], note) for name, (price, note) in alone["products"].items()
    }
    return {
        "labels": left["labels"] | labels,
        "samples": left["samples"] | alone["samples"],
        "products": left["products"] | products,
        "nodes": left["nodes"] | alone["nodes"],
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(a=data_sets(), b=data_sets(), users=st.sets(_keys, max_size=3))
def test_seeding_a_and_then_b_is_seeding_b(store: Store, a: DataSet, b: DataSet, users: set[Key]) -> None:
    store.clear()
    store.seed(b)
    alone = store.contents()
    store.clear()
    store.seed(a)
    store.add(users - a.labels.keys())
    first = store.contents()

    store.seed(b)

    assert store.contents() == expected(first, alone, b)
    assert store.seed(b) == {"written": 0}
