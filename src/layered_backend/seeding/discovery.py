"""Discovery of the seeders in a package, each of whose modules is imported by itself."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from layered_backend.errors import SeedImportError, SeedPlanError
from layered_backend.seeding.definition import is_complete
from layered_backend.seeding.report import SeedResult, SeedStatus
from layered_backend.seeding.seeder import Seeder

__all__ = ["Discovery", "discovered"]

Discovery = tuple[Sequence[type[Seeder[Any]]], Sequence[SeedResult]]
"""The seeders that were found, and a failed result for each module that could not be imported."""


def discovered(package_name: str) -> Discovery:
    """Return the seeders that the modules of a package define, and what became of those that cannot be imported.

    Raises:
        SeedPlanError: There is no such package, or it cannot be imported itself.
    """
    try:
        package = import_module(package_name)
    except Exception as error:
        raise SeedPlanError(f"the package {package_name} cannot be imported: {error}") from error
    seeders = list(_defined_in(package))
    failures: list[SeedResult] = []
    for name in _module_names(package):
        try:
            seeders += _defined_in(import_module(name))
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a module does when it is imported
            failure = SeedImportError(f"the module cannot be imported ({type(error).__name__}: {error})")
            failure.__cause__ = error
            failures.append(SeedResult(name, SeedStatus.FAILED, error=failure))
    return seeders, failures


def _module_names(package: ModuleType) -> Iterator[str]:
    for module in pkgutil.iter_modules(getattr(package, "__path__", ()), f"{package.__name__}."):
        if module.name.rpartition(".")[2] != "__main__":
            yield module.name


def _defined_in(module: ModuleType) -> Iterator[type[Seeder[Any]]]:
    for name, value in inspect.getmembers(module, _is_seeder):
        if value.__module__ == module.__name__ and is_complete(value) and not name.startswith("_"):
            yield value


def _is_seeder(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Seeder)
