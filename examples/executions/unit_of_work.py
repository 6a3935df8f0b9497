"""The unit of work: one transaction over all repositories, which sees what the actor's group may see."""

from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, or_

from examples.executions import models
from examples.executions.repositories import CatalogueRepository, ExecutionRepository
from layered_backend import BaseRepository, TenantScope, UnitOfWork
from layered_backend.security import Principal


def group_of(principal: Principal) -> UUID:
    """Return the group that a token is of."""
    return UUID(principal.claims["group"])


class _CatalogueScope(TenantScope):
    """The rows of the actor's group and the shared ones; new ones are of the group."""

    def criterion(self, model: type[Any], *parameters: BindParameter[Any]) -> ColumnElement[bool]:
        return or_(super().criterion(model, *parameters), model.group_id == models.SHARED)


class ExecutionsUnitOfWork(UnitOfWork):
    """A unit of work of the application. It names no database: `install` gives it one."""

    scopes = (
        TenantScope(models.Group, "id", tenant=group_of),
        TenantScope(models.Owned, "group_id", tenant=group_of),
        _CatalogueScope(models.CatalogueRow, "group_id", tenant=group_of),
    )
    groups: BaseRepository[models.Group]
    users: BaseRepository[models.User]
    tools: CatalogueRepository[models.Tool]
    prompt_templates: CatalogueRepository[models.PromptTemplate]
    model_configurations: CatalogueRepository[models.ModelConfiguration]
    crews: CatalogueRepository[models.Crew]
    flows: CatalogueRepository[models.Flow]
    executions: ExecutionRepository
    logs: BaseRepository[models.LogEntry]
