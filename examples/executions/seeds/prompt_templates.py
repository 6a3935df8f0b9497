"""The templates that names of executions are made of."""

from examples.executions.models import PromptTemplate
from examples.executions.seeds.groups import CatalogueSeeder
from examples.executions.seeds.tools import ToolSeeder


class PromptTemplateSeeder(CatalogueSeeder[PromptTemplate]):
    """The templates; their text is the operators'."""

    key = (PromptTemplate.group_id, PromptTemplate.name)
    references = {"tool": ToolSeeder}
    depends_on = (ToolSeeder,)
    insert_only = (PromptTemplate.is_enabled, PromptTemplate.description, PromptTemplate.text)
