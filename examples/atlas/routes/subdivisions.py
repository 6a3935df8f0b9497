"""Subdivisions over HTTP."""

from collections.abc import Sequence

from fastapi import APIRouter, status

from examples.atlas.models import Subdivision
from examples.atlas.routes.dependencies import PagingQuery, SubdivisionServiceDep
from examples.atlas.schemas import (
    SubdivisionCode,
    SubdivisionCreate,
    SubdivisionDetail,
    SubdivisionRead,
    SubdivisionUpdate,
)

router = APIRouter(prefix="/subdivisions", tags=["subdivisions"])


@router.get("", response_model=list[SubdivisionRead])
async def list_subdivisions(paging: PagingQuery, service: SubdivisionServiceDep) -> Sequence[Subdivision]:
    """List the subdivisions of all countries by their code."""
    return await service.list(limit=paging.limit, offset=paging.offset)


@router.post("", response_model=SubdivisionRead, status_code=status.HTTP_201_CREATED)
async def create_subdivision(data: SubdivisionCreate, service: SubdivisionServiceDep) -> Subdivision:
    """Add a subdivision to a country."""
    return await service.create(data)


@router.get("/{code}", response_model=SubdivisionDetail)
async def read_subdivision(code: SubdivisionCode, service: SubdivisionServiceDep) -> Subdivision:
    """Read one subdivision, with its country and its parent."""
    return await service.describe(code)


@router.patch("/{code}", response_model=SubdivisionRead)
async def update_subdivision(
    code: SubdivisionCode, data: SubdivisionUpdate, service: SubdivisionServiceDep
) -> Subdivision:
    """Change some fields of a subdivision: one that is left out stays as it is, a null is written."""
    return await service.update(code, data)


@router.delete("/{code}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_subdivision(code: SubdivisionCode, service: SubdivisionServiceDep) -> None:
    """Delete a subdivision that no other one lies in."""
    await service.delete(code)


@router.get("/{code}/children", response_model=list[SubdivisionRead])
async def list_children(
    code: SubdivisionCode, paging: PagingQuery, service: SubdivisionServiceDep
) -> Sequence[Subdivision]:
    """List the subdivisions one level below, by their code."""
    return await service.children_of(code, limit=paging.limit, offset=paging.offset)


@router.get("/{code}/ancestors", response_model=list[SubdivisionRead])
async def list_ancestors(code: SubdivisionCode, service: SubdivisionServiceDep) -> Sequence[Subdivision]:
    """List the subdivisions that this one lies in, its parent first."""
    return await service.ancestors_of(code)
