"""The plan of a run, made without a database."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from layered_backend import SeedPlanError
from layered_backend.seeding import Seeder, SeedRunner
from tests.shop import Category, Item


class Base(Seeder[Category]):
    key = (Category.name,)

    def rows(self) -> list[Any]:
        return []


class A(Base):
    tags = ("small",)


class B(Base):
    depends_on = (A,)


class C(Base):
    depends_on = (B, A)
    tags = ("large", "demo")


class Demo(Base):
    depends_on = (A,)
    environments = ("development", "preview")
    tags = ("demo",)


RUNNER = SeedRunner([C, Demo, B, A])


def _names(**options: Any) -> list[str]:
    return [seeder.name for seeder in RUNNER.plan(**options).order]


def test_each_comes_after_what_it_depends_on_and_otherwise_as_given() -> None:
    assert _names() == ["A", "B", "C", "Demo"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"only": ["B"]}, ["A", "B"]),
        ({"only": "C"}, ["A", "B", "C"]),
        ({"only": [Demo, A]}, ["A", "Demo"]),
        ({"only": []}, []),
        ({"tags": ["small"]}, ["A"]),
        ({"tags": ["large", "demo"]}, ["A", "B", "C", "Demo"]),
        ({"only": ["C", "Demo"], "tags": "large"}, ["A", "B", "C"]),
    ],
)
def test_what_is_wanted_brings_its_dependencies(options: dict[str, Any], expected: list[str]) -> None:
    assert _names(**options) == expected


def test_the_environment_is_the_argument_else_the_variable_else_development(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAYERED_ENV", raising=False)
    assert RUNNER.plan().environment == "development"
    monkeypatch.setenv("LAYERED_ENV", "preview")
    assert RUNNER.plan().environment == "preview"
    assert RUNNER.plan(environment="test").environment == "test"


def test_a_seeder_for_other_environments_is_excluded_with_a_reason() -> None:
    assert RUNNER.plan(environment="production").excluded == {
        Demo: "it is not for production, but for development, preview"
    }


class _Circle1(Base):
    pass


class _Circle2(Base):
    depends_on = (_Circle1,)


_Circle1.depends_on = (_Circle2,)


class _Namesake(Base):
    name = "A"


class _NoKey(Seeder[Category]):
    def rows(self) -> list[Any]:
        return []


class _NoModel(Seeder[Any]):
    def rows(self) -> list[Any]:
        return []


class _NoRows(Seeder[Category]):
    key = (Category.name,)


class _KeyOfAnother(Base):
    key = (Item.name,)


class _BareKey(Base):
    key: ClassVar[Any] = Category.name


class _BareTag(Base):
    tags: ClassVar[Any] = "demo"


@pytest.mark.parametrize(
    ("seeders", "options", "message"),
    [
        ([_Circle1, _Circle2], {}, "in a circle: _Circle1 -> _Circle2 -> _Circle1"),
        ([B], {}, "B depends on A, which the runner was not given"),
        ([A, _Namesake], {}, "two seeders are called A"),
        ([_NoKey], {}, r"_NoKey has no key; .* key = \(Category.name,\)"),
        ([_NoModel], {}, "does not know its model"),
        ([_NoRows], {}, "seeds nothing"),
        ([_KeyOfAnother], {}, "Item.name, which is not a column attribute of Category"),
        ([_BareKey], {}, r"write key = \(Item.name,\)"),
        ([_BareTag], {}, "_BareTag.tags is a tuple"),
        ([Category], {}, "is not a class of seeders"),
        ([A, B], {"only": ["b"]}, "there is no seeder 'b'; known are A, B"),
        ([A, B], {"only": ["Bb"]}, "did you mean B"),
        ([A, B], {"only": [C]}, "there is no seeder 'C'"),
        ([A], {"tags": ["smal"]}, "there is no tag 'smal'; did you mean small"),
        ([A, Demo], {"environment": "prod"}, "known are development, test, staging, production, preview"),
        (
            [A, Demo],
            {"environment": "production", "only": ["Demo"]},
            "Demo was asked for, and it is not for production",
        ),
    ],
)
def test_what_does_not_fit_is_told_before_anything_runs(
    seeders: list[Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SeedPlanError, match=message):
        SeedRunner(seeders).plan(**options)
