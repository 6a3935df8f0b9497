"""The API layer: a module for each kind of entity."""

from fastapi import APIRouter

from examples.atlas.routes import countries, currencies, languages, subdivisions

router = APIRouter()
router.include_router(countries.router)
router.include_router(subdivisions.router)
router.include_router(currencies.router)
router.include_router(languages.router)
