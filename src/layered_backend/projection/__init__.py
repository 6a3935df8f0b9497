"""Projections: rows read straight into Pydantic schemas."""

from layered_backend.projection.plan import Plan, Record, plan_of
from layered_backend.projection.projection import Projection
from layered_backend.projection.source import AutocommitSource, SessionSource, Source, write_in

__all__ = ["AutocommitSource", "Plan", "Projection", "Record", "SessionSource", "Source", "plan_of", "write_in"]
