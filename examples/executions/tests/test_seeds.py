"""What is shipped: it fits together, a second run changes nothing, and what operators have changed stays."""

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from sqlalchemy import UniqueConstraint

from examples.executions.models import SHARED, Group, ModelConfiguration, Schema, Table, Tool
from examples.executions.schemas import CrewPlan, FlowPlan
from examples.executions.seeds import seeds
from examples.executions.tools import TOOLS
from examples.executions.unit_of_work import ExecutionsUnitOfWork
from layered_backend import BaseRepository, Database


@pytest.fixture
async def files(own_file: Path) -> Any:
    async with Database(f"sqlite:///{own_file}") as database:
        yield database


async def test_a_second_run_changes_nothing(files: Database) -> None:
    report = await seeds.run(database=files, environment="test")

    assert report.ok
    assert all((result.inserted, result.updated, result.deleted) == (0, 0, 0) for result in report.results)
    assert sum(result.unchanged for result in report.results) > 20


async def test_what_operators_have_changed_stays(files: Database) -> None:
    async with ExecutionsUnitOfWork(files) as uow:
        with uow.without("tenant"):
            await uow.tools.update_where(Tool.name == "tidier", values={"is_enabled": False, "description": "ours"})
            await uow.model_configurations.update_where(
                ModelConfiguration.name == "brief", values={"parameters": {"sentences": 3}}
            )
            await uow.tools.update_where(Tool.name == "readability", values={"function": "tidy"})

    report = await seeds.run(database=files, environment="test")

    assert [(result.name, result.updated) for result in report.results if result.updated] == [("ToolSeeder", 1)]
    async with ExecutionsUnitOfWork(files) as uow:
        with uow.without("tenant"):
            tidier = await uow.tools.one(Tool.name == "tidier")
            brief = await uow.model_configurations.one(ModelConfiguration.name == "brief")
            assert (tidier.is_enabled, tidier.description, brief.parameters) == (False, "ours", {"sentences": 3})
            assert (await uow.tools.one(Tool.name == "readability")).function == "measure_readability"


async def test_they_fit_together(files: Database) -> None:
    async with ExecutionsUnitOfWork(files) as uow:
        with uow.without("tenant"):
            tools = {tool.name: tool.function for tool in await uow.tools.list()}
            configurations = await uow.model_configurations.list()
            schemas = {row.id: row for row in await BaseRepository(uow.session, Schema).list()}
            plans = [CrewPlan.model_validate(crew.plan) for crew in await uow.crews.list()]
            flows = [FlowPlan.model_validate(flow.plan) for flow in await uow.flows.list()]

    assert {*tools.values()} == {*TOOLS}
    for configuration in configurations:
        jsonschema_rs.validate(schemas[configuration.schema_id].definition, configuration.parameters)
    steps = [step for plan in [*plans, *flows] for step in plan.in_order()]
    assert {step.tool for step in steps} <= tools.keys()
    assert {step.configuration for step in steps} - {None} <= {row.name for row in configurations}


async def test_production_gets_no_demonstration(tmp_path: Path) -> None:
    async with Database(f"sqlite:///{tmp_path}/production.db") as database:
        await database.create_all(Table.metadata)
        assert (await seeds.run(database=database, environment="production")).ok

        async with ExecutionsUnitOfWork(database) as uow:
            with uow.without("tenant"):
                assert await uow.users.count() == 0
                groups = await BaseRepository(uow.session, Group).list()
    assert [(group.id, group.name) for group in groups] == [(SHARED, "shared")]


def test_every_unique_constraint_includes_the_group() -> None:
    found = 0
    for table in Table.metadata.sorted_tables:
        constraints = [each.columns for each in table.constraints if isinstance(each, UniqueConstraint)]
        for columns in [*constraints, *(index.columns for index in table.indexes if index.unique)]:
            if table.name != Group.__tablename__:
                assert "group_id" in columns, f"{table.name}: {columns}"
                found += 1
    assert found > 5
