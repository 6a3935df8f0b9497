"""The compiler that restricts what SQLAlchemy leaves out: it subclasses `SQLCompiler`, and reads how a SELECT is put together.

SQLAlchemy restricts the entities that a statement selects and joins, and what is loaded with them. It leaves out, depending
on its release, entities that only a criterion names, as `relationship.any` does before 2.1, the aliases in a relationship
of a class to itself, tables without an entity, and the parts of a UNION. Nothing public reaches these; without the compiler
rows that a scope hides would be read through them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, cast

from sqlalchemy import ColumnElement, Engine, FromClause, Select, and_, literal, or_, select
from sqlalchemy.orm import LoaderCriteriaOption
from sqlalchemy.orm.interfaces import CriteriaOption
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.selectable import FromGrouping, Join

from layered_backend.memoization import unique
from layered_backend.upstream.sqlalchemy import SQLALCHEMY
from layered_backend.upstream.sqlalchemy.restriction import Restriction, Restrictions
from layered_backend.upstream.verification import Undocumented

__all__ = ["restrict", "verify_restriction"]


def verify_restriction() -> None:
    """Check that statements can be restricted.

    Raises:
        UnsupportedVersionError: SQLAlchemy has changed.
    """
    statement = select(literal(1))
    SQLALCHEMY.require(
        Undocumented(SQLCompiler, "visit_select", ("select_stmt",)),
        Undocumented(SQLCompiler, "visit_update", ("update_stmt",)),
        Undocumented(SQLCompiler, "visit_delete", ("delete_stmt",)),
        Undocumented(SQLCompiler, "_display_froms_for_select", ("asfrom", "lateral")),
        Undocumented(SQLCompiler, "_default_stack_entry"),
        Undocumented(statement.compile(), "stack"),
        *(
            Undocumented(statement, name)
            for name in (
                "_annotations",
                "_from_obj",
                "_memoized_select_entities",
                "_raw_columns",
                "_setup_joins",
                "_with_options",
            )
        ),
        Undocumented(LoaderCriteriaOption, "_resolve_where_criteria", ("ext_info",)),
        Undocumented(LoaderCriteriaOption, "get_global_criteria", ("attributes",)),
        Undocumented(CriteriaOption, "process_compile_state", ("compile_state",)),
        Undocumented(CriteriaOption, "process_compile_state_replaced_entities", ("compile_state", "mapper_entities")),
        Undocumented(CriteriaOption, "propagate_to_loaders"),
    )


def restrict(engine: Engine) -> None:
    """Have *engine* restrict each statement that has `Restrictions` among its options, wherever it reads rows."""
    dialect: Any = engine.dialect
    dialect.statement_compiler = _restricting(dialect.statement_compiler)


@unique
def _restricting(compiler: type[SQLCompiler]) -> type[SQLCompiler]:
    return type(f"Restricting{compiler.__name__}", (_RestrictingCompiler, compiler), {})


class _RestrictingCompiler(SQLCompiler):
    """Restricts each SELECT of a statement, and the tables that an UPDATE or a DELETE names beside its own."""

    _restrictions: tuple[Restrictions, ...] | None = None
    """Those of the SELECT that is being compiled, and of the statements around it."""

    _within: frozenset[object] = frozenset()
    """Those whose criterion is being compiled: none is restricted by itself, which had no end."""

    def visit_select(self, select_stmt: Any, *args: Any, **options: Any) -> Any:
        compiler: Any = super()  # is not annotated
        before = self._restrictions, self._within
        self._restrictions = self._restrictions_of(select_stmt)
        self._within |= {select_stmt._annotations.get("for_loader_criteria")}
        try:
            if self._restrictions and isinstance(select_stmt, Select):
                select_stmt = self._restricted(cast("Select[Any]", select_stmt), options)
            return compiler.visit_select(select_stmt, *args, **options)
        finally:
            self._restrictions, self._within = before

    def visit_update(self, update_stmt: Any, *args: Any, **options: Any) -> Any:
        return super().visit_update(self._restricted_beside(update_stmt), *args, **options)

    def visit_delete(self, delete_stmt: Any, *args: Any, **options: Any) -> Any:
        compiler: Any = super()  # is not annotated
        return compiler.visit_delete(self._restricted_beside(delete_stmt), *args, **options)

    def _restrictions_of(self, statement: object) -> tuple[Restrictions, ...]:
        around = _given(self.statement) if self._restrictions is None else self._restrictions
        return tuple(dict.fromkeys((*around, *_given(statement))))

    def _restricted(self, statement: Select[Any], options: Mapping[str, Any]) -> Select[Any]:
        criteria = list(self._criteria(self._sources(statement, options), _known(statement)))
        return statement.where(*criteria) if criteria else statement

    def _sources(self, statement: Select[Any], options: Mapping[str, Any]) -> Sequence[FromClause]:
        """Return what *statement* reads from, without what belongs to a statement around it, which is restricted there."""
        compiler: Any = self  # is not annotated
        is_outermost = not self.stack
        if is_outermost:  # as if in another: what is joined to load relationships would have other names here
            compiler.stack.append(compiler._default_stack_entry)
        try:
            sources = compiler._display_froms_for_select(statement, options.get("asfrom"), options.get("lateral"))
        finally:
            if is_outermost:
                compiler.stack.pop()
        return cast("Sequence[FromClause]", sources)

    def _restricted_beside(self, statement: Any) -> Any:
        self._restrictions = self._restrictions_of(statement)
        if not self._restrictions or statement.whereclause is None:
            return statement
        named = select(literal(1)).where(statement.whereclause).get_final_froms()
        return statement.where(*self._criteria(source for source in named if source != statement.table))

    def _criteria(
        self, sources: Iterable[FromClause], known: Container[FromClause] = ()
    ) -> Iterator[ColumnElement[bool]]:
        """Yield what the rows of *sources* must meet, but for the tables that SQLAlchemy knows of."""
        tables = dict(chain.from_iterable(map(_tables_in, sources)))
        for table, is_optional in tables.items():
            for restriction in self._restrictions_on(table, is_known=table in known):
                criterion = restriction.on(table, tables)
                if criterion is not None:
                    yield or_(criterion, _is_missing(table)) if is_optional else criterion

    def _restrictions_on(self, table: FromClause, *, is_known: bool) -> Iterator[Restriction]:
        by_sqlalchemy = _given(self.statement) if is_known else ()
        for restrictions in self._restrictions or ():
            if restrictions not in by_sqlalchemy:
                yield from (restriction for restriction in restrictions.on(table) if restriction not in self._within)


def _given(statement: object) -> list[Restrictions]:
    """Return the restrictions among the options of *statement*, which `with_only_columns` has put aside."""
    parts = (statement, *getattr(statement, "_memoized_select_entities", ()))
    options: Iterable[object] = chain.from_iterable(getattr(part, "_with_options", ()) for part in parts)
    return [option for option in options if isinstance(option, Restrictions)]


def _known(statement: Any) -> set[FromClause]:
    """Return the tables and aliases of the entities that *statement* selects and joins; SQLAlchemy restricts these."""
    elements = (*statement._raw_columns, *statement._from_obj, *(target for target, *_ in statement._setup_joins))
    entities = filter(None, map(_entity_of, elements))
    return {table for entity in entities for table, _ in _tables_in(entity.selectable)}


def _entity_of(element: object) -> Any:
    return getattr(element, "_annotations", {}).get("parententity") or getattr(element, "entity", None)


def _tables_in(source: FromClause, *, is_optional: bool = False) -> Iterator[tuple[FromClause, bool]]:
    """Yield each table, or alias, that *source* joins, and whether a row may be without one of its rows."""
    if isinstance(source, Join):
        yield from _tables_in(source.left, is_optional=is_optional or source.full)
        yield from _tables_in(source.right, is_optional=is_optional or source.full or source.isouter)
    elif isinstance(source, FromGrouping):
        yield from _tables_in(source.element, is_optional=is_optional)
    else:
        yield source, is_optional


def _is_missing(table: FromClause) -> ColumnElement[bool]:
    return and_(*(column.is_(None) for column in table.primary_key))
