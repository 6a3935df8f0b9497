"""How far a database is: what is pending, and where the models and the tables have drifted apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alembic.script import Script

__all__ = ["NO_MODELS", "MigrationReport", "Revision"]

NO_MODELS = "env.py must import every module of models, so that the metadata has tables"


@dataclass(frozen=True)
class Revision:
    """A step from one state of the tables to the next.

    Attributes:
        id: As Alembic names it.
        message: What it is for, as the first line of its file says.
    """

    id: str
    message: str

    @classmethod
    def of(cls, script: Script) -> Revision:
        """Return what *script*, a file in the folder, is."""
        return cls(script.revision, script.doc or "")

    def __str__(self) -> str:
        return f"{self.id} {self.message}".rstrip()


@dataclass(frozen=True)
class MigrationReport:
    """The findings of `check`.

    Attributes:
        current: The revisions that the database is at: none before the first, several on branches.
        pending: Those that it has not had yet, the next one first.
        drift: What would have to be changed in the tables for them to be what the models say, a sentence for each. It is
            looked at only where nothing is pending.
        has_models: Whether env.py has imported any models to compare.
    """

    current: tuple[str, ...]
    pending: tuple[Revision, ...]
    drift: tuple[str, ...]
    has_models: bool = True

    @property
    def ok(self) -> bool:
        """Whether nothing is pending and nothing has drifted."""
        return not (self.pending or self.drift)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as what JSON can hold."""
        pending = [{"id": each.id, "message": each.message} for each in self.pending]
        return {
            "ok": self.ok,
            "current": list(self.current),
            "pending": pending,
            "drift": list(self.drift),
            "has_models": self.has_models,
        }

    def __str__(self) -> str:
        if self.pending:
            subject = "1 revision is" if len(self.pending) == 1 else f"{len(self.pending)} revisions are"
            return f"{subject} pending: {', '.join(map(str, self.pending))}"
        if self.drift:
            return f"the models differ from the database: {', '.join(self.drift)}"
        place = f"at {', '.join(self.current)}" if self.current else "before the first revision"
        if not self.has_models:
            return f"nothing is pending, and there are no models to compare: {NO_MODELS}; the database is {place}"
        return f"nothing is pending and nothing has drifted; the database is {place}"
