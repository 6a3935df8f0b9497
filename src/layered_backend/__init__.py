"""Layering primitives for back ends with FastAPI and SQLAlchemy: repository, unit of work, service, dependencies."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from layered_backend.database import Database
from layered_backend.errors import (
    CheckViolationError,
    CommitUnknownError,
    ConcurrentUseError,
    ConflictError,
    DatabaseUnavailableError,
    DeadlockError,
    FinishedError,
    ForeignKeyViolationError,
    InvalidCursorError,
    InvalidDataError,
    LayeredError,
    LockTimeoutError,
    MultipleFoundError,
    NotFoundError,
    NotNullViolationError,
    PermissionDeniedError,
    PreconditionFailedError,
    PreconditionRequiredError,
    ReadOnlyError,
    RolledBackError,
    SeedDataError,
    SeedDeletionError,
    SeedError,
    SeedImportError,
    SeedPlanError,
    SeedReferenceError,
    SerializationFailureError,
    StaleError,
    StatementTimeoutError,
    TransientError,
    UnauthenticatedError,
    UniqueViolationError,
    UnitOfWorkError,
    UnknownFieldError,
)
from layered_backend.models import Base, IntegerPrimaryKey, SoftDeletable, Timestamped, UUIDPrimaryKey, Versioned
from layered_backend.projection import Projection
from layered_backend.query import (
    CursorPage,
    CursorParams,
    FilterSet,
    Lock,
    Page,
    PageParams,
    Scope,
    Slice,
    Sorting,
    TenantScope,
    Where,
)
from layered_backend.repository import BaseRepository, Returning
from layered_backend.seeding import Seeder, SeedReport, SeedRunner, ref
from layered_backend.service import BaseService
from layered_backend.unit_of_work import Outcome, UnitOfWork, transact, transact_sync

if TYPE_CHECKING:
    from layered_backend.fastapi import (
        IfMatch,
        IfMatchDep,
        SessionDep,
        UOWDep,
        add_error_handlers,
        crud_router,
        error_responses,
        etag_of,
        get_projection,
        get_repository,
        get_service,
        get_uow,
        health_router,
        install,
        uow_dependency,
    )

__all__ = [
    "Base",
    "BaseRepository",
    "BaseService",
    "CheckViolationError",
    "CommitUnknownError",
    "ConcurrentUseError",
    "ConflictError",
    "CursorPage",
    "CursorParams",
    "Database",
    "DatabaseUnavailableError",
    "DeadlockError",
    "FilterSet",
    "FinishedError",
    "ForeignKeyViolationError",
    "IfMatch",
    "IfMatchDep",
    "IntegerPrimaryKey",
    "InvalidCursorError",
    "InvalidDataError",
    "LayeredError",
    "Lock",
    "LockTimeoutError",
    "MultipleFoundError",
    "NotFoundError",
    "NotNullViolationError",
    "Outcome",
    "Page",
    "PageParams",
    "PermissionDeniedError",
    "PreconditionFailedError",
    "PreconditionRequiredError",
    "Projection",
    "ReadOnlyError",
    "Returning",
    "RolledBackError",
    "Scope",
    "SeedDataError",
    "SeedDeletionError",
    "SeedError",
    "SeedImportError",
    "SeedPlanError",
    "SeedReferenceError",
    "SeedReport",
    "SeedRunner",
    "Seeder",
    "SerializationFailureError",
    "SessionDep",
    "Slice",
    "SoftDeletable",
    "Sorting",
    "StaleError",
    "StatementTimeoutError",
    "TenantScope",
    "Timestamped",
    "TransientError",
    "UOWDep",
    "UUIDPrimaryKey",
    "UnauthenticatedError",
    "UniqueViolationError",
    "UnitOfWork",
    "UnitOfWorkError",
    "UnknownFieldError",
    "Versioned",
    "Where",
    "add_error_handlers",
    "crud_router",
    "error_responses",
    "etag_of",
    "get_projection",
    "get_repository",
    "get_service",
    "get_uow",
    "health_router",
    "install",
    "ref",
    "transact",
    "transact_sync",
    "uow_dependency",
]

_OF_FASTAPI = frozenset(
    {
        "IfMatch",
        "IfMatchDep",
        "SessionDep",
        "UOWDep",
        "add_error_handlers",
        "crud_router",
        "error_responses",
        "etag_of",
        "get_projection",
        "get_repository",
        "get_service",
        "get_uow",
        "health_router",
        "install",
        "uow_dependency",
    }
)


def __getattr__(name: str) -> Any:
    """Import the FastAPI part on first use: scripts and workers do without it."""
    if name in _OF_FASTAPI:
        return getattr(import_module("layered_backend.fastapi"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
