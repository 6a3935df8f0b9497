"""The tools that everybody has."""

from examples.executions.models import Tool
from examples.executions.seeds.groups import CatalogueSeeder


class ToolSeeder(CatalogueSeeder[Tool]):
    """The tools; whether one is enabled, and what is said of it, is the operators'."""

    key = (Tool.group_id, Tool.name)
    insert_only = (Tool.is_enabled, Tool.description)
