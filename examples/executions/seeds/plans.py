"""Crews and flows to begin with; their plans are the operators'."""

from examples.executions.models import Crew, Flow
from examples.executions.seeds.groups import CatalogueSeeder


class CrewSeeder(CatalogueSeeder[Crew]):
    """The crews."""

    key = (Crew.group_id, Crew.name)
    insert_only = (Crew.is_enabled, Crew.description, Crew.plan)


class FlowSeeder(CatalogueSeeder[Flow]):
    """The flows."""

    key = (Flow.group_id, Flow.name)
    insert_only = (Flow.is_enabled, Flow.description, Flow.plan)
