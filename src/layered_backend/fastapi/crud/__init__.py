"""The routes over the entities of a service: list, get, create, replace, update, delete."""

from layered_backend.fastapi.crud.router import Operation, crud_router

__all__ = ["Operation", "crud_router"]
