"""The repository: a collection of entities that happens to be stored (Fowler, PoEAA: Repository)."""

from layered_backend.query import Criterion, OrderBy
from layered_backend.repository.base import BaseRepository, repository_of
from layered_backend.repository.entity_reader import EntityReader, model_of
from layered_backend.repository.returning import Returning

__all__ = ["BaseRepository", "Criterion", "EntityReader", "OrderBy", "Returning", "model_of", "repository_of"]
