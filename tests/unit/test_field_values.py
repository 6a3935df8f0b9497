from __future__ import annotations

import datetime
from collections import defaultdict
from typing import Any

import pytest
from pydantic import BaseModel, Field, computed_field, field_serializer
from sqlalchemy import JSON, inspect
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, column_property, mapped_column

from layered_backend import InvalidDataError, UnknownFieldError
from layered_backend.field_values import changed_values, new_batch, new_values
from tests.shop import Base, Item


class Parcel(Base):
    __tablename__ = "parcels"

    id: Mapped[int] = mapped_column(primary_key=True)
    grams: Mapped[int] = mapped_column()
    labels: Mapped[dict[str, Any]] = mapped_column(JSON)

    doubled: Mapped[int] = column_property(grams * 2)

    @hybrid_property
    def kilograms(self) -> float:
        return self.grams / 1000

    @kilograms.inplace.setter
    def _set_kilograms(self, value: float) -> None:
        self.grams = round(value * 1000)

    @hybrid_property
    def tons(self) -> float:
        return self.kilograms / 1000


A_MOMENT = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)


class Patch(BaseModel):
    name: str | None = None
    color: str = "red"


def test_a_change_holds_what_was_set_and_an_explicit_null() -> None:
    assert changed_values(inspect(Item), Patch()) == {}
    assert changed_values(inspect(Item), Patch(name=None)) == {"name": None}


def test_a_new_entity_gets_the_defaults_of_the_schema_but_not_its_nulls() -> None:
    assert new_values(inspect(Item), Patch()) == {"color": "red"}
    assert new_values(inspect(Item), Patch(name=None)) == {"color": "red", "name": None}


def test_a_mapping_is_taken_as_it_is_and_not_changed() -> None:
    data = {"name": "tea"}

    assert new_values(inspect(Item), data) == changed_values(inspect(Item), data) == data
    assert new_values(inspect(Item), data) is not data


def test_hybrids_are_known_and_json_columns_take_mappings() -> None:
    values = {"kilograms": 1.5, "labels": {"to": "DE"}}

    assert new_values(inspect(Parcel), values) == values


@pytest.mark.parametrize("field", ["grams", "id"])
def test_a_mapping_for_a_plain_column_is_refused(field: str) -> None:
    with pytest.raises(InvalidDataError, match=rf"Parcel\.{field} takes a single value, not a mapping"):
        changed_values(inspect(Parcel), {field: {"' OR 1": 1}})


@pytest.mark.parametrize("field", ["doubled", "tons"])
def test_a_computed_field_is_refused(field: str) -> None:
    with pytest.raises(InvalidDataError, match=rf"Parcel\.{field} is computed and cannot be written"):
        changed_values(inspect(Parcel), {field: 1})


class Label(BaseModel):
    printed_at: datetime.datetime = Field(alias="printedAt")


class ParcelPatch(BaseModel):
    grams: int = Field(0, alias="Grams", exclude=True)
    labels: dict[str, str] | Label = Field(default_factory=dict[str, str], alias="Labels")

    @field_serializer("grams")
    def pounds(self, grams: int) -> str:
        return f"{grams / 453.6} lb"

    @computed_field  # type: ignore[prop-decorator]  # as Pydantic documents it
    @property
    def kilograms(self) -> float:
        return self.grams / 1000


def test_aliases_serializers_and_computed_fields_of_a_schema_are_for_responses() -> None:
    moment = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    patch = ParcelPatch.model_validate({"Grams": 5, "Labels": {"printedAt": moment}})

    assert changed_values(inspect(Parcel), patch) == {"grams": 5, "labels": {"printed_at": "2026-01-02T00:00:00Z"}}
    assert changed_values(inspect(Parcel), ParcelPatch.model_validate({"Grams": 5})) == {"grams": 5}


def test_an_extra_field_of_a_schema_is_unknown_too() -> None:
    class Loose(BaseModel, extra="allow"):
        pass

    with pytest.raises(UnknownFieldError, match="did you mean 'name'"):
        new_values(inspect(Item), Loose.model_validate({"naem": datetime.date.min}))


class TestManyRows:
    @pytest.mark.parametrize(
        "rows",
        [
            [],
            [{}, {}],
            [{"grams": 1}, {"grams": 2}],
            [{"grams": 1, "kilograms": 2}, {"kilograms": 3, "grams": 4}],
            [{"grams": 1}, {"grams": 2, "kilograms": 3}],
            [{"grams": 1}, {"kilograms": 2}, {"grams": None, "kilograms": 3}],
            [defaultdict(int, grams=1), defaultdict(int, kilograms=2)],
            [{"labels": {"to": "DE"}}, {"labels": None}, {"labels": Label(printedAt=A_MOMENT)}],
            [ParcelPatch(Grams=1), ParcelPatch(Grams=2, Labels={"to": "FR"}), {"grams": 3}],
        ],
        ids=repr,
    )
    def test_they_are_as_each_of_them(self, rows: list[Any]) -> None:
        batch = new_batch(inspect(Parcel), rows)

        assert batch.size == len(rows)
        assert batch.rows() == [new_values(inspect(Parcel), row) for row in rows]

    @pytest.mark.parametrize("bad", [{"gram": 1}, {"grams": {"a": 1}}, {"grams": [{"a": 1}]}, {"tons": 1}], ids=repr)
    def test_one_that_is_refused_is_refused_among_others(self, bad: dict[str, Any]) -> None:
        with pytest.raises(InvalidDataError) as single:
            new_values(inspect(Parcel), bad)
        with pytest.raises(type(single.value)) as among:
            new_batch(inspect(Parcel), [{"grams": 1}, bad, {"grams": 2}])

        assert str(among.value) == str(single.value)
