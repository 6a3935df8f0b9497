"""Projections: rows read straight into Pydantic schemas."""

from layered_backend.projection.projection import Projection
from layered_backend.projection.selection import Record, Selection, selection_of
from layered_backend.projection.source import AutocommitSource, SessionSource, Source, write_in

__all__ = [
    "AutocommitSource",
    "Projection",
    "Record",
    "Selection",
    "SessionSource",
    "Source",
    "selection_of",
    "write_in",
]
