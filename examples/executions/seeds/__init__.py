"""The seeds layer: what every group finds, a module for each table.

    groups -> tools   -> prompt_templates
           -> schemas -> model_configurations
           -> plans, and in development users

`python -m examples.executions --no-serve` brings it into the database that DATABASE_URL names.
"""

from examples.executions.seeds.groups import DemoGroupSeeder, DemoUserSeeder, GroupSeeder
from examples.executions.seeds.model_configurations import ModelConfigurationSeeder
from examples.executions.seeds.plans import CrewSeeder, FlowSeeder
from examples.executions.seeds.prompt_templates import PromptTemplateSeeder
from examples.executions.seeds.schemas import SchemaSeeder
from examples.executions.seeds.tools import ToolSeeder
from layered_backend import SeedRunner

seeds = SeedRunner([
    GroupSeeder, ToolSeeder, SchemaSeeder, PromptTemplateSeeder, ModelConfigurationSeeder, CrewSeeder, FlowSeeder,
    DemoGroupSeeder, DemoUserSeeder,
])  # fmt: skip
