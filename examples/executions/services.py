"""The service layer: the operations, and their rules."""

from collections.abc import Sequence
from string import Template
from typing import Any, TypeVar
from uuid import UUID

from examples.executions import schemas
from examples.executions.models import Crew, Execution, Flow, Group, LogEntry, Status, Tool
from examples.executions.repositories import CatalogueRepository, ExecutionRepository, RowT, in_effect, lease
from examples.executions.tools import ToolError, use
from examples.executions.unit_of_work import ExecutionsUnitOfWork, group_of
from layered_backend import BaseService, errors
from layered_backend.security import PasswordHasher

CreateT = TypeVar("CreateT", bound=schemas.CatalogueCreate)

hasher = PasswordHasher()


class CatalogueService(BaseService[RowT, CatalogueRepository[RowT], CreateT, CreateT, ExecutionsUnitOfWork]):
    """What can be done with rows of the catalogue: a shared one is changed by its own group, the operators, alone."""

    async def update(self, key: UUID, data: CreateT, **options: Any) -> RowT:
        await self._check_own(key)
        return await super().update(key, data, **options)

    async def delete(self, key: UUID) -> RowT:
        await self._check_own(key)
        return await super().delete(key)

    async def _check_own(self, key: UUID) -> None:
        if (await self.get(key)).group_id != group_of(self.uow.actor):
            raise errors.PermissionDeniedError("only operators change a shared row; add one of its name to override it")


class ToolService(CatalogueService[Tool, schemas.ToolCreate]):
    """What can be done with tools."""


class CrewService(CatalogueService[Crew, schemas.CrewCreate]):
    """What can be done with crews."""


class FlowService(CatalogueService[Flow, schemas.FlowCreate]):
    """What can be done with flows."""


class GroupService(BaseService[Group]):
    """What can be done with the group: nothing but looking at it; operators make groups and users at the command line."""


class ExecutionService(BaseService[Execution, ExecutionRepository, schemas.ExecutionCreate, Any, ExecutionsUnitOfWork]):
    """What can be done with executions: make them of crews and flows, name them, track and cancel them."""

    async def create(self, data: schemas.ExecutionCreate, **options: Any) -> Execution:
        """Write an execution that waits for its turn, and return it.

        Raises:
            NotFoundError: There is no such crew or flow, or it is not in effect.
            InvalidDataError: It uses a tool or a configuration that is not in effect.
        """
        row, plan = await self._plan(data)
        steps = await self._resolved(plan.in_order())
        name = data.name or await self._name_of(data.kind, row.name, data.text)
        about = {"name": name, "kind": data.kind, "plan_name": row.name, "text": data.text, "steps": steps}
        beginning = {"status": Status.PENDING, "done": 0, "total": len(steps), "lease_until": lease(10 * 60)}
        return await self.repository.create(about | beginning, **options)

    async def generate_name(self, data: schemas.NameRequest) -> str:
        """Return a name that tells what a crew or a flow would do with a text, or raise NotFoundError."""
        row, _ = await self._plan(data)
        return await self._name_of(data.kind, row.name, data.text)

    async def cancel(self, execution_id: UUID) -> Execution:
        """End an execution that waits or runs, and return it; the step that it is at is its last.

        Raises:
            NotFoundError: There is none.
            ConflictError: It has ended.
        """
        if not await self.repository.end(execution_id, Status.CANCELLED):
            await self.get(execution_id)
            raise errors.ConflictError("the execution has ended")
        return await self.get(execution_id)

    async def logs(self, execution_id: UUID) -> Sequence[LogEntry]:
        """Return what the steps have given, in their order, or raise NotFoundError."""
        await self.get(execution_id)
        return await self.uow.logs.list(LogEntry.execution_id == execution_id, order_by=LogEntry.position)

    async def _plan(self, data: schemas.NameRequest) -> tuple[Crew | Flow, schemas.Plan]:
        is_crew = data.kind == "crew"
        model, plan = (Crew, schemas.CrewPlan) if is_crew else (Flow, schemas.FlowPlan)
        plans: CatalogueRepository[Any] = self.uow.crews if is_crew else self.uow.flows
        if (row := await plans.one_or_none(model.id == data.plan_id, in_effect(model))) is None:
            raise errors.NotFoundError(data.kind.capitalize(), data.plan_id)
        return row, plan.model_validate(row.plan)

    async def _resolved(self, steps: Sequence[schemas.Step]) -> list[dict[str, Any]]:
        """Return the steps with the functions and the parameters that are in effect now."""
        tools = await self.uow.tools.named(step.tool for step in steps)
        wanted = {step.configuration for step in steps if step.configuration}
        configurations = await self.uow.model_configurations.named(wanted)
        missing = ({step.tool for step in steps} - tools.keys()) | (wanted - configurations.keys())
        if missing:
            raise errors.InvalidDataError(f"no tool or configuration in effect is called {', '.join(sorted(missing))}")
        return [
            step.model_dump(include={"name", "tool", "after"})
            | {"function": tools[step.tool].function}
            | {"parameters": configurations[step.configuration].parameters if step.configuration else {}}
            for step in steps
        ]

    async def _name_of(self, kind: str, plan: str, text: str) -> str:
        """Return the template's text, filled with what its tool finds in *text*; the plan's name where there is none."""
        template = (await self.uow.prompt_templates.named([f"{kind} execution name"])).get(f"{kind} execution name")
        if template is None:
            return plan
        tool = await self.uow.tools.get(template.tool_id)
        try:
            keywords = use(tool.function, text, {"count": 3})
        except ToolError:
            keywords = ""
        return Template(template.text).safe_substitute(plan=plan, keywords=keywords)[:100].strip(" :")
