"""Languages over HTTP: to read only."""

from typing import Annotated

from fastapi import APIRouter, Query

from examples.atlas.models import Language
from examples.atlas.queries import LanguageQuery
from examples.atlas.routes.dependencies import LanguagesDep
from examples.atlas.schemas import LanguageCode, LanguageRead
from layered_backend import CursorPage

router = APIRouter(prefix="/languages", tags=["languages"])


@router.get("")
async def list_languages(query: Annotated[LanguageQuery, Query()], languages: LanguagesDep) -> CursorPage[LanguageRead]:
    """List the languages by their name."""
    return await languages.cursor_page(query, order_by=Language.name)


@router.get("/{alpha_3}")
async def read_language(alpha_3: LanguageCode, languages: LanguagesDep) -> LanguageRead:
    """Read one language."""
    return await languages.get(alpha_3)
