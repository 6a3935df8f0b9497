"""The templates that names of executions are made of."""

from collections.abc import Iterator
from typing import Any

from examples.executions.models import SHARED, PromptTemplate
from examples.executions.seeds.groups import CatalogueSeeder
from examples.executions.seeds.tools import ToolSeeder
from layered_backend import ref


class PromptTemplateSeeder(CatalogueSeeder[PromptTemplate]):
    """The templates; their text is the operators'."""

    file = "data/prompt_templates.yaml"
    key = (PromptTemplate.group_id, PromptTemplate.name)
    depends_on = (ToolSeeder,)
    insert_only = (PromptTemplate.is_enabled, PromptTemplate.description, PromptTemplate.text)

    def rows(self) -> Iterator[dict[str, Any]]:
        for row in super().rows():
            yield {"tool_id": ref(ToolSeeder, SHARED, row.pop("tool")), **row}
