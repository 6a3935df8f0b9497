"""What the library uses of Alembic that Alembic does not document."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from layered_backend.upstream.alembic import (
    RevisionStep,
    commits_all_or_nothing,
    steps_down,
    steps_up,
    verify_alembic,
)

_REVISION = "revision, down_revision = {id!r}, {before!r}\n\ndef upgrade(): ...\n\ndef downgrade(): ...\n"


@pytest.fixture
def scripts(tmp_path: Path) -> ScriptDirectory:
    """Three revisions: two branches, `b` and `c`, from `a`."""
    (tmp_path / "versions").mkdir()
    for name, before in (("a", None), ("b", "a"), ("c", "a")):
        (tmp_path / "versions" / f"{name}.py").write_text(_REVISION.format(id=name, before=before))
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def _told(steps: Sequence[RevisionStep]) -> list[tuple[str, bool]]:
    return [(step.revision.revision, step.is_upgrade) for step in steps]


def test_the_installed_release_has_all_that_is_used() -> None:
    verify_alembic()


def test_the_steps_up_begin_with_the_next_one(scripts: ScriptDirectory) -> None:
    assert _told(steps_up(scripts, "b", ())) == [("a", True), ("b", True)]
    assert sorted(_told(steps_up(scripts, "heads", ("a",)))) == [("b", True), ("c", True)]
    assert _told(steps_up(scripts, "+1", ())) == [("a", True)]


def test_the_steps_down_begin_with_the_newest(scripts: ScriptDirectory) -> None:
    assert _told(steps_down(scripts, "base", ("b",))) == [("b", False), ("a", False)]
    assert _told(steps_down(scripts, "-1", ("b",))) == [("b", False)]


@pytest.mark.parametrize("transactional", [True, False])
def test_a_context_tells_whether_it_commits_all_or_nothing(transactional: bool) -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"transactional_ddl": transactional})

        assert commits_all_or_nothing(context) is transactional
    engine.dispose()
