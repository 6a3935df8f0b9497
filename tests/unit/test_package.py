"""What importing the package does, and what it does not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import layered_backend
import layered_backend.fastapi
import layered_backend.security
import layered_backend.settings

_HEAVY = ("fastapi", "starlette", "typer", "alembic", "pydantic_settings", "pytest", "asyncpg", "pwdlib", "jwt")
_OF_SECURITY = ("argon2", "jwt", "pwdlib")


def _modules_after(statement: str) -> set[str]:
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return set(json.loads(answer.stdout))


def test_importing_the_package_loads_no_framework_and_no_driver() -> None:
    loaded = _modules_after("import layered_backend")

    assert "layered_backend.unit_of_work" in loaded
    assert not {name for name in loaded if name.partition(".")[0] in _HEAVY}


def test_the_names_of_the_fastapi_part_are_there_all_the_same() -> None:
    loaded = _modules_after("from layered_backend import get_service, install")

    assert "fastapi" in loaded


def test_the_fastapi_part_does_without_passwords_and_tokens() -> None:
    loaded = _modules_after("from layered_backend import current_principal, require_scopes")

    assert not {*_OF_SECURITY, "layered_backend.security"} & loaded


@pytest.mark.parametrize("missing", _OF_SECURITY)
def test_what_is_missing_for_passwords_and_tokens_is_said_in_one_line(missing: str) -> None:
    code = f"import sys\nsys.modules[{missing!r}] = None\nimport layered_backend.security"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)

    assert answer.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: passwords and tokens need two packages: pip install 'layered-backend[security]'"
    )


@pytest.mark.parametrize(
    "module", [layered_backend, layered_backend.fastapi, layered_backend.security, layered_backend.settings]
)
def test_all_is_sorted_and_complete(module: object) -> None:
    names: list[str] = getattr(module, "__all__", [])

    assert names == sorted(names)
    assert all(getattr(module, name) is not None for name in names)
    assert set(names) <= set(dir(module))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'layered_backend' has no attribute 'get_servise'"):
        _ = layered_backend.get_servise
