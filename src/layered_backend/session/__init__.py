"""The session of a unit of work, and what guards it."""

from layered_backend.session.alone import run_alone
from layered_backend.session.driving import drive
from layered_backend.session.guarded import GuardedSession
from layered_backend.session.restricting import restrict
from layered_backend.session.restrictions import Restriction, Restrictions
from layered_backend.session.savepoint_stack import Frame, Hook, SavepointStack
from layered_backend.session.translation import describe, rolled_back
from layered_backend.session.uninterrupted import uninterrupted
from layered_backend.session.watched import WatchedSession
from layered_backend.session.watching import watch

__all__ = [
    "Frame",
    "GuardedSession",
    "Hook",
    "Restriction",
    "Restrictions",
    "SavepointStack",
    "WatchedSession",
    "describe",
    "drive",
    "restrict",
    "rolled_back",
    "run_alone",
    "uninterrupted",
    "watch",
]
