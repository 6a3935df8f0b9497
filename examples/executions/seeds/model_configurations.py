"""The parameters that agents work with."""

from examples.executions.models import ModelConfiguration
from examples.executions.seeds.groups import CatalogueSeeder
from examples.executions.seeds.schemas import SchemaSeeder


class ModelConfigurationSeeder(CatalogueSeeder[ModelConfiguration]):
    """The configurations; their parameters are the operators'."""

    key = (ModelConfiguration.group_id, ModelConfiguration.name)
    references = {"schema": SchemaSeeder}
    depends_on = (SchemaSeeder,)
    insert_only = (ModelConfiguration.is_enabled, ModelConfiguration.description, ModelConfiguration.parameters)
