"""Seeding: the rows that an application ships, kept as it ships them."""

from layered_backend.seeding.context import SeedContext
from layered_backend.seeding.references import Ref, ref
from layered_backend.seeding.report import RowAction, RowChange, SeedProgress, SeedReport, SeedResult, SeedStatus
from layered_backend.seeding.runner import SeedRunner
from layered_backend.seeding.seeder import Rows, Seeder

__all__ = [
    "Ref",
    "RowAction",
    "RowChange",
    "Rows",
    "SeedContext",
    "SeedProgress",
    "SeedReport",
    "SeedResult",
    "SeedRunner",
    "SeedStatus",
    "Seeder",
    "ref",
]
