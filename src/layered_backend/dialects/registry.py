"""The dialects by the names that SQLAlchemy has for their databases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from sqlalchemy import Engine

from layered_backend.dialects.dialect import DatabaseDialect
from layered_backend.models import ExactDecimal

__all__ = ["ENTRY_POINTS", "check_name", "dialect_named", "register_dialect"]

ENTRY_POINTS = "layered_backend.dialects"
"""The group of entry points that packages name their dialects in."""

# Each is imported when a database of that name is first used.
_SHIPPED: Mapping[str, str] = {
    "sqlite": "layered_backend.dialects.sqlite",
    "postgresql": "layered_backend.dialects.postgresql",
    "mysql": "layered_backend.dialects.mysql",
    "mariadb": "layered_backend.dialects.mysql",
}
_OTHERWISE_CALLED: Mapping[str, str] = {"postgres": "postgresql", "pgsql": "postgresql", "sqlite3": "sqlite"}
_registered: dict[str, DatabaseDialect] = {}


def register_dialect(name: str, dialect: DatabaseDialect) -> None:
    """Have databases called *name* be used by *dialect*. Call it before the first `Database` of that name is made.

    A package can name its dialect in an entry point of the group `layered_backend.dialects` instead: it is found when a
    database of that name is first used.

    Args:
        name: The part of the URL before `://` or `+`, which is also the `name` of SQLAlchemy's own dialect.
        dialect: The dialect.

    Raises:
        TypeError: *dialect*, or a part of it, is something else, such as a class.
        ValueError: There is a dialect of that name, or the name is not one that a URL can begin with.
    """
    if not isinstance(dialect, DatabaseDialect):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without types
        raise TypeError(f"the dialect of {name}:// is to be a DatabaseDialect, not {dialect!r}")
    for part in fields(dialect):
        value: object = getattr(dialect, part.name)
        if value is None or isinstance(value, type):
            raise TypeError(f"the part {part.name} of the dialect of {name}:// is to be an object, not {value!r}")
    if not name.isidentifier():
        raise ValueError(f"{name!r} cannot be the name of a dialect: a database URL begins with it, without a driver")
    if name in _SHIPPED or name in _registered:
        raise ValueError(f"there is a dialect for {name}:// already; register yours under another name")
    _registered[name] = dialect
    if dialect.values.decimal_type is not None:
        ExactDecimal.store_as(dialect.values.decimal_type, name)


def check_name(engine: Engine) -> None:
    """Refuse a dialect that is registered under another name than SQLAlchemy's: some of its parts would not be found.

    Raises:
        ValueError: It is; the message has both names.
    """
    registered, name = engine.url.get_backend_name(), engine.dialect.name
    if name != registered:
        raise ValueError(
            f"SQLAlchemy's dialect of {registered}:// has the name {name!r}; call register_dialect() with the name that it "
            f"has, or give it the name {registered!r}"
        )


def dialect_named(name: str) -> DatabaseDialect:
    """Return the dialect of the database that SQLAlchemy calls *name*.

    Raises:
        ImportError: An entry point names a dialect that cannot be loaded.
        TypeError: An entry point names something else than a dialect.
        ValueError: The database has no dialect.
    """
    dialect = _registered.get(name)
    if dialect is not None:
        return dialect
    if name in _SHIPPED:
        shipped: DatabaseDialect = import_module(_SHIPPED[name]).DIALECT
        return _registered.setdefault(name, shipped)
    found = next(iter(entry_points(group=ENTRY_POINTS, name=name)), None)
    if found is None and name in _OTHERWISE_CALLED:
        raise ValueError(
            f"SQLAlchemy has no {name}:// and calls it {_OTHERWISE_CALLED[name]}://; begin the database URL so"
        )
    if found is None:
        known = ", ".join(f"{each}://" for each in {**_SHIPPED, **_registered})
        raise ValueError(
            f"{name}:// is not supported; a database URL begins with one of {known}. To add another, pass its dialect "
            "to register_dialect(): see the page `dialects` of the documentation"
        )
    loaded = _loaded(found)
    if name not in _registered:  # by another thread, meanwhile
        register_dialect(name, loaded)
    return _registered[name]


def _loaded(entry_point: EntryPoint) -> DatabaseDialect:
    try:
        dialect: object = entry_point.load()
    except Exception as error:
        raise ImportError(
            f"the entry point {entry_point.name} = {entry_point.value!r} of {ENTRY_POINTS} cannot be loaded: {error}"
        ) from error
    if not isinstance(dialect, DatabaseDialect):
        raise TypeError(
            f"the entry point {entry_point.name} = {entry_point.value!r} of {ENTRY_POINTS} is to name a DatabaseDialect, "
            f"not {dialect!r}"
        )
    return dialect
