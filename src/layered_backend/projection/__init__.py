"""Projections: rows read straight into Pydantic schemas."""

from layered_backend.projection.plan import plan_of
from layered_backend.projection.projection import Projection
from layered_backend.projection.source import AutocommitSource, SessionSource, Source

__all__ = ["AutocommitSource", "Projection", "SessionSource", "Source", "plan_of"]
