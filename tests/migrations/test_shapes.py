"""Whatever the models are: a revision makes the tables, and after it nothing is left to change; it can be undone and done again."""

from __future__ import annotations

from pathlib import Path

import pytest

from layered_backend.migrations import check_sync, downgrade_sync, upgrade_sync, write_revision
from tests.migrations.projects import SERVERS, Project, project_on
from tests.migrations.shapes import GROUPS, models_of

CASES = [
    (server, group)
    for group, shapes in GROUPS.items()
    for server in SERVERS
    if any(server in shape.servers for shape in shapes.values())
]


def assert_migrated_once(project: Project) -> str:
    """Generate a revision, apply it, compare twice, undo it and apply it again; return its code."""
    code = project.generate("one")
    upgrade_sync(project.database, folder=project.folder)
    report = check_sync(project.database, folder=project.folder)
    assert report.drift == (), code
    assert write_revision("two", database=project.database, folder=project.folder) is None, code
    downgrade_sync(project.database, "base", folder=project.folder)
    assert project.tables() == set()
    upgrade_sync(project.database, folder=project.folder)
    assert check_sync(project.database, folder=project.folder).drift == (), code
    return code


@pytest.mark.parametrize(("server", "group"), CASES, ids=lambda each: each.replace(" ", "-"))
def test_nothing_is_left_to_change(server: str, group: str, tmp_path: Path) -> None:
    models, _ = models_of(group, server)
    with project_on(server, tmp_path) as project:
        project.declare(models)
        assert_migrated_once(project)
