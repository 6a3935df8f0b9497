from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError
from typing import Any, cast

import pytest

from layered_backend.security import Principal

ANN = Principal("ann", frozenset({"items:read"}), {"sub": "ann", "email": "ann@shop.example"})


def test_it_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        cast("Any", ANN).subject = "bob"
    with pytest.raises(TypeError):
        cast("Any", ANN.claims)["sub"] = "bob"


def test_its_claims_are_not_those_that_somebody_else_still_holds() -> None:
    claims = {"sub": "ann"}
    principal = Principal("ann", claims=claims)

    claims["sub"] = "bob"

    assert principal.claims == {"sub": "ann"}


def test_its_repr_has_no_claims() -> None:
    assert repr(ANN) == "Principal(subject='ann', scopes=frozenset({'items:read'}))"


def test_it_names_the_scopes_that_it_lacks_in_their_order() -> None:
    assert ANN.lacks(["items:write", "items:read", "admin"]) == ("items:write", "admin")
    assert ANN.lacks(["items:read"]) == ()


def test_it_can_be_pickled_copied_and_put_in_a_set() -> None:
    assert pickle.loads(pickle.dumps(ANN)) == ANN  # noqa: S301  # our own
    assert copy.deepcopy(ANN) == ANN
    assert len({ANN, copy.copy(ANN)}) == 1
