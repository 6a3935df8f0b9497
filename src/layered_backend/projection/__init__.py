"""Projections: rows read straight into Pydantic schemas."""

from layered_backend.projection.projection import Projection
from layered_backend.projection.selection import Selection, selection_of
from layered_backend.projection.source import AutocommitSource, SessionSource, Source, write_in
from layered_backend.projection.values import GivenValue, expressions_of

__all__ = [
    "AutocommitSource",
    "GivenValue",
    "Projection",
    "Selection",
    "SessionSource",
    "Source",
    "expressions_of",
    "selection_of",
    "write_in",
]
