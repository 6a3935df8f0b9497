"""The group of the operators; in development, two groups more with their members, whose password is `correct horse`."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, ClassVar, get_args

from examples.executions.models import SHARED, Group, User
from examples.executions.repositories import RowT
from examples.executions.schemas import UserScope
from examples.executions.services import hasher
from layered_backend import Seeder, ref

PASSWORD = "correct horse"  # noqa: S105  # of the demonstration


class GroupSeeder(Seeder[Group]):
    """The group whose rows everybody sees."""

    key = (Group.id,)
    insert_only = (Group.name,)

    def rows(self) -> Iterator[dict[str, Any]]:
        yield {"id": SHARED, "name": "shared"}


class CatalogueSeeder(Seeder[RowT]):
    """Rows of a table of the catalogue, which are the operators', out of a file; some name rows of other seeders."""

    references: ClassVar[Mapping[str, type[Seeder[Any]]]] = {}
    depends_on: ClassVar[tuple[type[Seeder[Any]], ...]] = (GroupSeeder,)

    def rows(self) -> Iterator[dict[str, Any]]:
        for row in self.from_file(f"data/{self.key[0].class_.__tablename__}.yaml"):
            named = {f"{name}_id": ref(seeder, SHARED, row[name]) for name, seeder in self.references.items()}
            own = {name: value for name, value in row.items() if name not in self.references}
            yield {"group_id": SHARED, "is_enabled": True, "description": "", **own, **named}


class DemoGroupSeeder(Seeder[Group]):
    """Two groups that do not see each other."""

    key = (Group.name,)
    environments = ("development", "test")

    def rows(self) -> Iterator[dict[str, Any]]:
        yield from ({"name": "north"}, {"name": "south"})


class DemoUserSeeder(Seeder[User]):
    """A member of each group, who may do everything in it."""

    key = (User.group_id, User.name)
    depends_on = (GroupSeeder, DemoGroupSeeder)
    environments = ("development", "test")
    insert_only = (User.password_hash, User.scopes)

    async def rows(self) -> AsyncIterator[dict[str, Any]]:
        usual = {"password_hash": await hasher.hash(PASSWORD), "scopes": [*get_args(UserScope)]}
        yield {"group_id": SHARED, "name": "operator", **usual}
        for group, name in (("north", "ann"), ("south", "bob")):
            yield {"group_id": ref(DemoGroupSeeder, group), "name": name, **usual}
