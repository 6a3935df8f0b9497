"""The API layer: FastAPI, given the unit of work."""

from layered_backend.fastapi.authentication import (
    CurrentPrincipal,
    OptionalPrincipal,
    TokenVerifier,
    current_principal,
    require_scopes,
)
from layered_backend.fastapi.auto_seeding import AutoSeed, SeedingState
from layered_backend.fastapi.background import background_idle, run_in_background
from layered_backend.fastapi.background_jobs import Background, FailedJob
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
from layered_backend.fastapi.settings import get_settings

__all__ = [
    "AutoSeed",
    "Background",
    "CurrentPrincipal",
    "ErrorBody",
    "FailedJob",
    "IfMatch",
    "IfMatchDep",
    "Liveness",
    "Operation",
    "OptionalPrincipal",
    "Readiness",
    "RequestFault",
    "RequestFaults",
    "SeedingState",
    "SessionDep",
    "TokenVerifier",
    "UOWDep",
    "add_error_handlers",
    "background_idle",
    "crud_router",
    "current_principal",
    "error_responses",
    "etag_of",
    "get_if_match",
    "get_projection",
    "get_repository",
    "get_service",
    "get_session",
    "get_settings",
    "get_uow",
    "health_router",
    "install",
    "require_scopes",
    "run_in_background",
    "status_of",
    "uow_dependency",
]
