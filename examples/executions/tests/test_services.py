"""The rules of the services, without a database: the repositories are mocks."""

from typing import Any
from unittest.mock import ANY
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from examples.executions import schemas
from examples.executions.models import SHARED, Crew, Execution, ModelConfiguration, PromptTemplate, Status, Tool
from examples.executions.services import ExecutionService, ToolService
from examples.executions.unit_of_work import ExecutionsUnitOfWork
from layered_backend import ConflictError, InvalidDataError, NotFoundError, PermissionDeniedError
from layered_backend.security import Principal
from layered_backend.testing import mocked

GROUP = UUID(int=7)
PLAN = {
    "agents": [{"name": "ann", "configuration": "brief"}],
    "tasks": [{"name": "count", "agent": "ann", "tool": "counter"}],
}


@pytest.fixture
def uow(mock_uow: ExecutionsUnitOfWork) -> ExecutionsUnitOfWork:
    mock_uow.actor = Principal(str(UUID(int=1)), claims={"group": str(GROUP)})
    mocked(mock_uow.crews.one_or_none).return_value = Crew(id=UUID(int=3), name="Counters", plan=PLAN)
    mocked(mock_uow.tools.named).return_value = {"counter": Tool(name="counter", function="count_words")}
    mocked(mock_uow.tools.get).return_value = Tool(name="keywords", function="extract_keywords")
    brief = ModelConfiguration(name="brief", parameters={"at_least": 2})
    mocked(mock_uow.model_configurations.named).return_value = {"brief": brief}
    mocked(mock_uow.prompt_templates.named).return_value = {}
    return mock_uow


def wanted(name: str | None = None) -> schemas.ExecutionCreate:
    return schemas.ExecutionCreate(kind="crew", plan_id=UUID(int=3), text="tea and more tea", name=name)


async def test_an_execution_has_the_functions_and_parameters_of_its_beginning(uow: ExecutionsUnitOfWork) -> None:
    mocked(uow.executions.create).return_value = written = Execution(name="Counters")

    assert await ExecutionService.of(uow).create(wanted()) is written

    step: dict[str, Any] = {
        "name": "count",
        "tool": "counter",
        "after": [],
        "function": "count_words",
        "parameters": {"at_least": 2},
    }
    mocked(uow.executions.create).assert_awaited_once_with({
        "name": "Counters",
        "kind": "crew",
        "plan_name": "Counters",
        "text": "tea and more tea",
        "steps": [step],
        "status": Status.PENDING,
        "done": 0,
        "total": 1,
        "lease_until": ANY,
    })  # fmt: skip


async def test_a_name_is_made_of_the_template_unless_it_is_given(uow: ExecutionsUnitOfWork) -> None:
    template = PromptTemplate(name="crew execution name", text="$plan about $keywords, $nothing", tool_id=uuid4())
    mocked(uow.prompt_templates.named).return_value = {"crew execution name": template}
    service = ExecutionService.of(uow)

    assert await service.generate_name(wanted()) == "Counters about tea, more, $nothing"
    await service.create(wanted("My own"))
    assert mocked(uow.executions.create).await_args.args[0]["name"] == "My own"


async def test_a_crew_that_is_not_there_is_not_found(uow: ExecutionsUnitOfWork) -> None:
    mocked(uow.crews.one_or_none).return_value = None

    with pytest.raises(NotFoundError, match="Crew"):
        await ExecutionService.of(uow).create(wanted())


@pytest.mark.parametrize(("repository", "name"), [("tools", "counter"), ("model_configurations", "brief")])
async def test_what_is_not_in_effect_cannot_be_used(uow: ExecutionsUnitOfWork, repository: str, name: str) -> None:
    mocked(getattr(uow, repository).named).return_value = {}

    with pytest.raises(InvalidDataError, match=f"no tool or configuration in effect is called {name}"):
        await ExecutionService.of(uow).create(wanted())


async def test_one_that_has_ended_is_not_cancelled(uow: ExecutionsUnitOfWork) -> None:
    mocked(uow.executions.end).return_value = False

    with pytest.raises(ConflictError, match="the execution has ended"):
        await ExecutionService.of(uow).cancel(UUID(int=9))
    mocked(uow.executions.end).assert_awaited_once_with(UUID(int=9), Status.CANCELLED)


@pytest.mark.parametrize("operation", ["update", "delete"])
async def test_a_shared_row_is_not_changed(uow: ExecutionsUnitOfWork, operation: str) -> None:
    mocked(uow.tools.get).return_value = Tool(name="tidy", group_id=SHARED)
    service = ToolService.of(uow)
    data = schemas.ToolCreate(name="tidy", function="tidy")

    with pytest.raises(PermissionDeniedError, match="add one of its name to override it"):
        await (service.update(UUID(int=5), data) if operation == "update" else service.delete(UUID(int=5)))
    mocked(uow.tools.update).assert_not_awaited()
    mocked(uow.tools.delete).assert_not_awaited()


def step(name: str, *after: str) -> dict[str, object]:
    return {"name": name, "tool": "t", "after": [*after]}


def test_steps_are_put_behind_what_they_wait_for() -> None:
    plan = schemas.FlowPlan.model_validate({"steps": [step("c", "a", "b"), step("b", "a"), step("a")]})

    assert [each.name for each in plan.in_order()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([step("a"), step("a")], "two of them have one name"),
        ([step("a", "z")], "none is called z"),
        ([step("a", "a")], "these wait for each other: a"),
        ([step("a", "b"), step("b", "c"), step("c", "a")], "these wait for each other:"),
    ],
)
def test_steps_without_an_order_are_refused(steps: list[dict[str, object]], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        schemas.FlowPlan.model_validate({"steps": steps})


def test_a_task_needs_an_agent_and_has_its_configuration_unless_it_has_its_own() -> None:
    tasks = [{**step("a"), "agent": "ann"}, {**step("b"), "agent": "ann", "configuration": "own"}]
    plan = schemas.CrewPlan.model_validate({"agents": [{"name": "ann", "configuration": "usual"}], "tasks": tasks})

    assert [each.configuration for each in plan.in_order()] == ["usual", "own"]
    with pytest.raises(ValidationError, match="no agent is called ann"):
        schemas.CrewPlan.model_validate({"agents": [{"name": "bob"}], "tasks": tasks})
