"""What comes in and goes out."""

from collections.abc import Sequence
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from examples.executions.models import Status

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,49}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=10_000, pattern=r"^[^\x00]+$")]
Note = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00]*$")]
Kind = Literal["crew", "flow"]
UserScope = Literal["executions:read", "executions:write", "catalogue:read", "catalogue:write", "groups:read"]
Function = Literal[
    "count_words", "extract_keywords", "summarise", "measure_readability", "convert_units", "describe_text", "tidy"
]


class _Input(BaseModel):
    """What a client sends: a field that does not exist is an error, not a typing mistake that goes unnoticed."""

    model_config = ConfigDict(extra="forbid")


class Step(_Input):
    """A tool at work on the text, or on what the steps have given that it comes after."""

    name: Name
    tool: Name
    after: list[Name] = Field(default_factory=list[Name], max_length=20)
    configuration: Name | None = None


class Plan(_Input):
    """Steps that wait for others: a directed graph without cycles."""

    @model_validator(mode="after")
    def _has_an_order(self) -> Self:
        self.in_order()
        return self

    def in_order(self) -> list[Step]:
        """Return the steps, each behind those that it comes after."""
        raise NotImplementedError


class FlowPlan(Plan):
    """Steps."""

    steps: list[Step] = Field(min_length=1, max_length=50)

    def in_order(self) -> list[Step]:
        return _in_order(self.steps)


class Agent(_Input):
    """Who does tasks, in a role, with a model configuration."""

    name: Name
    role: Note = ""
    configuration: Name | None = None


class Task(Step):
    """A step for an agent to do."""

    agent: Name


class CrewPlan(Plan):
    """Agents with their tasks, each of which has its agent's configuration unless it has its own."""

    agents: list[Agent] = Field(min_length=1, max_length=20)
    tasks: list[Task] = Field(min_length=1, max_length=50)

    def in_order(self) -> list[Step]:
        usual = {agent.name: agent.configuration for agent in self.agents}
        missing = sorted({task.agent for task in self.tasks} - usual.keys())
        if missing:
            raise ValueError(f"no agent is called {', '.join(missing)}")
        return _in_order(
            [task.model_copy(update={"configuration": task.configuration or usual[task.agent]}) for task in self.tasks]
        )


def _in_order(given: Sequence[Step]) -> list[Step]:
    steps = {step.name: step for step in given}
    if len(steps) < len(given):
        raise ValueError("two of them have one name")
    missing = sorted({name for step in given for name in step.after} - steps.keys())
    if missing:
        raise ValueError(f"none is called {', '.join(missing)}")
    try:
        return [steps[name] for name in TopologicalSorter({step.name: step.after for step in given}).static_order()]
    except CycleError as error:
        raise ValueError(f"these wait for each other: {', '.join(error.args[1][1:])}") from error


class CatalogueCreate(_Input):
    name: Name
    description: Note = ""
    is_enabled: bool = Field(default=True, strict=True)


class ToolCreate(CatalogueCreate):
    function: Function


class CrewCreate(CatalogueCreate):
    plan: CrewPlan


class FlowCreate(CatalogueCreate):
    plan: FlowPlan


class CatalogueRead(BaseModel):
    id: UUID
    group_id: UUID
    updated_at: datetime


class ToolRead(ToolCreate, CatalogueRead):
    """A tool."""


class CrewRead(CrewCreate, CatalogueRead):
    """A crew."""


class FlowRead(FlowCreate, CatalogueRead):
    """A flow."""


class NameRequest(_Input):
    kind: Kind
    plan_id: UUID
    text: Text


class ExecutionCreate(NameRequest):
    """A crew or a flow to set to work on a text; the name is made of the text unless it is given."""

    name: Name | None = None


class ExecutionName(BaseModel):
    name: str


class ExecutionSummary(BaseModel):
    id: UUID
    name: str
    kind: str
    plan_name: str
    status: Status
    done: int
    total: int
    error: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class ExecutionRead(ExecutionSummary):
    text: str
    result: dict[str, str] | None
    created_by: str | None


class LogRead(BaseModel):
    position: int
    step: str
    tool: str
    output: str
    milliseconds: float
    created_at: datetime


class GroupRead(BaseModel):
    id: UUID
    name: str


class Token(BaseModel):
    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  # what it is called
    expires_in: int
