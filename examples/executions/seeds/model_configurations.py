"""The parameters that agents work with."""

from collections.abc import Iterator
from typing import Any

from examples.executions.models import SHARED, ModelConfiguration
from examples.executions.seeds.groups import CatalogueSeeder
from examples.executions.seeds.schemas import SchemaSeeder
from layered_backend import ref


class ModelConfigurationSeeder(CatalogueSeeder[ModelConfiguration]):
    """The configurations; their parameters are the operators'."""

    file = "data/model_configurations.yaml"
    key = (ModelConfiguration.group_id, ModelConfiguration.name)
    depends_on = (SchemaSeeder,)
    insert_only = (ModelConfiguration.is_enabled, ModelConfiguration.description, ModelConfiguration.parameters)

    def rows(self) -> Iterator[dict[str, Any]]:
        for row in super().rows():
            yield {"schema_id": ref(SchemaSeeder, SHARED, row.pop("schema")), **row}
