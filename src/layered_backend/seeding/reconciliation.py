"""The reconciliation of one seeder's rows with the stored ones."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping, Sequence, Set, Sized
from contextlib import aclosing
from dataclasses import replace
from itertools import islice
from typing import Any, cast

from layered_backend.batch import MISSING
from layered_backend.errors import SeedDataError, SeedReferenceError
from layered_backend.field_values import Data
from layered_backend.seeding.field import Field
from layered_backend.seeding.files import FileRows
from layered_backend.seeding.references import UNKNOWN, Resolver
from layered_backend.seeding.report import Tally
from layered_backend.seeding.rows import PendingRow, ShippedRows, check_rows, sort_in_levels
from layered_backend.seeding.seed_table import BATCH_SIZE, SeedTable
from layered_backend.seeding.seeder import Definition, NewRow, Ref, Rows
from layered_backend.seeding.writer import Writer, retired_keys

__all__ = ["Reconciliation"]

Values = tuple[Any, ...]


class Reconciliation:
    """The rows of one seeder, batch by batch. Lives as long as the seeder runs.

    A row that equals the stored one costs a comparison of two tuples. Every other one becomes a `PendingRow`, which is written
    with its batch, or, when it refers to rows of its own seeder that are not known yet, after all batches.

    Args:
        definition: Of the seeder.
        table: The stored rows.
        resolver: Where references are found, and where the rows that others may refer to are left.
        writer: What writes.
        tally: What counts.
    """

    def __init__(
        self, definition: Definition, table: SeedTable, resolver: Resolver, writer: Writer, tally: Tally
    ) -> None:
        self._definition = definition
        self._associations = table.associations
        self._table = table
        self._resolver = resolver
        self._writer = writer
        self._tally = tally
        self._numbers: dict[Values, int] = {}
        self._waiting: list[PendingRow] = []
        self._linking: list[PendingRow] = []
        self._retired = set(retired_keys(definition.seeder, table))

    async def reconcile(self, rows: Rows, on_batch: Callable[[int | None], None]) -> None:
        """Bring what is stored in pending with *rows*.

        Args:
            rows: What `Seeder.rows` returns.
            on_batch: Called after each batch with the number of rows there are, or None where that is not known.

        Raises:
            SeedDataError: A row cannot be seeded; it is named.
        """
        try:
            await self._reconcile(rows, on_batch)
        except SeedDataError as error:
            error.source = error.source or (rows.name if isinstance(rows, FileRows) else None)
            raise

    async def _reconcile(self, rows: Rows, on_batch: Callable[[int | None], None]) -> None:
        iterable: object = await rows if inspect.isawaitable(rows) else rows
        total = len(iterable) if isinstance(iterable, Sized) else None
        async with aclosing(_in_batches(iterable)) as batches:
            async for first, data in batches:
                await self._take(check_rows(self._definition, self._table.fields, data, first))
                on_batch(total)
        await self._settle()
        if not self._writer.is_dry_run:
            await self._table.advance_counters()

    async def _take(self, given: ShippedRows) -> None:
        batch = await self._resolved(given)
        self._table.note_counted(dict(zip(batch.names, batch.columns, strict=True)))
        width, compared = len(self._table.key), batch.compared
        keys = self._distinct_keys(batch)
        findable = keys if batch is given else [key for key in keys if not _is_open(key)]
        stored = self._by_key(await self._table.read(batch.names[:compared], findable), compared)
        pending_rows: list[PendingRow] = []
        if not self._are_as_shipped(batch, keys, stored):
            for (number, row), written in zip(batch.numbered(), given.rows, strict=True):
                found = stored.get(row[:width])
                if found is None or found[:compared] != row[:compared] or self._compares_more(batch):
                    pending_rows.append(self._pending_row(number, written[:width], batch, row, found))
        unchanged = len(keys) - len(pending_rows)
        self._tally.unchanged += unchanged
        await self._write([pending for pending in pending_rows if not pending.references])
        self._waiting += [pending for pending in pending_rows if pending.references]

    def _are_as_shipped(self, batch: ShippedRows, keys: Sequence[Values], stored: Mapping[Values, Values]) -> bool:
        """Tell whether all rows of *batch* are stored as they are, which is so at most times."""
        if len(stored) != len(keys) or self._compares_more(batch):
            return False
        return dict(zip(keys, batch.leading(batch.compared), strict=True)) == dict(
            zip(stored, _leading(stored.values(), batch.compared), strict=True)
        )

    def _compares_more(self, batch: ShippedRows) -> bool:
        """Tell whether Python compares a value in another way than the database means it, or rows have relationships."""
        return bool(batch.links) or any(self._table.fields[name].is_json for name in batch.names[: batch.compared])

    def _pending_row(
        self, number: int, written: Values, batch: ShippedRows, row: Values, found: Values | None
    ) -> PendingRow:
        values = {name: value for name, value in zip(batch.names, row, strict=True) if value is not MISSING}
        is_read = not _is_open(row[: len(self._table.key)])
        normal = tuple(self._resolver.normal(part) if isinstance(part, Ref) else part for part in written)
        pending = PendingRow(number, normal, values, is_read=is_read)
        links = ((name, each[number - batch.first]) for name, each in batch.links.items())
        pending.links = {name: references for name, references in links if references is not MISSING}
        if found is not None:
            self._set_stored(pending, batch.names[: batch.compared], found)
        return pending

    def _set_stored(self, pending: PendingRow, names: Sequence[str], found: Values) -> None:
        pending.stored = dict(zip(names, found, strict=False))
        pending.identity = found[len(names) : len(names) + len(self._table.identity)]

    def _by_key(self, rows: Sequence[Values], compared: int) -> dict[Values, Values]:
        """Return the stored rows by their natural key, and leave them where references are found."""
        width = len(self._table.key)
        stored = dict(zip(_leading(rows, width), rows, strict=True))
        if len(stored) != len(rows):
            raise SeedDataError(self._ambiguity(rows))
        if self._resolver.keeps(self._definition.seeder):
            known = self._resolver.rows_of(self._definition.seeder)
            known.update((key, row[compared:]) for key, row in stored.items())
        return stored

    def _ambiguity(self, rows: Sequence[Values]) -> str:
        width = len(self._table.key)
        keys = [row[:width] for row in rows]
        twice = next(key for key in keys if keys.count(key) > 1)
        return f"several stored rows have the key {self._key_text(twice)}; which of them is meant is not known"

    def _key_text(self, key: Values) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in zip(self._table.key, key, strict=True))

    def _distinct_keys(self, batch: ShippedRows) -> list[Values]:
        keys = batch.leading(len(self._table.key))
        numbered = dict(zip(keys, range(batch.first, batch.first + len(keys)), strict=True))
        if len(numbered) < len(keys) or not self._numbers.keys().isdisjoint(numbered):
            raise self._duplicate(batch, keys)
        for key in self._retired & numbered.keys():
            raise SeedDataError("the row is both shipped and retired", row=numbered[key], key=self._key_text(key))
        self._numbers |= numbered
        for name, values in zip(self._table.key, batch.columns, strict=False):
            self._check_key(self._table.fields[name], values, batch.first)
        return keys

    def _duplicate(self, batch: ShippedRows, keys: Sequence[Values]) -> SeedDataError:
        numbers = dict(self._numbers)
        for number, key in enumerate(keys, start=batch.first):
            if key in numbers:
                return SeedDataError(f"row {numbers[key]} has the same key", row=number, key=self._key_text(key))
            numbers[key] = number
        raise AssertionError

    def _check_key(self, field: Field, values: Sequence[Any], first: int) -> None:
        """Refuse what the database could not even be asked about."""
        if field.accepts_all(values):
            return
        for number, value in enumerate(values, start=first):
            if value is None or isinstance(value, Ref):
                continue
            reason = field.refusal(value)
            if reason is not None:
                raise SeedDataError(reason, row=number, column=field.name)

    # References

    async def _resolved(self, batch: ShippedRows) -> ShippedRows:
        """Return *batch* with what its references stand for; those to rows that are not known yet stay."""
        positions = [position for position, values in enumerate(batch.columns) if Ref in set(map(type, values))]
        if not positions:
            return batch
        await self._look_up(batch, positions)
        fields = [self._table.fields[name] for name in batch.names]
        rows = [
            tuple(
                self._value(fields[position], value, number) if type(value) is Ref else value
                for position, value in enumerate(row)
            )
            for number, row in batch.numbered()
        ]
        return replace(batch, columns=list(zip(*rows, strict=True)))

    async def _look_up(self, batch: ShippedRows, positions: Sequence[int]) -> None:
        """Read the rows of other seeders that are referred to and not known."""
        own = self._definition.seeder
        unknown: set[Ref] = set()
        for number, row in batch.numbered():
            for position in positions:
                reference = row[position]
                if type(reference) is Ref and reference.seeder is not own:
                    field = self._table.fields[batch.names[position]]
                    if self._known_value(field, reference, number) is UNKNOWN:
                        unknown.add(reference)
        await self._resolver.look_up(unknown)

    def _value(self, field: Field, reference: Ref, number: int) -> object:
        value = self._known_value(field, reference, number)
        if value is not UNKNOWN:
            return value
        if reference.seeder is self._definition.seeder:
            return self._resolver.normal(reference)
        raise _refers_to_nothing(field.name, reference, number)

    def _known_value(self, field: Field, reference: Ref, number: int) -> object:
        self._check_dependency(field.name, reference, number)
        try:
            return self._resolver.value(field, reference)
        except SeedReferenceError as error:
            error.row, error.column = number, field.name
            raise

    def _check_dependency(self, column: str, reference: Ref, number: int) -> None:
        own = self._definition.seeder
        if reference.seeder is own or reference.seeder in own.depends_on:
            return
        members = ", ".join(each.__name__ for each in (*own.depends_on, reference.seeder))
        trailing = "," if not own.depends_on else ""
        raise SeedReferenceError(
            f"{reference!r} is of a seeder that this one does not depend on; write depends_on = ({members}{trailing})",
            row=number,
            column=column,
        )

    # Rows that refer to rows of their own seeder

    async def _settle(self) -> None:
        """Write the pending_rows that had to wait, each after those that it refers to."""
        waiting = self._waiting
        self._waiting = []
        optional = {name for name, field in self._table.fields.items() if field.is_optional} - set(self._table.key)
        for level in sort_in_levels(waiting, optional):
            await self._resolve_pending(level)
            await self._read_pending([pending for pending in level if not pending.is_read])
            await self._write(level)
        completions = [(pending, *self._completion(pending)) for pending in waiting if pending.later]
        await self._writer.complete(completions)
        await self._link()

    async def _resolve_pending(self, pending_rows: Sequence[PendingRow]) -> None:
        fields = self._table.fields
        references = [(pending, name, each) for pending in pending_rows for name, each in pending.references.items()]
        await self._resolver.look_up(
            {
                each
                for pending, name, each in references
                if self._known_value(fields[name], each, pending.number) is UNKNOWN
            }
        )
        for pending, name, reference in references:
            value = self._known_value(fields[name], reference, pending.number)
            if value is UNKNOWN:
                raise _refers_to_nothing(name, reference, pending.number)
            pending.values[name] = value

    async def _read_pending(self, pending_rows: Sequence[PendingRow]) -> None:
        """Look for the pending_rows whose key was not known before."""
        by_key: dict[Values, PendingRow] = {}
        for pending in pending_rows:
            other = by_key.setdefault(tuple(pending.values[name] for name in self._table.key), pending)
            if other is not pending:
                raise SeedDataError(f"row {other.number} has the same key", row=pending.number)
        compared = [*self._table.key, *self._compared_rest(pending_rows)]
        findable = [key for key in by_key if not _is_open(key)]
        found = self._by_key(await self._table.read(compared, findable), len(compared))
        for key, row in found.items():
            self._set_stored(by_key[key], compared, row)
            self._resolver.rows_of(self._definition.seeder)[by_key[key].written] = row[len(compared) :]

    def _compared_rest(self, pending_rows: Sequence[PendingRow]) -> list[str]:
        given = dict.fromkeys(name for pending in pending_rows for name in pending.values)
        return [name for name in given if name not in self._table.key and name not in self._definition.insert_only]

    def _completion(self, pending: PendingRow) -> tuple[Values, Mapping[str, Any]]:
        fields = self._table.fields
        values = {name: self._known_value(fields[name], each, pending.number) for name, each in pending.later.items()}
        return self._identity(pending), values

    async def _write(self, pending_rows: Sequence[PendingRow]) -> None:
        for start in range(0, len(pending_rows), BATCH_SIZE):
            batch = pending_rows[start : start + BATCH_SIZE]
            await self._compare_links(batch)
            inserted = await self._writer.write(batch)
            self._resolver.rows_of(self._definition.seeder).update(inserted)
            self._linking += [pending for pending in batch if pending.links]

    # Relationships, which are written when all rows are there

    async def _compare_links(self, pending_rows: Sequence[PendingRow]) -> None:
        """Leave to each row the relationships that differ from what is associated with the stored one."""
        for name in dict.fromkeys(name for pending in pending_rows for name in pending.links):
            linked = [pending for pending in pending_rows if name in pending.links]
            await self._look_up_links(name, linked)
            target = self._associations.relationships[name].mapper
            stored = await self._associations.read(name, [p.identity for p in linked if p.identity is not None])
            for pending in linked:
                before: Set[Values] = stored.get(pending.identity or (), frozenset())
                is_kept = pending.identity is not None and name in self._definition.insert_only
                if is_kept or set(self._targets(name, pending, is_final=False)) == before:
                    del pending.links[name]
                else:
                    pending.stored_links[name] = self._resolver.named(target, self._definition.seeder, before)

    async def _look_up_links(self, name: str, pending_rows: Sequence[PendingRow]) -> None:
        """Look for the rows that the relationship *name* refers to, as far as they are not known."""
        target = self._associations.relationships[name].mapper
        unknown: set[Ref] = set()
        for pending in pending_rows:
            for reference in pending.links[name]:
                self._check_dependency(name, reference, pending.number)
                try:
                    if self._resolver.row_of(target, reference) is None:
                        unknown.add(reference)
                except SeedReferenceError as error:
                    error.row, error.column = pending.number, name
                    raise
        await self._resolver.look_up(unknown)

    def _targets(self, name: str, pending: PendingRow, *, is_final: bool) -> list[Values]:
        """Return the primary keys of what *pending* refers to by a relationship; rows of its own seeder may be to come."""
        targets: list[Values] = []
        for reference in pending.links[name]:
            row = self._resolver.row(reference)
            if row is None and (is_final or reference.seeder is not self._definition.seeder):
                raise _refers_to_nothing(name, reference, pending.number)
            targets.append((UNKNOWN,) if row is None else self._resolver.identity(reference.seeder, row))
        return targets

    async def _link(self) -> None:
        """Write the relationships that differ."""
        linking, self._linking = self._linking, list[PendingRow]()
        for name in dict.fromkeys(name for pending in linking for name in pending.links):
            linked = [pending for pending in linking if name in pending.links]
            for start in range(0, len(linked), BATCH_SIZE):
                batch = linked[start : start + BATCH_SIZE]
                await self._look_up_links(name, batch)
                wanted = {pending: set(self._targets(name, pending, is_final=True)) for pending in batch}
                await self._writer.link(self._associations, name, [(self._identity(p), p, wanted[p]) for p in batch])

    def _identity(self, pending: PendingRow) -> Values:
        if pending.identity is not None:
            return pending.identity
        row = self._resolver.rows_of(self._definition.seeder)[pending.written]
        return self._resolver.identity(self._definition.seeder, row)


def _leading(rows: Iterable[Values], width: int) -> Iterable[Values]:
    """Return the first *width* values of each row."""
    return zip(*list(zip(*rows, strict=True))[:width], strict=True)


def _refers_to_nothing(column: str, reference: Ref, number: int) -> SeedReferenceError:
    return SeedReferenceError(
        f"{reference!r} refers to a row that is neither shipped nor stored", row=number, column=column
    )


def _is_open(key: Values) -> bool:
    """Tell whether no stored row can have *key* yet."""
    return any(isinstance(part, Ref | NewRow) for part in key)


async def _in_batches(rows: object) -> AsyncGenerator[tuple[int, Sequence[Data]]]:
    """Return the rows some at a time, with the number of the first of them."""
    number = 1
    if isinstance(rows, AsyncIterable):
        batch: list[Data] = []
        async for row in cast("AsyncIterable[Data]", rows):
            batch.append(row)
            if len(batch) == BATCH_SIZE:
                yield number, batch
                number += len(batch)
                batch = []
        if batch:
            yield number, batch
        return
    iterator = iter(_iterable(rows))
    while some := list(islice(iterator, BATCH_SIZE)):
        yield number, some
        number += len(some)


def _iterable(rows: object) -> Iterable[Data]:
    kind = "nothing" if rows is None else type(rows).__name__
    if isinstance(rows, Iterable) and not isinstance(rows, (Mapping, str)):
        return cast("Iterable[Data]", rows)
    raise SeedDataError(f"rows() returned {kind}; yield the rows, or return a list of them")
