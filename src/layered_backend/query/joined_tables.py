"""Joined tables: what the criteria and the sorts of a statement may read, and the check that they read nothing else.

SQL adds a table that a criterion reads to FROM. Each row is then repeated for each row of that table: a count is a multiple,
an UPDATE or DELETE changes every row. SQLAlchemy warns of such a statement when it has been sent (its cartesian product
linter). Here it is refused before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, cast

from sqlalchemy import (
    BinaryExpression,
    BindParameter,
    ClauseElement,
    ColumnClause,
    ColumnElement,
    Exists,
    FromClause,
    FunctionElement,
    Join,
    Lateral,
    ScalarSelect,
    Select,
    SelectBase,
    TableValuedAlias,
    TextClause,
)
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.operators import OperatorType, is_comparison
from sqlalchemy.sql.visitors import iterate

from layered_backend.memoization import memoized
from layered_backend.query.column_limits import refuse_beyond_limits, refuse_text_search
from layered_backend.upstream.sqlalchemy.expression import is_correlated

__all__ = ["checked_criteria", "checked_sorts", "expression_of"]


def checked_criteria(mapper: Mapper[Any], where: Sequence[Any]) -> Sequence[Any]:
    """Return *where*, the criteria of a statement over the rows of *mapper* that joins nothing else.

    Raises:
        TypeError: One is no expression, or reads a table that the statement does not join.
        InvalidDataError: One compares a column with a value that the column cannot hold.
    """
    for criterion in where:
        _check(mapper, expression_of(mapper, criterion, "a criterion"))
    return where


def checked_sorts(mapper: Mapper[Any], order_by: Sequence[Any]) -> Sequence[Any]:
    """Return *order_by*, the sort of a statement over the rows of *mapper* that joins nothing else.

    Raises:
        TypeError: One is no expression, or reads a table that the statement does not join.
    """
    for sort in order_by:
        _check(mapper, expression_of(mapper, sort, "order_by"))
    return order_by


def expression_of(mapper: Mapper[Any], given: Any, what: str) -> ClauseElement:
    """Return the SQL expression that *given* is, or that an attribute of a mapped class stands for.

    Args:
        mapper: The mapper whose rows are selected.
        given: What the caller has passed.
        what: The name of its place, for the error.

    Raises:
        TypeError: It is no expression: None, a truth value of a comparison in Python, or text.
    """
    if isinstance(given, (ColumnElement, TextClause)):
        return cast("ClauseElement", given)
    expression: object = given.__clause_element__() if hasattr(given, "__clause_element__") else None
    if isinstance(expression, ColumnElement):
        return cast("ClauseElement", expression)
    name = mapper.class_.__name__
    if given is None:
        advice = f"leave it out if it does not apply, and write {name}.column.is_(None) to ask for NULL"
    elif isinstance(given, bool):
        advice = "Python has compared two objects; compare a column, and write sqlalchemy.true() for every row"
    else:
        advice = f"write one such as {name}.column == value, several as several arguments"
    shown = given if given is None or isinstance(given, bool) else f"of the type {type(given).__name__}"
    raise TypeError(f"{what} of {name} is {shown}, which is no SQL expression; {advice}")


def _check(mapper: Mapper[Any], expression: ClauseElement) -> None:
    joined = _tables_of(mapper)
    level = _Level()
    level.read(expression)
    name = mapper.class_.__name__
    for table, column in level.columns.items():
        if table not in joined and not _is_of_each_row(table, joined):
            raise TypeError(
                f"{column} is not of {name}, and a statement of {name} does not join its table: every row would be repeated, "
                "or changed, for each row of that; ask with relationship.any() or has(), or with exists() of the related "
                "rows, and sort by a column_property or a scalar_subquery()"
            )
    for subquery in level.subqueries:
        _check_subquery(mapper, subquery, joined | level.columns.keys())


def _check_subquery(
    mapper: Mapper[Any], subquery: ClauseElement, around: Set[FromClause], *, is_exists: bool = False
) -> None:
    """Check a subquery, which reads tables of its own, and those *around* it."""
    if not isinstance(subquery, Select):
        for child in subquery.get_children():
            if isinstance(child, _SUBQUERIES):
                is_of_exists = is_exists or isinstance(subquery, Exists)
                _check_subquery(mapper, cast("ClauseElement", child), around, is_exists=is_of_exists)
        return
    level = _Level()
    for child in subquery.get_children():
        level.read(child)
    select = cast("Select[Any]", subquery)
    own = {table for table in level.columns if table not in around or not is_correlated(select, table)}
    if len(own) > 1:
        name, columns = mapper.class_.__name__, ", ".join(sorted(str(level.columns[table]) for table in own))
        if not level.connects(own):
            # A join that names no ON clause is known only when SQLAlchemy has found it.
            level.links += select.get_final_froms()
        if not level.connects(own):
            raise TypeError(
                f"a subquery in a criterion of {name} reads {columns}, and nothing connects their tables: each row of one is "
                "combined with every row of the other; join them, or compare columns of both"
            )
        # `Author.books.any()` among the criteria of another class, where no author is in the statement.
        if is_exists and (_tables_in(select) - own).isdisjoint(around) and len(select.get_final_froms()) > 1:
            raise TypeError(
                f"a subquery in a criterion of {name} reads {columns} and nothing of {name}, so it is the same for every row; "
                f"compare one of them with a column of {name}, or join them if that is meant"
            )
    for inner in level.subqueries:
        _check_subquery(mapper, inner, around | level.columns.keys())


@dataclass
class _Level:
    """One level of a statement: an expression without its subqueries, or a subquery without those in it.

    Attributes:
        columns: The tables that it reads, each with the first column that is read of it.
        links: What connects the tables that it reads: comparisons, functions, joins, and rows that are computed from others.
        subqueries: What it asks in turn.
    """

    columns: dict[FromClause, object] = field(default_factory=dict[FromClause, object])
    links: list[Any] = field(default_factory=list[Any])
    subqueries: list[ClauseElement] = field(default_factory=list[ClauseElement])

    def read(self, element: Any) -> None:
        """Add what *element* reads.

        Raises:
            TypeError: It searches a column for text that is none.
            InvalidDataError: It compares a column with a value that the column cannot hold.
        """
        if isinstance(element, ColumnClause):
            if element.table is not None:
                self._add(element.table, element)
        elif isinstance(element, TableValuedAlias):  # what `column_valued` returns reads it
            self._add(element, element.name)
        elif isinstance(element, _SUBQUERIES):
            self.subqueries.append(cast("ClauseElement", element))
        elif isinstance(element, BinaryExpression):
            _check_comparison(element.left, element.operator, element.right)
            self.links.append(element)
            self.read(element.left)
            self.read(element.right)
        elif isinstance(element, (FunctionElement, Join)) or not isinstance(element, (FromClause, BindParameter)):
            if isinstance(element, FromClause):  # a function is one too
                self.links.append(element)
            for child in element.get_children():
                self.read(child)

    def _add(self, table: FromClause, column: Any) -> None:
        if table not in self.columns:
            self.columns[table] = column
            if isinstance(table, TableValuedAlias | Lateral):
                self.links.append(table)

    def connects(self, tables: Set[FromClause]) -> bool:
        """Tell whether the links lead from each of *tables* to all others."""
        reached = {next(iter(tables))}
        open_links = [_linked_by(link) for link in self.links]
        while found := [link for link in open_links if not reached.isdisjoint(link)]:
            reached.update(*found)
            open_links = [link for link in open_links if reached.isdisjoint(link)]
        return reached >= tables


def _linked_by(link: ClauseElement) -> set[FromClause]:
    """Return the tables that *link* connects."""
    if isinstance(link, Join):
        return set(_parts(link))
    return {link, *_tables_in(link)} if isinstance(link, TableValuedAlias | Lateral) else _tables_in(link)


_SUBQUERIES = (Exists, ScalarSelect, SelectBase)


def _check_comparison(left: ColumnElement[Any], operator: OperatorType, right: ColumnElement[Any]) -> None:
    """Refuse a comparison of a column with a value that the column cannot hold, and a search for text in what is none."""
    if not is_comparison(operator):
        return
    column = left if isinstance(left, ColumnClause) else next(_columns_in(left), None)
    if column is None:
        return
    is_bare = column is left  # else only a text is known to be compared with a text
    refuse_text_search(operator, column)
    for bound in _parameters_of(right):
        value = bound.value
        values = cast("Sequence[object]", value if isinstance(value, (list, tuple)) else (value,))
        refuse_beyond_limits(column, values if is_bare else [each for each in values if isinstance(each, str)])


def _parameters_of(operand: ColumnElement[Any]) -> Iterator[BindParameter[Any]]:
    """Yield the parameter that *operand* is, or those that it is directly made of."""
    for each in (operand,) if isinstance(operand, BindParameter) else operand.get_children():
        if isinstance(each, BindParameter):
            yield each


def _columns_in(element: ClauseElement) -> Iterator[ColumnClause[Any]]:
    """Yield all columns in *element*, those in its subqueries too."""
    for each in iterate(element):
        if isinstance(each, ColumnClause):
            yield each


def _tables_in(element: ClauseElement) -> set[FromClause]:
    """Return the tables of all columns in *element*, those in its subqueries too."""
    return {column.table for column in _columns_in(element) if column.table is not None}


def _is_of_each_row(table: FromClause, joined: Set[FromClause]) -> bool:
    """Tell whether *table* is computed from each row: the rows of a function of a column, or a lateral subquery."""
    return isinstance(table, TableValuedAlias | Lateral) and not _tables_in(table).isdisjoint(joined)


@memoized
def _tables_of(mapper: Mapper[Any]) -> frozenset[FromClause]:
    """Return the tables that a statement over the rows of *mapper* selects from, and what stands for them there."""
    named: Iterable[Any] = (mapper.selectable, *(each.local_table for each in mapper.iterate_to_root()), *mapper.tables)
    return frozenset(chain.from_iterable(map(_parts, named)))


def _parts(source: Any) -> Iterator[FromClause]:
    """Yield *source*, and the tables that it joins."""
    yield source
    if isinstance(source, Join):
        yield from _parts(source.left)
        yield from _parts(source.right)
