"""The folder of the migrations: where it is, and a new one."""

from __future__ import annotations

import io
import json
import tomllib
from argparse import Namespace
from configparser import ConfigParser, Error
from keyword import iskeyword
from pathlib import Path
from typing import Any

from alembic.config import Config

from layered_backend.errors import MigrationSetupError

__all__ = ["configuration", "init"]

_DEFAULT = "migrations"
_ADVICE = "run `layered-backend db init` where they belong, or name their folder"
_TEMPLATES = Path(__file__).parent / "templates"
_SECTION = """
[tool.alembic]
script_location = {location}
prepend_sys_path = ["%(here)s"]
"""


def configuration(folder: str | Path | None = None) -> Config:
    """Return Alembic's configuration.

    It is what the nearest alembic.ini or pyproject.toml says, from the working directory upwards. Where none says
    anything, it is that of the nearest folder named `migrations`.

    Args:
        folder: The folder that holds env.py; where the configuration says, unless it is given.

    Raises:
        MigrationSetupError: There is no such folder.
    """
    start = Path.cwd() if folder is None else Path(folder).absolute()
    for place in (start, *start.parents):
        config = _configured(place)
        if config is None and folder is None and (place / _DEFAULT / "env.py").is_file():
            folder, config = place / _DEFAULT, _quiet()
        if config is not None:
            return _located(config, folder)
    if folder is None:
        raise MigrationSetupError(f"there are no migrations here; {_ADVICE}")
    return _located(_quiet(), folder)


def _located(config: Config, folder: str | Path | None) -> Config:
    """Return *config* with *folder* as the place of the migrations, where it is given."""
    if folder is None:
        return config
    if not (Path(folder) / "env.py").is_file():
        raise MigrationSetupError(f"{folder} holds no env.py, so it is no folder of migrations; {_ADVICE}")
    config.set_main_option("script_location", str(Path(folder).absolute()).replace("%", "%%"))
    return config


def _configured(place: Path) -> Config | None:
    """Return the configuration that a file in *place* holds."""
    ini, toml = place / "alembic.ini", place / "pyproject.toml"
    has_ini, has_toml = _has_section(ini), "alembic" in _tools(toml)
    if not (has_ini or has_toml):
        return None
    return _quiet(str(ini) if has_ini else None, str(toml) if has_toml else None)


def _quiet(ini: str | None = None, toml: str | None = None) -> Config:
    """Return a configuration with which Alembic prints nothing."""
    return Config(ini, toml_file=toml, stdout=io.StringIO(), cmd_opts=Namespace(quiet=True))


def _has_section(ini: Path) -> bool:
    parser = ConfigParser(interpolation=None)
    try:
        parser.read(ini, encoding="utf-8")
    except Error as error:
        raise MigrationSetupError(f"{ini.name} cannot be read: {error}") from error
    return parser.has_section("alembic")


def _tools(toml: Path) -> dict[str, Any]:
    try:
        tools: dict[str, Any] = tomllib.loads(toml.read_text(encoding="utf-8")).get("tool", {})
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        raise MigrationSetupError(f"{toml.name} cannot be read: {error}") from error
    return tools


def init(module: str, folder: str | Path = _DEFAULT) -> list[Path]:
    """Write a folder of migrations, and the lines of pyproject.toml that lead Alembic's own command line to it.

    Args:
        module: The module that has `Base` and `database`, or imports them, with every module of models: `shop.models`.
        folder: Where; in the working directory unless it is absolute.

    Returns:
        The files that were written.

    Raises:
        MigrationSetupError: *module* is no name of a module, or the folder is there already, and holds something.
    """
    if not all(part.isidentifier() and not iskeyword(part) for part in module.split(".")):
        raise MigrationSetupError(f"{module!r} is no name of a module; name it as an import does: shop.models")
    place = Path(folder)
    if place.exists() and any(place.iterdir()):
        raise MigrationSetupError(f"{folder} is there already, and holds something")
    (place / "versions").mkdir(parents=True)
    env = (_TEMPLATES / "env.py.txt").read_text(encoding="utf-8").replace("MODULE", module)
    (place / "env.py").write_text(env, encoding="utf-8")
    mako = (_TEMPLATES / "script.py.mako").read_text(encoding="utf-8")
    (place / "script.py.mako").write_text(mako, encoding="utf-8")
    written = [place / "env.py", place / "script.py.mako"]
    toml = Path("pyproject.toml")
    if not place.is_absolute() and _configured(Path.cwd()) is None:
        with toml.open("a", encoding="utf-8") as file:
            location = "%(here)s/" + place.as_posix().replace("%", "%%")
            file.write(_SECTION.format(location=json.dumps(location)))  # a string of JSON is one of TOML
        written.append(toml)
    return written
