"""One table of column kinds: how values are parsed, written and compared, whatever the database."""

from layered_backend.columns.comparison import is_same_value
from layered_backend.columns.kinds import AWARE_MOMENT, DECIMAL, NOTATIONS, ColumnKind, Notation, is_same_to, kind_of

__all__ = ["AWARE_MOMENT", "DECIMAL", "NOTATIONS", "ColumnKind", "Notation", "is_same_to", "is_same_value", "kind_of"]
