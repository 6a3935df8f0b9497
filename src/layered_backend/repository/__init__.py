"""The repository: a collection of entities that happens to be stored (Fowler, PoEAA: Repository)."""

from layered_backend.query import Criterion, OrderBy
from layered_backend.repository.base import BaseRepository, repository_of

__all__ = ["BaseRepository", "Criterion", "OrderBy", "repository_of"]
