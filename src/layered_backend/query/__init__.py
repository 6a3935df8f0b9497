"""Queries without I/O: criteria, sorts, pages, locks and scopes."""

from layered_backend.query.criteria import Criterion, FilterSet, Where
from layered_backend.query.lock import Lock
from layered_backend.query.pagination import (
    CursorPage,
    CursorParams,
    NumberedParams,
    OffsetParams,
    Page,
    PageParams,
    Slice,
)
from layered_backend.query.scope import Scope, TenantScope
from layered_backend.query.sort_terms import OrderBy
from layered_backend.query.sorting import Sorting

__all__ = [
    "Criterion",
    "CursorPage",
    "CursorParams",
    "FilterSet",
    "Lock",
    "NumberedParams",
    "OffsetParams",
    "OrderBy",
    "Page",
    "PageParams",
    "Scope",
    "Slice",
    "Sorting",
    "TenantScope",
    "Where",
]
