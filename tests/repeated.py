"""The tests of a module again, on databases that another module's fixtures name."""

from __future__ import annotations

from types import ModuleType
from typing import Any


def repeated_tests(*modules: ModuleType) -> dict[str, Any]:
    """Return the tests of *modules* that are for every database, by names that tell the module.

    They use the fixtures of the module that has them then.
    """
    found: dict[str, Any] = {}
    for module in modules:
        noun = module.__name__.rpartition("test_")[2]
        for name, test in vars(module).items():
            if name.startswith("Test") and isinstance(test, type) and test.__module__ == module.__name__:
                others = {each: None for each, method in vars(test).items() if _names_its_databases(method)}
                found[f"{name}Of{noun.title()}"] = type(name, (test,), others)
            elif name.startswith("test_") and callable(test) and not _names_its_databases(test):
                found[f"{name}_of_{noun}"] = test
    return found


def _names_its_databases(test: object) -> bool:
    """Tell whether *test* is about some of the databases that are shipped."""
    marks = getattr(test, "pytestmark", ())
    return any(mark.name == "parametrize" and mark.kwargs.get("indirect") for mark in marks)
