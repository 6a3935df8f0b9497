"""Processes that migrate: `python -m tests.migrations.worker URL FOLDER COUNT [pgbouncer]`.

They are forked from one that has imported everything, so that they begin at once. Each prints how many revisions it has
applied.
"""

from __future__ import annotations

import os
import sys

from layered_backend import Database
from layered_backend.migrations import upgrade_sync


def main(url: str, folder: str, count: str, pooler: str = "") -> int:
    """Migrate in *count* processes, and return how many of them have failed."""
    children = [forked for _ in range(int(count)) if (forked := _forked(url, folder, pooler))]
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


def _forked(url: str, folder: str, pooler: str) -> int:
    child = os.fork()
    if child == 0:
        applied = upgrade_sync(Database(url, pgbouncer=pooler == "pgbouncer"), folder=folder)
        os.write(1, f"{len(applied)}\n".encode())
        os._exit(0)
    return child


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
