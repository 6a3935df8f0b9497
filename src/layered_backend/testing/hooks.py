"""Holding back what is to run after a commit."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

from layered_backend.session import GuardedSession, Hook
from layered_backend.unit_of_work import completion

__all__ = ["CapturedHooks", "capture_hooks"]


class CapturedHooks(list[Hook]):
    """The hooks that were due, in order; of what was rolled back there are none."""

    async def run(self) -> None:
        """Run them, and forget them. What one raises is raised here, where it is only logged after a real commit."""
        while self:
            result = self.pop(0)()
            if inspect.isawaitable(result):
                await result


@contextmanager
def capture_hooks() -> Generator[CapturedHooks]:
    """Hold back the hooks of every unit of work that commits in the block.

    with capture_hooks() as hooks:
        await client.post("/orders", json=order)
    assert len(hooks) == 1
    await hooks.run()
    """
    captured = CapturedHooks()

    async def capture(session: GuardedSession, hooks: Sequence[Hook]) -> None:
        captured.extend(hooks)

    with patch.object(completion, "run_hooks", capture):
        yield captured
