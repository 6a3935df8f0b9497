"""The database layer: groups with their users, the catalogue that groups share, and executions with their logs."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from layered_backend import Audited, Base, Timestamped, UUIDPrimaryKey

SHARED = UUID(int=1)
"""The group of the operators; what it has in the catalogue is there for all groups."""


class Table(Base):
    """The base of these tables: they are migrated as one set, apart from those of other applications."""

    __abstract__ = True
    metadata = MetaData(naming_convention=Base.metadata.naming_convention)


class Group(UUIDPrimaryKey, Timestamped, Table):
    """A tenant. No route makes or renames one: the name is the only thing that has to differ from other groups'."""

    __tablename__ = "groups"
    name: Mapped[str] = mapped_column(unique=True)


class Owned:
    """A row that its group alone sees."""

    group_id: Mapped[UUID] = mapped_column(ForeignKey(Group.id))


class User(UUIDPrimaryKey, Owned, Timestamped, Audited, Table):
    """A member of a group, who logs in as `group/name`."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("group_id", "name"),)
    name: Mapped[str]
    password_hash: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(JSON)


class CatalogueRow(UUIDPrimaryKey, Timestamped, Audited, Table):
    """A row that its group sees or, where it is of `SHARED`, everybody; one of a group overrides one of all."""

    __abstract__ = True
    group_id: Mapped[UUID] = mapped_column(ForeignKey(Group.id))
    name: Mapped[str]
    description: Mapped[str] = mapped_column(Text)
    is_enabled: Mapped[bool]

    @declared_attr.directive
    def __table_args__(cls) -> Any:  # noqa: N805  # SQLAlchemy passes the class
        """Have each name once in a group."""
        return (UniqueConstraint("group_id", "name"),)


class Tool(CatalogueRow):
    """A tool that tasks can use, which is one of the functions in `tools.py`."""

    __tablename__ = "tools"
    function: Mapped[str]


class Schema(CatalogueRow):
    """A JSON Schema of the parameters that a model configuration may set."""

    __tablename__ = "schemas"
    definition: Mapped[dict[str, Any]] = mapped_column(JSON)


class PromptTemplate(CatalogueRow):
    """A text with places such as `$keywords`, for a tool to fill."""

    __tablename__ = "prompt_templates"
    tool_id: Mapped[UUID] = mapped_column(ForeignKey(Tool.id))
    text: Mapped[str] = mapped_column(Text)


class ModelConfiguration(CatalogueRow):
    """Parameters for the tools that an agent uses."""

    __tablename__ = "model_configurations"
    schema_id: Mapped[UUID] = mapped_column(ForeignKey(Schema.id))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)


class Crew(CatalogueRow):
    """Agents with their tasks, as `schemas.CrewPlan` has them."""

    __tablename__ = "crews"
    plan: Mapped[dict[str, Any]] = mapped_column(JSON)


class Flow(CatalogueRow):
    """Steps that wait for others, as `schemas.FlowPlan` has them."""

    __tablename__ = "flows"
    plan: Mapped[dict[str, Any]] = mapped_column(JSON)


class Status(StrEnum):
    """What has become of an execution."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Execution(UUIDPrimaryKey, Owned, Timestamped, Audited, Table):
    """A crew or a flow at work on a text. Its steps are its own: a plan that changes meanwhile changes nothing here."""

    __tablename__ = "executions"
    __table_args__ = (Index(None, "group_id", "created_at", "id"), Index(None, "status", "lease_until"))
    name: Mapped[str]
    kind: Mapped[str] = mapped_column(String(4))
    plan_name: Mapped[str]
    text: Mapped[str] = mapped_column(Text)
    steps: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(9))
    done: Mapped[int]
    total: Mapped[int]
    result: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    lease_until: Mapped[datetime]


class LogEntry(UUIDPrimaryKey, Owned, Timestamped, Table):
    """What a step of an execution has given, and in which time."""

    __tablename__ = "log_entries"
    __table_args__ = (UniqueConstraint("group_id", "execution_id", "position"),)
    execution_id: Mapped[UUID] = mapped_column(ForeignKey(Execution.id, ondelete="CASCADE"))
    position: Mapped[int]
    step: Mapped[str]
    tool: Mapped[str]
    output: Mapped[str] = mapped_column(Text)
    milliseconds: Mapped[float]
