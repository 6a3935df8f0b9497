"""The unit of work, its savepoints and its reruns."""

from layered_backend.unit_of_work.completion import Outcome
from layered_backend.unit_of_work.open_units import (
    OpenUnit,
    begin_apart,
    end_abandoned,
    open_in_this_task,
    opened_units,
    still_open,
)
from layered_backend.unit_of_work.rerun import transact, transact_sync
from layered_backend.unit_of_work.savepoint import Savepoint
from layered_backend.unit_of_work.unit_of_work import UnitOfWork

__all__ = [
    "OpenUnit",
    "Outcome",
    "Savepoint",
    "UnitOfWork",
    "begin_apart",
    "end_abandoned",
    "open_in_this_task",
    "opened_units",
    "still_open",
    "transact",
    "transact_sync",
]
