"""Restrictions: criteria for the rows of a mapped class, wherever in a statement they are read.

They subclass the option that the public `with_loader_criteria` returns, which is for one class and is not told which alias it
restricts. Without them a statement would carry an option for each class, and a scope would need another text for each alias.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import BindParameter, Column, ColumnElement, FromClause, or_, select, true, tuple_
from sqlalchemy.orm import LoaderCriteriaOption, Mapper
from sqlalchemy.orm.interfaces import CriteriaOption
from sqlalchemy.sql.selectable import FromClauseAlias
from sqlalchemy.sql.visitors import InternalTraversal, replacement_traverse

if TYPE_CHECKING:
    from sqlalchemy.sql.lambdas import DeferredLambdaElement

__all__ = ["Restriction", "Restrictions"]


class Restriction(LoaderCriteriaOption):
    """The criterion for the rows of one mapped class. Lives as long as the statement that is compiled with it.

    Args:
        model: The mapped class.
        criterion: From the class, one derived from it, or an alias, to the expression.
    """

    where_criteria: ColumnElement[bool] | DeferredLambdaElement

    def __init__(self, model: type[Any], criterion: Callable[[Any], ColumnElement[bool]]) -> None:
        super().__init__(model, true(), include_aliases=True)
        self._criterion = criterion

    @property
    def tables(self) -> Iterable[FromClause]:
        """The tables that store the rows: the class's own table first, then those of the classes derived from it."""
        return dict.fromkeys(mapper.local_table for mapper in self._mapper.self_and_descendants)

    def on(self, source: FromClause, beside: Container[FromClause] = ()) -> ColumnElement[bool] | None:
        """Return what the rows of *source* must meet; None where a table *beside* it is restricted for both.

        Args:
            source: One of the tables, or an alias of one.
            beside: What else is read together with it.
        """
        own, table = self._mapper.local_table, table_of(source)
        if table != own and own in beside:
            return None
        if table == own and all(named in beside or named == own for named in self._named):
            return self._moved_to(source)
        key, own_key = list(table.primary_key), list(own.primary_key)
        rows = select(*own_key).select_from(self._mapper.selectable).where(self._moved_to(own))
        return tuple_(*(source.c[column.key] for column in key)).in_(rows)

    def _moved_to(self, source: FromClause) -> ColumnElement[bool]:
        def moved(element: object, **_: object) -> Any:
            if not isinstance(element, Column) or element.table not in self._mapper.tables:
                return None
            return (source if element.table == self._mapper.local_table else element.table).c[element.key]

        return replacement_traverse(self._of_table, {}, moved)

    def _resolve_where_criteria(self, ext_info: Any) -> ColumnElement[bool]:
        self.where_criteria = self._criterion(ext_info.entity)  # the class, one derived from it, or an alias
        return super()._resolve_where_criteria(ext_info)

    @cached_property
    def _mapper(self) -> Mapper[Any]:
        return cast("Mapper[Any]", cast("Any", self.entity).mapper)

    @cached_property
    def _named(self) -> Sequence[FromClause]:
        """The tables that the criterion asks about."""
        return select(self._moved_to(self._mapper.local_table)).get_final_froms()

    @cached_property
    def _of_table(self) -> ColumnElement[bool]:
        """The criterion of the table's rows, which may be of other classes too."""
        criterion = self._resolve_where_criteria(self.entity)
        if not self._mapper.single:
            return criterion
        kinds = [mapper.polymorphic_identity for mapper in self._mapper.self_and_descendants]
        return or_(cast("Any", self._mapper.polymorphic_on).not_in(kinds), criterion)


def table_of(source: FromClause) -> FromClause:
    """Return the table that *source* is an alias of, or that it is."""
    return source.element if isinstance(source, FromClauseAlias) else source


class Restrictions(CriteriaOption):
    """The option that restricts rows in a statement, and in what is loaded with it; one for any number of classes.

    SQLAlchemy's own, `with_loader_criteria`, is for one class. Without it a statement would carry as many as there are
    restricted classes.

    Args:
        key: What the restrictions depend on, beside the parameters' values.
        parameters: Those that the restrictions have.
        all_of_them: Returns the restrictions; it is asked once for each statement that is compiled.
    """

    propagate_to_loaders = True
    _traverse_internals = [  # noqa: RUF012  # declared so by SQLAlchemy
        ("key", InternalTraversal.dp_plain_obj),
        ("parameters", InternalTraversal.dp_clauseelement_list),
    ]

    def __init__(
        self,
        key: Hashable,
        parameters: Sequence[BindParameter[Any]],
        all_of_them: Callable[[], Iterable[Restriction]],
    ) -> None:
        self.key = key
        self.parameters = parameters
        self._all_of_them = all_of_them

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out what it restricts: an entity that is pickled takes it along, and loads nothing elsewhere."""
        return Restrictions, (None, (), tuple)

    def on(self, source: FromClause) -> Sequence[Restriction]:
        """Return the restrictions of the rows of *source*, a table or an alias of one."""
        return self._by_table.get(table_of(source), ())

    @cached_property
    def _by_table(self) -> Mapping[Any, Sequence[Restriction]]:
        found: dict[Any, list[Restriction]] = {}
        for restriction in self._all:
            for table in restriction.tables:
                found.setdefault(table, []).append(restriction)
        return found

    @cached_property
    def _all(self) -> Sequence[Restriction]:
        return list(self._all_of_them())

    def get_global_criteria(self, attributes: dict[Any, Any]) -> None:
        for restriction in self._all:
            restriction.get_global_criteria(attributes)

    def process_compile_state(self, compile_state: Any) -> None:
        self.get_global_criteria(compile_state.global_attributes)

    def process_compile_state_replaced_entities(self, compile_state: Any, mapper_entities: object) -> None:
        self.process_compile_state(compile_state)
