import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from examples.atlas.demo.server import listen
from examples.atlas.demo.walk import STEPS
from examples.atlas.seeds import seeds

ROOT = Path(__file__).parents[3]
TIMEOUT = 60  # seconds


@contextmanager
def started(database: Path, *options: str) -> Generator[subprocess.Popen[str]]:
    environment = os.environ | {"ATLAS_DATABASE_URL": f"sqlite:///{database}", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "examples.atlas", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True, encoding="utf-8"
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run(database: Path, *options: str) -> tuple[int, str, str]:
    with started(database, *options) as process:
        output, errors = process.communicate(timeout=TIMEOUT)
    return process.returncode, output, errors


def test_it_seeds_twice_serves_walks_and_exits(tmp_path: Path) -> None:
    code, output, errors = run(tmp_path / "new.db", "--no-serve")

    assert (code, errors) == (0, "")
    first, second = re.findall(r"^subdivisions: (.*)$", output, flags=re.MULTILINE)
    assert first == "5046 inserted, 0 updated, 0 unchanged, 0 deleted"
    assert second == "0 inserted, 0 updated, 5046 unchanged, 0 deleted"
    statuses = re.findall(r"^  (\d{3})\b", output, flags=re.MULTILINE)
    assert [int(status) for status in statuses] == [step.status for step in STEPS]


def test_a_second_start_writes_nothing(atlas_file: Path) -> None:
    code, output, errors = run(atlas_file, "--no-serve")

    assert (code, errors) == (0, "")
    assert output.count(" 0 inserted, 0 updated, ") == 2 * len(seeds.seeders)


@pytest.mark.skipif(sys.platform == "win32", reason="a process there is sent no Ctrl-C of its own")
def test_it_serves_until_it_is_interrupted(atlas_file: Path) -> None:
    with started(atlas_file) as process:
        assert process.stdout is not None
        address = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+/docs", line)))
        assert httpx2.get(address).status_code == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=TIMEOUT)

    assert (process.returncode, errors) == (0, "")


def test_a_port_that_is_taken_is_said_in_one_line(atlas_file: Path) -> None:
    with listen(0) as taken:
        code, output, errors = run(atlas_file, "--port", str(taken.getsockname()[1]))

    assert (code, output) == (1, "")
    assert re.fullmatch(r"atlas: .*in use.*\n", errors)


def test_a_file_that_cannot_be_opened_is_said_in_one_line(tmp_path: Path) -> None:
    code, _, errors = run(tmp_path / "nowhere" / "atlas.db", "--no-serve")

    assert (code, errors) == (1, "atlas: the database file cannot be opened\n")
