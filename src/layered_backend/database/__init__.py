"""The database, and the engines and sessions that lead to it."""

from layered_backend.database.database import Database
from layered_backend.database.engines import Engines

__all__ = ["Database", "Engines"]
