"""The errors that every driver has: by SQLSTATE where it tells one, else by the classes of PEP 249."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.engine import ExceptionContext

from layered_backend import errors
from layered_backend.dialects.protocols import Errors
from layered_backend.dialects.reading import Reading

__all__ = ["PortableErrors"]

# ISO/IEC 9075-2, and what databases agree on where the standard has only a class.
_BY_SQLSTATE: Mapping[str, type[errors.LayeredError]] = {
    "23502": errors.NotNullViolationError,
    "23503": errors.ForeignKeyViolationError,
    "23505": errors.UniqueViolationError,
    "23514": errors.CheckViolationError,
    "25006": errors.ReadOnlyError,
    "40001": errors.SerializationFailureError,
    "40003": errors.DatabaseUnavailableError,  # statement completion unknown: so is the outcome of a COMMIT
}
_BY_CLASS: Mapping[str, type[errors.LayeredError]] = {
    "08": errors.DatabaseUnavailableError,
    "22": errors.InvalidDataError,
    "23": errors.ConflictError,
    "28": errors.DatabaseUnavailableError,
}
_BY_NAME: Mapping[str, type[errors.LayeredError]] = {
    "IntegrityError": errors.ConflictError,
    "DataError": errors.InvalidDataError,
}
_NAMES_OF_SQLSTATE = ("sqlstate", "pgcode")


class PortableErrors(Errors):
    """Tells what an error is about as far as every driver does: a violated constraint is a ConflictError without a name."""

    def read(self, error: BaseException) -> Reading | None:
        found = (getattr(error, name, None) for name in _NAMES_OF_SQLSTATE)
        sqlstate = next((each for each in found if isinstance(each, str)), "")
        kind = _BY_SQLSTATE.get(sqlstate) or _BY_CLASS.get(sqlstate[:2])
        if kind is not None:
            return Reading(kind)
        names = [each.__name__ for each in type(error).__mro__]
        return next((Reading(_BY_NAME[name]) for name in names if name in _BY_NAME), None)

    def probe(self, context: ExceptionContext, reading: Reading) -> Reading:
        return reading
