"""Seeding: the rows that an application ships, kept as it ships them."""

from layered_backend.seeding.report import RowAction, RowChange, SeedProgress, SeedReport, SeedResult, SeedStatus
from layered_backend.seeding.runner import SeedRunner
from layered_backend.seeding.seeder import Ref, Rows, SeedContext, Seeder, ref

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
