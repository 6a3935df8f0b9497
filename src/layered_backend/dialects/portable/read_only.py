"""The guard of read-only transactions, for databases that do not refuse writes in them."""

from __future__ import annotations

import re

from sqlalchemy import Connection, Engine, event

from layered_backend.errors import ReadOnlyError

__all__ = ["READ_ONLY", "is_read", "refuse_writes"]

READ_ONLY = "layered_backend_refuses_writes"

# What is no code, in the SQL standard's reading and in MySQL's; a text must be a read in both. One that has no end goes on
# to the end of the text.
_NO_CODE = (
    re.compile(
        r"(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))"
        r"|\bE'(?:[^'\\]|''|\\.)*+(?:'|\Z)"
        r"|'(?:[^']|'')*+(?:'|\Z)|\"(?:[^\"]|\"\")*+(?:\"|\Z)|`[^`]*(?:`|\Z)|\[\w+\]"
        r"|\$(?P<tag>[^\W\d]\w*|)\$.*?(?:\$(?P=tag)\$|\Z)",
        re.DOTALL | re.IGNORECASE,
    ),
    re.compile(
        r"(?P<comment>--(?=\s|\Z)[^\n]*|\#[^\n]*|/\*.*?(?:\*/|\Z))"
        r"|'(?:[^'\\]|''|\\.)*+(?:'|\Z)|\"(?:[^\"\\]|\"\"|\\.)*+(?:\"|\Z)|`[^`]*(?:`|\Z)|\[\w+\]",
        re.DOTALL,
    ),
)
_NAME = '"'  # stands for each value and each quoted name
# MariaDB carries out a comment that begins with ! or M!, and PostgreSQL's have others inside, which others' do not.
_COMMENT_WITH_CODE = re.compile(r"/\*(?:M?!|.*/\*)", re.DOTALL)

_BEGINS = re.compile(
    r"(SELECT|WITH|VALUES|TABLE|EXPLAIN|SHOW|PRAGMA|BEGIN|START\s+TRANSACTION|SAVEPOINT|RELEASE|ROLLBACK)\b(.*)",
    re.IGNORECASE | re.DOTALL,
)
_EXPLAINED = re.compile(
    r"(?:\s*\([^()]*\))?(?:\s+(?:ANALY[ZS]E|VERBOSE|EXTENDED|QUERY\s+PLAN|FORMAT\s*=\s*\w+))*(.*)",
    re.IGNORECASE | re.DOTALL,
)
# A dialect may send BEGIN itself. Oracle and MariaDB have blocks of statements that begin so, too.
_OF_BEGIN = re.compile(
    r"(?:[\s,]+(?:CONCURRENT|DEFERRED|EXCLUSIVE|IMMEDIATE|TRAN|TRANSACTION|WORK|ISOLATION|LEVEL|READ|ONLY|WRITE|COMMITTED"
    r"|UNCOMMITTED|REPEATABLE|SERIALIZABLE|SNAPSHOT|CONSISTENT|WITH|NOT|DEFERRABLE)\b)*\s*",
    re.IGNORECASE,
)
_OF_PRAGMA = re.compile(r'\s+(?:[\w"]+\s*\.\s*)?(\w+)\s*(.*)', re.DOTALL)
_PRAGMAS_OF = frozenset({"check", "info", "list", "xinfo"})  # an argument of others is what they set
_PRAGMAS_THAT_WRITE = frozenset({"incremental_vacuum", "optimize", "shrink_memory", "wal_checkpoint"})

# INTO names what is written, in SELECT ... INTO too. A lock is a write: PostgreSQL refuses it as one,
# while MySQL allows LOCK IN SHARE MODE.
_WRITES = re.compile(
    r"(?<!\.)\b(?:INTO|FOR\s+(?:(?:NO\s+KEY\s+)?UPDATE|(?:KEY\s+)?SHARE))\b"
    r"|\(\s*(?:UPDATE|DELETE)\s+[\w\"]",
    re.IGNORECASE,
)
# A common table expression may stand before a write, or be one. Not a column, which is qualified or a label; nor MySQL's
# function INSERT().
_WRITES_AFTER_WITH = re.compile(r"(?<!\.)(?<!\bAS )\b(?:INSERT(?!\s*\()|UPDATE|DELETE|MERGE)\b", re.IGNORECASE)


def is_read(statement: str) -> bool:
    """Tell by its text whether *statement* can be part of a read-only transaction.

    Each statement in it begins as a query does, and has neither a write in it nor a lock on rows. It is a guard against
    mistakes: a query whose function, view or operator writes, such as `nextval()`, is not noticed.
    """
    return all(_only_read(statement, no_code) for no_code in _NO_CODE)


def _only_read(text: str, no_code: re.Pattern[str]) -> bool:
    """Tell whether the statements in *text* read, if *no_code* in it is none."""
    if any(_COMMENT_WITH_CODE.match(found["comment"] or "") for found in no_code.finditer(text)):
        return False
    code = no_code.sub(lambda found: " " if found["comment"] else _NAME, text)
    statements = [part for part in code.split(";") if part.strip()]
    return bool(statements) and all(map(_reads, statements))


def _reads(code: str) -> bool:
    """Tell whether one statement reads, of which only the code is left."""
    begun = _BEGINS.match(code.lstrip("( \t\r\n"))
    if begun is None:
        return False
    match begun[1].upper():
        case "EXPLAIN":  # with ANALYZE, which some databases do unasked, it carries out what it explains
            explained = _EXPLAINED.match(begun[2])
            reads = explained is not None and _reads(explained[1])
        case "PRAGMA":
            reads = _pragma_reads(begun[2])
        case "SELECT" | "VALUES" | "TABLE":
            reads = not _WRITES.search(code)
        case "WITH":
            reads = not (_WRITES.search(code) or _WRITES_AFTER_WITH.search(code))
        case "SAVEPOINT" | "RELEASE" | "ROLLBACK" | "SHOW":
            reads = True
        case _:
            reads = _OF_BEGIN.fullmatch(begun[2]) is not None
    return reads


def _pragma_reads(code: str) -> bool:
    pragma = _OF_PRAGMA.match(code)
    if pragma is None:
        return False
    name = pragma[1].lower()
    if pragma[2]:
        return pragma[2].startswith("(") and name.rpartition("_")[2] in _PRAGMAS_OF
    return name not in _PRAGMAS_THAT_WRITE


def refuse_writes(engine: Engine) -> None:
    """Have *engine* refuse what is no read, if its options are those of a read-only transaction of the portable kind."""
    if engine.get_execution_options().get(READ_ONLY):
        event.listen(engine, "before_cursor_execute", _refuse_write)


def _refuse_write(connection: Connection, cursor: object, statement: str, *_: object) -> None:
    """Refuse what is no read."""
    if not is_read(statement):
        raise ReadOnlyError("nothing can be written: the unit of work has read_only=True")
