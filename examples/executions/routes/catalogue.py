"""The catalogue over HTTP, tools, crews and flows, those of the group and the shared ones; and the group."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from examples.executions import schemas, services
from examples.executions.models import Crew, Flow, Tool
from examples.executions.repositories import in_effect
from layered_backend import FilterSet, PageParams, Sorting, Where, crud_router, get_service, require_scopes


def _query(model: type[Tool | Crew | Flow]) -> type[PageParams]:
    class CatalogueFilter(FilterSet):
        in_effect: Annotated[bool | None, Where(lambda yes: in_effect(model) if yes else ~in_effect(model))] = None
        name: Annotated[str | None, Where(model.name.icontains)] = None

    class CatalogueSorting(Sorting):
        keys = {"name": model.name, "updated_at": model.updated_at}
        default = "name"

    class CatalogueQuery(CatalogueFilter, CatalogueSorting, PageParams):
        """Those that the group uses or does not, a part of the name, and a sort."""

    return CatalogueQuery


def _of_catalogue(model: type[Tool | Crew | Flow], service: Any, **names: Any) -> APIRouter:
    writing = [Depends(require_scopes("catalogue:write"))]
    kept: Any = {"only": ("list", "get", "create", "replace", "delete"), "write_dependencies": writing}
    return crud_router(get_service(service), query=_query(model), **kept, **names)


tools = _of_catalogue(Tool, services.ToolService, read=schemas.ToolRead, create=schemas.ToolCreate)
crews = _of_catalogue(Crew, services.CrewService, read=schemas.CrewRead, create=schemas.CrewCreate)
flows = _of_catalogue(Flow, services.FlowService, read=schemas.FlowRead, create=schemas.FlowCreate)
groups = crud_router(get_service(services.GroupService), read=schemas.GroupRead, only=("list", "get"))
