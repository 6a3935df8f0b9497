"""The session of a unit of work, and its guards."""

from layered_backend.coroutines import at_once, drive, uninterrupted
from layered_backend.session.connection import guard_engine, read_in_autocommit, state_of
from layered_backend.session.errors import describe, rolled_back
from layered_backend.session.session import GuardedSession
from layered_backend.session.sync_session import GuardedSyncSession
from layered_backend.session.transaction_state import Frame, Hook, TransactionState
from layered_backend.session.unbegun_reads import TransactionNeededError, UnbegunReads

__all__ = [
    "Frame",
    "GuardedSession",
    "GuardedSyncSession",
    "Hook",
    "TransactionNeededError",
    "TransactionState",
    "UnbegunReads",
    "at_once",
    "describe",
    "drive",
    "guard_engine",
    "read_in_autocommit",
    "rolled_back",
    "state_of",
    "uninterrupted",
]
