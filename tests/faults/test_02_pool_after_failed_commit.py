"""Guarantee 2: a COMMIT that fails leaves neither a lock nor a broken connection behind."""

import asyncio
import subprocess
import sys

from tests.faults.failing_commit import fail_a_commit
from tests.faults.store import Store

_WRITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0)
connection.execute("INSERT INTO orders (name) VALUES ('of another process')")
connection.commit()
"""


async def test_the_pool_works_after_commits_that_failed(failing_store: Store) -> None:
    for _ in range(3):  # more than are pooled
        failed = await fail_a_commit(failing_store)
        assert failed.answer.status_code in {409, 500}

    async with failing_store.server.client() as client:
        names = [f"tea {number}" for number in range(6)]
        answers = [await client.post("/items", json={"name": name, "price": "1"}) for name in names]
        assert [answer.status_code for answer in answers] == [201] * 6
    await failing_store.until_nothing_is_left()
    assert failing_store.witness.count("items") == 6


async def test_another_process_can_write_at_once_after_a_commit_that_failed(failing_store: Store) -> None:
    await fail_a_commit(failing_store)

    if failing_store.backend.server == "sqlite":
        command = [sys.executable, "-c", _WRITE, str(failing_store.witness.url.database)]
        written = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        assert written.stderr == ""
    else:
        failing_store.witness.run("INSERT INTO orders (name) VALUES ('of another process')")
    assert failing_store.witness.count("orders") == 1
