"""The plan of a run: the seeders of a package or a list, in order. It is made without a database."""

from __future__ import annotations

import difflib
import inspect
import os
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from layered_backend.environment import ENVIRONMENT_VARIABLE, Environment
from layered_backend.errors import SeedImportError, SeedPlanError
from layered_backend.seeding.report import SeedResult, SeedStatus
from layered_backend.seeding.seeder import Seeder, definition_of, is_complete

__all__ = ["PRODUCTION", "Discovery", "Plan", "checked_seeders", "discovered", "plan_of", "seeders_named"]

SeederClass = type[Seeder[Any]]

PRODUCTION = Environment.PRODUCTION.value
_KNOWN = tuple(environment.value for environment in Environment)


@dataclass(frozen=True, slots=True)
class Plan:
    """The seeders of a run, in order.

    Attributes:
        order: The seeders, each after those that it depends on.
        environment: The environment of the run.
        excluded: The seeders that do not run there, each with the reason.
    """

    order: tuple[SeederClass, ...]
    environment: str
    excluded: Mapping[SeederClass, str]

    def dependents_of(self, seeder: SeederClass) -> tuple[SeederClass, ...]:
        """Return the seeders that depend directly on *seeder*."""
        return tuple(other for other in self.order if seeder in other.depends_on)


def checked_seeders(seeders: Iterable[SeederClass]) -> tuple[SeederClass, ...]:
    """Return *seeders* in order, after checking that each is complete, has its own name and knows what it depends on.

    Raises:
        SeedPlanError: One is not so, or some depend on each other in a circle.
    """
    given = tuple(dict.fromkeys(seeders))
    names: dict[str, SeederClass] = {}
    for seeder in given:
        _check(seeder, given)
        other = names.setdefault(seeder.name, seeder)
        if other is not seeder:
            raise SeedPlanError(
                f"two seeders are called {seeder.name} ({other.__module__}, {seeder.__module__}); give one another `name`"
            )
    return _sorted(given)


def plan_of(
    seeders: Sequence[SeederClass],
    *,
    only: str | SeederClass | Iterable[str | SeederClass] | None = None,
    tags: Iterable[str] | None = None,
    environment: str | None = None,
) -> Plan:
    """Return the plan for some of *seeders*, which are checked.

    Args:
        seeders: All that there are.
        only: The names or the classes of those that are wanted; what they depend on comes with them. All unless given.
        tags: Labels, one of which a seeder must have to be wanted; what it depends on comes with it.
        environment: Where the run takes place; LAYERED_ENV unless given, else development.

    Raises:
        SeedPlanError: A name, a tag or the environment is not known, or one that *only* names does not run there.
    """
    chosen_environment = _environment_of(environment, seeders)
    named = None
    if only is not None:
        asked_for = only if isinstance(only, Iterable) and not isinstance(only, str) else [only]
        named = seeders_named(asked_for, seeders)
    wanted = _tagged(seeders if named is None else named, seeders, tags)
    order = _with_dependencies(wanted, seeders)
    excluded = {
        seeder: f"it is not for {chosen_environment}, but for {', '.join(seeder.environments)}"
        for seeder in order
        if seeder.environments and chosen_environment not in seeder.environments
    }
    for seeder in named or ():
        if seeder in excluded:
            raise SeedPlanError(f"{seeder.name} was asked for, and {excluded[seeder]}")
    return Plan(order, chosen_environment, excluded)


def _check(seeder: SeederClass, given: Sequence[SeederClass]) -> None:
    if not (isinstance(seeder, type) and issubclass(seeder, Seeder)):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without types
        raise SeedPlanError(f"{seeder!r} is not a class of seeders")
    definition_of(seeder)
    for declaration in ("depends_on", "retired", "environments", "tags"):
        if not isinstance(getattr(seeder, declaration), tuple):
            raise SeedPlanError(f"{seeder.name}.{declaration} is a tuple; with one member, (member,)")
    for dependency in seeder.depends_on:
        if dependency not in given:
            name = getattr(dependency, "__name__", dependency)
            raise SeedPlanError(
                f"{seeder.name} depends on {name}, which the runner was not given; add it to its seeders"
            )


def _sorted(seeders: Sequence[SeederClass]) -> tuple[SeederClass, ...]:
    """Sort by dependency, and otherwise as they were given."""
    done: dict[SeederClass, None] = {}
    for seeder in seeders:
        _visit(seeder, (), done)
    return tuple(done)


def _visit(seeder: SeederClass, path: tuple[SeederClass, ...], done: dict[SeederClass, None]) -> None:
    if seeder in done:
        return
    if seeder in path:
        circle = (*path[path.index(seeder) :], seeder)
        raise SeedPlanError(f"seeders depend on each other in a circle: {' -> '.join(each.name for each in circle)}")
    for dependency in seeder.depends_on:
        _visit(dependency, (*path, seeder), done)
    done[seeder] = None


def seeders_named(wanted: Iterable[str | SeederClass], seeders: Sequence[SeederClass]) -> list[SeederClass]:
    """Return those of *seeders* that are named, by their names or classes.

    Raises:
        SeedPlanError: There is none of a name.
    """
    return [_named(each, seeders) for each in wanted]


def _named(wanted: str | SeederClass, seeders: Sequence[SeederClass]) -> SeederClass:
    found = next((seeder for seeder in seeders if wanted in {seeder, seeder.name}), None)
    if found is None:
        name = wanted if isinstance(wanted, str) else wanted.__name__
        raise _not_known("seeder", name, [seeder.name for seeder in seeders])
    return found


def _tagged(
    wanted: Sequence[SeederClass], seeders: Sequence[SeederClass], tags: Iterable[str] | None
) -> Sequence[SeederClass]:
    if tags is None:
        return wanted
    chosen = {tags} if isinstance(tags, str) else set(tags)
    known = {tag for seeder in seeders for tag in seeder.tags}
    for tag in sorted(chosen - known):
        raise _not_known("tag", tag, sorted(known))
    return [seeder for seeder in wanted if chosen & set(seeder.tags)]


def _not_known(what: str, name: str, known: Sequence[str]) -> SeedPlanError:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    tip = f"did you mean {nearest[0]}? " if nearest else ""
    return SeedPlanError(f"there is no {what} {name!r}; {tip}known are {', '.join(known) or 'none'}")


def _with_dependencies(wanted: Iterable[SeederClass], seeders: Sequence[SeederClass]) -> tuple[SeederClass, ...]:
    needed: dict[SeederClass, None] = {}
    for seeder in wanted:
        _visit(seeder, (), needed)
    return tuple(seeder for seeder in seeders if seeder in needed)


def _known_environments(seeders: Iterable[SeederClass]) -> tuple[str, ...]:
    """Return the environments that a run can be asked for: the usual ones and those that *seeders* name."""
    named = {name for seeder in seeders for name in seeder.environments}
    return (*_KNOWN, *sorted(named - set(_KNOWN)))


def _environment_of(given: str | None, seeders: Iterable[SeederClass]) -> str:
    """Return the environment: *given*, else that of LAYERED_ENV, else development.

    Raises:
        SeedPlanError: It is not known.
    """
    environment = str(given or os.environ.get(ENVIRONMENT_VARIABLE) or Environment.DEVELOPMENT)
    known = _known_environments(seeders)
    if environment not in known:
        raise SeedPlanError(f"the environment {environment!r} is not known; known are {', '.join(known)}")
    return environment


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
