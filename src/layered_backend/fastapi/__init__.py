"""The API layer: FastAPI, given the unit of work."""

from layered_backend.fastapi.auto_seeding import AutoSeed, SeedingState
from layered_backend.fastapi.crud import Operation, crud_router
from layered_backend.fastapi.dependencies import (
    SessionDep,
    UOWDep,
    get_repository,
    get_service,
    get_session,
    get_uow,
    uow_dependency,
)
from layered_backend.fastapi.error_bodies import ErrorBody, RequestFault, RequestFaults, error_responses
from layered_backend.fastapi.error_handlers import add_error_handlers, status_of
from layered_backend.fastapi.health import Liveness, Readiness, health_router
from layered_backend.fastapi.installation import install
from layered_backend.fastapi.preconditions import IfMatch, IfMatchDep, etag_of, get_if_match
from layered_backend.fastapi.projections import get_projection

__all__ = [
    "AutoSeed",
    "ErrorBody",
    "IfMatch",
    "IfMatchDep",
    "Liveness",
    "Operation",
    "Readiness",
    "RequestFault",
    "RequestFaults",
    "SeedingState",
    "SessionDep",
    "UOWDep",
    "add_error_handlers",
    "crud_router",
    "error_responses",
    "etag_of",
    "get_if_match",
    "get_projection",
    "get_repository",
    "get_service",
    "get_session",
    "get_uow",
    "health_router",
    "install",
    "status_of",
    "uow_dependency",
]
