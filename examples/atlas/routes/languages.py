"""Languages over HTTP: to read only."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from examples.atlas.models import Language
from examples.atlas.routes.dependencies import LanguageServiceDep
from examples.atlas.schemas import LanguageCode, LanguageQuery, LanguageRead

router = APIRouter(prefix="/languages", tags=["languages"])


@router.get("", response_model=list[LanguageRead])
async def list_languages(query: Annotated[LanguageQuery, Query()], service: LanguageServiceDep) -> Sequence[Language]:
    """List the languages by their name."""
    return await service.search(query.search, limit=query.limit, offset=query.offset)


@router.get("/{alpha_3}", response_model=LanguageRead)
async def read_language(alpha_3: LanguageCode, service: LanguageServiceDep) -> Language:
    """Read one language."""
    return await service.get(alpha_3)
