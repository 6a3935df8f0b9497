"""Models of every shape that a migration must get right, as the code behind a `Base`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

ALL = ("sqlite", "postgresql", "mariadb")
POSTGRESQL = ("postgresql",)


@dataclass(frozen=True)
class Shape:
    """A shape of models.

    Attributes:
        models: The code.
        servers: The databases that know it.
    """

    models: str
    servers: tuple[str, ...] = ALL


def _columns(*columns: str, arguments: str = "") -> str:
    """Return a table with a key and *columns*, each the arguments of a column behind its name."""
    named = "".join(f"    Column('c{number}', {column}),\n" for number, column in enumerate(columns))
    return f"Table('things', Base.metadata,\n    Column('id', Integer, primary_key=True),\n{named}    {arguments}\n)\n"


def _alone(*columns: str) -> str:
    """Return a table of *columns*, each all of the arguments of a column."""
    return f"Table('things', Base.metadata, {', '.join(f'Column({column})' for column in columns)})\n"


_IDENTITIES = {
    "identity": "Identity()",
    "identity always": "Identity(always=True)",
    "identity with options": "Identity(always=True, start=100, increment=5, minvalue=50, maxvalue=100000, cycle=True, cache=3)",
    "identity counting down": "Identity(start=-1, increment=-1)",
    "identity on nothing else": "Identity(start=1, increment=1)",
}

_COMPUTED = {
    "computed": "Integer, Computed('size * 2')",
    "computed and persisted": "Integer, Computed('size * 2 + 1', persisted=True)",
    "computed and virtual": "Integer, Computed('size * 2', persisted=False)",
    "computed and not null": "Integer, Computed('size * 2', persisted=True), nullable=False",
    "computed of words": "String(40), Computed(\"replace(lower(name), 'a', ' x%')\", persisted=True)",
    "computed of a case": "String(20), Computed(\"CASE WHEN size > 2 THEN 'big' ELSE 'small' END\", persisted=True)",
    "computed of an expression": "Integer, Computed(column('size') + 3, persisted=True)",
    "computed of a function": "Integer, Computed(func.abs(column('size')), persisted=True)",
    "computed and indexed": "Integer, Computed('size * 2', persisted=True), index=True",
}

_CHECKED = {
    "a truth value with a check": "Boolean(create_constraint=True, name='is_full')",
    "an enumeration with a check": "Enum('a', 'b', create_constraint=True, name='letters')",
    "an enumeration of strings with a check": "Enum('a', 'b', native_enum=False, create_constraint=True, name='letters')",
    "an enumeration of strings": "Enum('a', 'b', native_enum=False, length=30)",
    "an enumeration": "Enum('a', \"b'c\", name='letters')",
    "an enumeration with a default": "Enum('a', 'b', name='letters'), server_default='a', nullable=False",
    "a truth value with a check and a default": "Boolean(create_constraint=True, name='is_full'), server_default=true()",
}

_CHECKS = {
    "a check": "CheckConstraint('size > 0', name='positive')",
    "a check with a name of its own": "CheckConstraint('size > 0', name=conv('size_is_positive'))",
    "a check of an expression": "CheckConstraint(column('size') > 0, name='positive')",
    "a check of two words": "CheckConstraint('size > 0', name='is positive')",
    "a check of several": "CheckConstraint(\"size > 0 AND (name <> 'x' OR name IS NULL)\", name='Sane')",
    "a check with quotes and percents": "CheckConstraint(\"name <> 'it''s 5%'\", name='odd')",
    "a check with a colon": "CheckConstraint('name <> \\' \\\\:b 5%\\'', name='odd')",
    "a check with a long name": f"CheckConstraint('size > 0', name='{'long_' * 16}')",
}

_TYPES = {
    "json": "JSON",
    "json or jsonb": "JSON().with_variant(postgresql.JSONB(), 'postgresql')",
    "json or jsonb with another null": "JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), 'postgresql')",
    "json or text": "JSON().with_variant(Text(), 'mariadb', 'mysql')",
    "json or long text": "JSON().with_variant(mysql.LONGTEXT(), 'mariadb', 'mysql')",
    "json with a default": "JSON, server_default=text(\"'{}'\"), nullable=False",
    "json or jsonb with a default": "JSON().with_variant(postgresql.JSONB(), 'postgresql'), server_default=text(\"'{\\\"a\\\": 1}'\")",
    "json or jsonb with a plain default": "JSON().with_variant(postgresql.JSONB(), 'postgresql'), server_default='{}', nullable=False",
    "json with a list for default": "JSON, server_default='[]', nullable=False",
    "strings or citext": "String(50).with_variant(postgresql.VARCHAR(80), 'postgresql')",
    "text or medium text": "Text().with_variant(mysql.MEDIUMTEXT(), 'mysql', 'mariadb')",
    "big or small": "BigInteger().with_variant(Integer, 'sqlite')",
    "an array or json": "JSON().with_variant(postgresql.ARRAY(String), 'postgresql')",
    "an array of variants": "JSON().with_variant(postgresql.ARRAY(String(20)), 'postgresql').with_variant(Text(), 'mariadb')",
    "bytes or bytea": "LargeBinary().with_variant(mysql.MEDIUMBLOB(), 'mysql', 'mariadb')",
    "a string with a collation": "String(20, collation='C').with_variant(String(20, collation='NOCASE'), 'sqlite').with_variant(String(20, collation='utf8mb4_bin'), 'mariadb')",
    "a uuid": "Uuid",
    "a uuid of strings": "Uuid(native_uuid=False)",
    "a uuid or a string": "Uuid().with_variant(String(36), 'mariadb')",
    "a time with a zone": "DateTime(timezone=True)",
    "a time with fractions": "DateTime().with_variant(mysql.DATETIME(fsp=6), 'mariadb')",
    "our types": "lb.models.UTCDateTime()",
    "our types as variants": "DateTime().with_variant(lb.models.UTCDateTime(), 'postgresql')",
    "our decimal": "lb.models.ExactDecimal()",
    "an interval": "Interval",
    "unicode": "Unicode(30)",
    "unicode text": "UnicodeText",
    "a float": "Float",
    "a double": "Double",
    "a numeric": "Numeric(12, 3)",
    "a numeric without": "Numeric",
    "a small integer": "SmallInteger",
    "bytes": "LargeBinary",
    "bytes with a length": "LargeBinary(16).with_variant(BINARY(16), 'mariadb')",
    "a date": "Date",
    "a time": "Time",
    "a pickle": "PickleType",
    "a string without a length": "String().with_variant(String(99), 'mariadb')",
    "a variant of an enumeration": "String(10).with_variant(Enum('a', 'b', name='letters'), 'postgresql')",
    "a truth value or a number": "Boolean().with_variant(SmallInteger(), 'postgresql')",
}

_POSTGRESQL_TYPES = {
    "jsonb": "postgresql.JSONB",
    "jsonb with a default": "postgresql.JSONB, server_default=text(\"'{}'::jsonb\")",
    "an array": "postgresql.ARRAY(Integer), server_default='{}'",
    "an array of texts with a default": 'ARRAY(Text), server_default=text("ARRAY[]::text[]"), nullable=False',
    "an array of two dimensions": "postgresql.ARRAY(Integer, dimensions=2)",
    "an array of an enumeration": "postgresql.ARRAY(Enum('a', 'b', name='letters'))",
    "a timestamp": "postgresql.TIMESTAMP(timezone=True, precision=3)",
    "an interval of days": "postgresql.INTERVAL(fields='DAY')",
    "an address": "postgresql.INET",
    "a network": "postgresql.CIDR",
    "words to search": "postgresql.TSVECTOR",
    "words to search that are computed": "postgresql.TSVECTOR, Computed(\"to_tsvector('english', coalesce(name, ''))\", persisted=True)",
    "a range": "postgresql.INT4RANGE",
    "a range of times": "postgresql.TSTZRANGE",
    "several ranges": "postgresql.INT4MULTIRANGE",
    "a native enumeration": "postgresql.ENUM('a', 'b', name='letters')",
    "a domain": "postgresql.DOMAIN('positive', Integer, check='VALUE > 0')",
    "bits": "postgresql.BIT(8)",
    "money": "postgresql.MONEY",
    "an oid": "postgresql.OID",
    "citext": "postgresql.CITEXT",
    "hstore": "postgresql.HSTORE",
}

_DEFAULTS = {
    "a default of a word": "String(20), server_default='new'",
    "a default of an empty word": "String(20), server_default=''",
    "a default with a quote": 'String(20), server_default="it\'s"',
    "a default with quotes around it": "String(20), server_default=\"'x'\"",
    "a default of a text with a quote": "String(20), server_default=text(\"'it''s'\")",
    "a default with capitals": "String(20), server_default='New'",
    "a default with a space": "String(20), server_default=' a b '",
    "a default with parentheses": "String(20), server_default='(x)'",
    "a default like a function": "String(20), server_default='now()'",
    "a default like a truth value": "String(20), server_default='true'",
    "a default with a percent": "String(20), server_default='5%'",
    "a default with a backslash": r"String(20), server_default='a\\b'",
    "a default with letters of others": "String(20), server_default='grün €'",
    "a default with a colon": "String(20), server_default='a:b'",
    "a default of a text with a colon": "String(20), server_default=text(\"' \\\\:b 5%'\")",
    "a default of digits in a string": "String(20), server_default='007'",
    "a number as a string": "Integer, server_default='0'",
    "a number as text": "Integer, server_default=text('0')",
    "a negative number": "Integer, server_default='-1'",
    "a negative number as text": "Integer, server_default=text('-1')",
    "a literal": "Integer, server_default=literal(5)",
    "a decimal": "Numeric(10, 2), server_default='1.50'",
    "a decimal as text": "Numeric(10, 2), server_default=text('1.5')",
    "a float with a default": "Float, server_default='0.5'",
    "a big number": "BigInteger, server_default='9007199254740993'",
    "true": "Boolean, server_default=true()",
    "false": "Boolean, server_default=false(), nullable=False",
    "true as a word": "Boolean, server_default='1'",
    "false as a word": "Boolean, server_default=text('false')",
    "true as a capital": "Boolean, server_default=text('TRUE')",
    "true by expression": "Boolean, server_default=sql.expression.true()",
    "now": "DateTime, server_default=func.now()",
    "now in a zone": "DateTime(timezone=True), server_default=func.now()",
    "now as text": "DateTime, server_default=text('CURRENT_TIMESTAMP')",
    "now as a function": "DateTime, server_default=func.current_timestamp()",
    "now as our time": "lb.models.UTCDateTime(), server_default=func.now()",
    "today": "Date, server_default=text('(CURRENT_DATE)')",
    "a day": "Date, server_default='2020-01-31'",
    "a moment": "DateTime, server_default='2020-01-31 10:00:00'",
    "null": "Integer, server_default=text('NULL'), nullable=True",
    "null as an expression": "Integer, server_default=null()",
    "a sum": "Integer, server_default=text('(1 + 2)')",
    "a function": "String(20), server_default=text(\"(lower('ABC'))\")",
    "a function as an expression": "String(20), server_default=func.lower('ABC')",
    "a default of the server": "String(20), server_default=FetchedValue()",
    "one that is updated by the server": "DateTime, server_default=func.now(), server_onupdate=FetchedValue()",
    "a default of python": "String(20), default='x'",
    "a default on text": "Text, server_default='x'",
}

_POSTGRESQL_DEFAULTS = {
    "a uuid default": "Uuid, server_default='00000000-0000-0000-0000-000000000001'",
    "a uuid that the server makes": "Uuid, server_default=text('gen_random_uuid()')",
    "a uuid by a function": "Uuid, server_default=func.gen_random_uuid()",
    "a moment by a function": "DateTime(timezone=True), server_default=text('clock_timestamp()')",
    "a moment in utc": "DateTime, server_default=text(\"timezone('utc', now())\")",
    "a moment at a zone": "DateTime, server_default=text(\"(now() at time zone 'utc')\")",
    "a moment later": "DateTime(timezone=True), server_default=text(\"now() + interval '1 day'\")",
    "a default with a cast": "String(20), server_default=text(\"'x'::character varying\")",
    "an interval with a default": "Interval, server_default=text(\"'1 day'::interval\")",
    "a plain interval with a default": "Interval, server_default='1 day'",
    "a default of an enumeration with a cast": "Enum('a', 'b', name='letters'), server_default=text(\"'a'::letters\")",
    "a sequence of the metadata": "Integer, Sequence('numbers', metadata=Base.metadata)",
    "random": "Float, server_default=func.random()",
    "the user": "String(50), server_default=text('CURRENT_USER')",
    "an address with a default": "postgresql.INET, server_default='127.0.0.1'",
    "json of a function": "postgresql.JSONB, server_default=text(\"jsonb_build_object('a', 1)\")",
    "a json default": 'JSON, server_default=text("\'{\\"a\\": [1, 2]}\'::json")',
}

_INDEXES = {
    "an index": "Index('ix_things_size', 'size')",
    "an index by the convention": "Index(None, 'size', 'name')",
    "an index downwards": "Index('ix_things_size', column('size').desc())",
    "an index of an expression": "Index('ix_things_name', func.lower(column('name')))",
    "an index of text": "Index('ix_things_name', text('lower(name)'))",
    "an index of a column and an expression": "Index('ix_things_name', 'size', text('lower(name)'))",
    "a unique index": "Index('ix_things_size', 'size', unique=True)",
    "a unique index of an expression": "Index('ix_things_name', func.lower(column('name')), unique=True)",
    "an index of a part": "Index('ix_things_size', 'size', postgresql_where=text('size > 5'), sqlite_where=text('size > 5'))",
    "a unique index of a part": "Index('ix_things_size', 'size', unique=True, postgresql_where=column('size') > 5, sqlite_where=column('size') > 5)",
    "a unique constraint": "UniqueConstraint('size', 'name')",
    "a unique constraint with a name": "UniqueConstraint('size', name='uq_size')",
    "a unique constraint without nulls apart": "UniqueConstraint('size', postgresql_nulls_not_distinct=True)",
    "a unique index without nulls apart": "Index('ix_things_size', 'size', unique=True, postgresql_nulls_not_distinct=True)",
    "two unique constraints": "UniqueConstraint('size'), UniqueConstraint('name')",
    "a unique constraint and an index": "UniqueConstraint('size'), Index(None, 'size')",
}

_POSTGRESQL_INDEXES = {
    "an index by another method": "Index('ix_things_size', 'size', postgresql_using='hash')",
    "an index with operators": "Index('ix_things_name', 'name', postgresql_ops={'name': 'varchar_pattern_ops'})",
    "an index of an expression with operators": "Index('ix_things_name', func.lower(column('name')).label('lowered'), postgresql_ops={'lowered': 'text_pattern_ops'})",
    "an index that includes": "Index('ix_things_size', 'size', postgresql_include=['name'])",
    "an index with nulls first": "Index('ix_things_size', column('size').desc().nulls_last())",
    "an index with storage options": "Index('ix_things_size', 'size', postgresql_with={'fillfactor': 50})",
    "an index of words": "Index('ix_things_words', text(\"to_tsvector('english', name)\"), postgresql_using='gin')",
    "an index of a cast": "Index('ix_things_words', text('(size::text)'))",
    "an index of a coalesce": "Index('ix_things_words', func.coalesce(column('size'), 0), unique=True)",
    "an index of a concatenation": "Index('ix_things_words', text(\"(name || 'x')\"))",
    "a deferred unique constraint": "UniqueConstraint('size', deferrable=True, initially='DEFERRED')",
    "an exclusion": "postgresql.ExcludeConstraint((column('size'), '='), using='gist', name='alone') if False else postgresql.ExcludeConstraint((text('int4range(size, size + 1)'), '&&'), name='alone')",
}

_COMMENTS = {
    "a comment": "Integer, comment='how big'",
    "a comment with quotes": "Integer, comment='it\\'s \"big\" \\\\ 5% :x'",
    "a comment of several lines": "Integer, comment='one\\ntwo'",
    "a comment in another script": "Integer, comment='größe €'",
}

_TWO_TABLES = """
class Parent(Base):
    __tablename__ = "parents"
    {parent_arguments}
    id: Mapped[int] = mapped_column(primary_key=True)
    other: Mapped[int] = mapped_column(unique=True)

class Child(Base):
    __tablename__ = "children"
    {child_arguments}
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column({key})
"""
_FOREIGN_KEYS = {
    "a foreign key": "ForeignKey('parents.id')",
    "a foreign key with rules": "ForeignKey('parents.id', ondelete='SET NULL', onupdate='CASCADE')",
    "a foreign key that restricts": "ForeignKey('parents.id', ondelete='RESTRICT')",
    "a foreign key that does nothing": "ForeignKey('parents.id', ondelete='NO ACTION')",
    "a foreign key to another column": "ForeignKey('parents.other')",
    "a foreign key with a name": "ForeignKey('parents.id', name='to_parent')",
    "a foreign key to the same table": "ForeignKey('children.id')",
    "a foreign key that is indexed": "ForeignKey('parents.id'), index=True",
}


def _two_tables(key: str, parent: str = "", child: str = "") -> str:
    return _TWO_TABLES.format(parent_arguments=parent, child_arguments=child, key=key)


def _sized(*more: str) -> str:
    columns = ("Column('name', String(20))", "Column('size', Integer)", *more)
    return f"Table('things', Base.metadata, Column('id', Integer, primary_key=True), {', '.join(columns)})\n"


def _partitioned(by: str, *more: str) -> str:
    return (
        "Table('things', Base.metadata, Column('id', Integer, primary_key=True), Column('day', Integer, primary_key=True),"
        f" Column('note', String(20), index=True), {', '.join((*more, ''))} postgresql_partition_by='{by}')\n"
    )


def _of(columns: Mapping[str, str], make: Callable[[str], str], *servers: str) -> dict[str, Shape]:
    return {name: Shape(make(each), servers or ALL) for name, each in columns.items()}


def _keyed(identity: str) -> str:
    return _alone(f"'id', Integer, {identity}, primary_key=True", "'x', Integer")


def _keyed_big(identity: str) -> str:
    return _alone(f"'id', BigInteger().with_variant(Integer, 'sqlite'), {identity}, primary_key=True", "'x', Integer")


def _keyed_twice(identity: str) -> str:
    return _alone(
        f"'id', Integer, {identity}, primary_key=True", "'shop', Integer, primary_key=True, autoincrement=False"
    )


def _counted(identity: str) -> str:
    return _columns(f"Integer, {identity}")


def _sized_column(column: str) -> str:
    return _sized(f"Column('made', {column})")


def _commented(column: str) -> str:
    return _columns(column, arguments="comment='all \"of\" it\\'s'")


def _without(columns: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: each for name, each in columns.items() if name not in names}


_VIRTUAL = ("computed", "computed and virtual")  # which PostgreSQL 18 is the first to have
_OF_EXPRESSIONS = tuple(name for name in _INDEXES if "expression" in name or "of text" in name)

GROUPS: dict[str, Mapping[str, Shape]] = {
    "identities": {
        **_of(_IDENTITIES, _keyed),
        **{f"{name} on a big key": each for name, each in _of(_IDENTITIES, _keyed_big).items()},
        **{f"{name} on a composite key": each for name, each in _of(_IDENTITIES, _keyed_twice, "postgresql").items()},
        **{f"{name} on no key": each for name, each in _of(_IDENTITIES, _counted, "postgresql").items()},
    },
    "computed columns": {
        **_of(_without(_COMPUTED, *_VIRTUAL, "computed and not null"), _sized_column),
        **_of({name: _COMPUTED[name] for name in _VIRTUAL}, _sized_column, "sqlite", "mariadb"),
        **_of({"computed and not null": _COMPUTED["computed and not null"]}, _sized_column, "sqlite", "postgresql"),
    },
    "checks of types": _of(_CHECKED, _columns),
    "checks": _of(_CHECKS, _sized),
    "types": _of(_TYPES, _columns),
    "types of postgresql": _of(_POSTGRESQL_TYPES, _sized_column, "postgresql"),
    "defaults": _of(_DEFAULTS, _columns),
    "defaults of postgresql": _of(_POSTGRESQL_DEFAULTS, _columns, "postgresql"),
    "indexes": {
        **_of(_without(_INDEXES, *_OF_EXPRESSIONS), _sized),
        **_of({name: _INDEXES[name] for name in _OF_EXPRESSIONS}, _sized, "postgresql"),
    },
    "indexes of postgresql": _of(_POSTGRESQL_INDEXES, _sized, "postgresql"),
    "comments": _of(_COMMENTS, _commented),
    "foreign keys": _of(_FOREIGN_KEYS, _two_tables),
    "tables": {
        "a key of two columns": Shape(_alone("'a', Integer, primary_key=True", "'b', String(9), primary_key=True")),
        "no key": Shape(_alone("'a', Integer", "'b', String(9)")),
        "names that must be quoted": Shape(
            "Table('The things', Base.metadata, Column('Id', Integer, primary_key=True),"
            " Column('order', Integer, index=True), Column('a b', String(20), unique=True))\n"
        ),
        "names beyond ascii": Shape(
            "Table('größe_things', Base.metadata, Column('größe', Integer, primary_key=True))\n"
        ),
        "partitions by range": Shape(_partitioned("RANGE (day)"), POSTGRESQL),
        "partitions by list": Shape(_partitioned("LIST (day)"), POSTGRESQL),
        "partitions by hash": Shape(_partitioned("HASH (id)"), POSTGRESQL),
    },
}
GROUPS_WITHOUT_NAMES: dict[str, Mapping[str, Shape]] = {
    "checks without names": {
        "a truth value with a check": Shape(_columns("Boolean(create_constraint=True)")),
        "an enumeration with a check": Shape(_columns("Enum('a', 'b', native_enum=False, create_constraint=True)")),
        "a check": Shape(_sized("CheckConstraint('size > 0')")),
        "two checks": Shape(_sized("CheckConstraint('size > 0'), CheckConstraint('size < 9')")),
        "one with a name and one without": Shape(
            _sized("CheckConstraint('size > 0'), CheckConstraint('size < 9', name='small')")
        ),
        "a unique constraint": Shape(_sized("UniqueConstraint('size')")),
        "a foreign key": Shape(_two_tables("ForeignKey('parents.id')")),
    }
}
_NAMES = ("things", "letters", "numbers", "positive", "parents", "children", "Parent", "Child")


def models_of(group: str, server: str) -> str:
    """Return the code of all shapes of *group* that *server* knows, each with names of its own."""
    code = "" if group in GROUPS else "Base.metadata.naming_convention = MetaData().naming_convention\n"
    shapes = (GROUPS | GROUPS_WITHOUT_NAMES)[group]
    for number, (name, shape) in enumerate(shapes.items(), start=1):
        if server in shape.servers:
            models = shape.models
            for each in _NAMES:
                models = models.replace(each, f"{each}{number}")
            code += f"# {number}: {name}\n{models}"
    return code
