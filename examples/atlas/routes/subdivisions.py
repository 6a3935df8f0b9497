"""Subdivisions over HTTP."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, status

from examples.atlas.models import Subdivision
from examples.atlas.queries import SubdivisionQuery
from examples.atlas.routes.dependencies import SubdivisionDetailsDep, SubdivisionsDep, SubdivisionServiceDep
from examples.atlas.schemas import (
    SubdivisionCode,
    SubdivisionCreate,
    SubdivisionDetail,
    SubdivisionRead,
    SubdivisionUpdate,
)
from layered_backend import Page, PageParams

router = APIRouter(prefix="/subdivisions", tags=["subdivisions"])


@router.get("")
async def list_subdivisions(
    query: Annotated[SubdivisionQuery, Query()], subdivisions: SubdivisionsDep
) -> Page[SubdivisionRead]:
    """List the subdivisions."""
    return await subdivisions.page(query)


@router.post("", response_model=SubdivisionRead, status_code=status.HTTP_201_CREATED)
async def create_subdivision(data: SubdivisionCreate, service: SubdivisionServiceDep) -> Subdivision:
    """Add a subdivision to a country."""
    return await service.create(data)


@router.get("/{code}")
async def read_subdivision(code: SubdivisionCode, subdivisions: SubdivisionDetailsDep) -> SubdivisionDetail:
    """Read one subdivision, with its country and its parent."""
    return await subdivisions.get(code)


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


@router.get("/{code}/children", response_model=Page[SubdivisionRead])
async def list_children(
    code: SubdivisionCode, query: Annotated[PageParams, Query()], service: SubdivisionServiceDep
) -> Page[Subdivision]:
    """List the subdivisions one level below, by their code."""
    return await service.children_of(code, query)


@router.get("/{code}/ancestors", response_model=list[SubdivisionRead])
async def list_ancestors(code: SubdivisionCode, service: SubdivisionServiceDep) -> Sequence[Subdivision]:
    """List the subdivisions that this one lies in, its parent first."""
    return await service.ancestors_of(code)
