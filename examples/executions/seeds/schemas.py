"""The schemas of what a model configuration may set."""

from examples.executions.models import Schema
from examples.executions.seeds.groups import CatalogueSeeder


class SchemaSeeder(CatalogueSeeder[Schema]):
    """The schemas, which follow the source."""

    key = (Schema.group_id, Schema.name)
    insert_only = (Schema.is_enabled, Schema.description)
