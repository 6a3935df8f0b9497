"""Scopes: criteria that every statement of a unit of work gets, such as "not deleted" and "of this tenant"."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, bindparam, inspect
from sqlalchemy.orm import Mapper

from layered_backend.errors import PermissionDeniedError, UnitOfWorkError
from layered_backend.upstream.sqlalchemy.expression import ORMOption
from layered_backend.upstream.sqlalchemy.restriction import Restriction, Restrictions

__all__ = ["ActiveScopes", "Scope", "TenantScope", "active_scopes"]

_INFO_KEY = "layered_backend.scopes"


class Scope:
    """A criterion that every repository adds to each of its statements. Lives as long as the process.

        class ShopUnitOfWork(UnitOfWork):
            scopes = (Scope(SoftDeletable, lambda cls: cls.deleted_at.is_(None), name="soft_delete"),)

    It holds wherever a mapped class of its kind occurs in a statement: selected, joined, loaded as a relationship,
    counted, updated, deleted. `uow.without("soft_delete")` lifts it.

    Args:
        model: A mapped class or a mixin; the scope is of all mapped classes derived from it.
        criterion: From the mapped class, or an alias of it, to the expression that its rows must meet. It depends on
            nothing else: what it returns is kept with each statement that was compiled.
        name: What `without` calls it.
    """

    def __init__(self, model: type[Any], criterion: Callable[[Any], ColumnElement[bool]], *, name: str) -> None:
        self.model = model
        self.name = name
        self._criterion = criterion

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self.model.__name__}>"

    def parameters(self, actor: Callable[[], Any]) -> tuple[BindParameter[Any], ...]:
        """Return what the criterion depends on beside the mapped class.

        Args:
            actor: Returns who works, at the time of each statement.
        """
        return ()

    def criterion(self, model: type[Any], *parameters: BindParameter[Any]) -> ColumnElement[bool]:
        """Return what rows of *model*, one of the scope's mapped classes, must meet."""
        return self._criterion(model)

    def fixed_values(self, actor: Callable[[], Any]) -> Mapping[str, Any]:
        """Return the attributes that new entities get, and that no change may touch."""
        return {}


class TenantScope(Scope):
    """The rows of one tenant: the one of the unit of work's actor. It fails closed.

        class ShopUnitOfWork(UnitOfWork):
            scopes = (TenantScope(Owned),)

        async with ShopUnitOfWork(actor=user) as uow: ...   # rows whose tenant_id is user.tenant_id

    New entities get the tenant, one with another tenant is refused, and so is a change of it. A statement that touches a
    tenant's table raises PermissionDeniedError where the actor has no tenant.

    Args:
        model: A mapped class or a mixin, with the tenant's column.
        column: The attribute that holds the tenant.
        tenant: From the actor to the tenant, or None where it has none; its `tenant_id` unless it is given.
        name: What `without` calls it.
    """

    def __init__(
        self,
        model: type[Any],
        column: str = "tenant_id",
        *,
        tenant: Callable[[Any], Any] = attrgetter("tenant_id"),
        name: str = "tenant",
    ) -> None:
        super().__init__(model, attrgetter(column), name=name)
        self._column = column
        self._tenant = tenant

    def parameters(self, actor: Callable[[], Any]) -> tuple[BindParameter[Any], ...]:
        # Asked for when a statement that needs it is executed: what touches no tenant's table needs no tenant.
        return (bindparam(None, callable_=lambda: self._tenant_of(actor), unique=True),)

    def criterion(self, model: type[Any], *parameters: BindParameter[Any]) -> ColumnElement[bool]:
        column = super().criterion(model)
        (tenant,) = parameters
        return column == tenant

    def fixed_values(self, actor: Callable[[], Any]) -> Mapping[str, Any]:
        return {self._column: self._tenant_of(actor)}

    def _tenant_of(self, actor: Callable[[], Any]) -> object:
        current = actor()
        tenant = None if current is None else self._tenant(current)
        if tenant is None:
            raise PermissionDeniedError(
                f"the rows of {self.model.__name__} are a tenant's, and the actor has none; open the unit of work with "
                f"actor=, or lift the scope with uow.without({self.name!r})"
            )
        return tenant


class ActiveScopes:
    """The scopes of one unit of work, but for those that are lifted. Lives as long as its session.

    Args:
        scopes: The ones that the class of the unit of work declares.
        actor: Returns who works, at the time of each statement.
    """

    def __init__(self, scopes: Sequence[Scope] = (), actor: Callable[[], Any] = lambda: None) -> None:
        self._declared = tuple(scopes)
        self._active = tuple(scopes)
        self._actor = actor
        self._options: dict[tuple[Scope, ...], tuple[ORMOption, ...]] = {}

    def carry(self, info: dict[Any, Any]) -> None:
        """Have the session with that *info* carry the scopes to its repositories."""
        info[_INFO_KEY] = self

    @contextmanager
    def without(self, *names: str) -> Generator[None]:
        """Lift the scopes of those names while the block lasts.

        Raises:
            UnitOfWorkError: There is none of that name.
        """
        declared = {scope.name for scope in self._declared}
        if not declared.issuperset(names):
            unknown = ", ".join(sorted(set(names) - declared))
            raise UnitOfWorkError(f"no scope is called {unknown}; there are: {', '.join(sorted(declared)) or 'none'}")
        with self._with(tuple(scope for scope in self._active if scope.name not in names)):
            yield

    @contextmanager
    def without_those_of(self, model: type[Any]) -> Generator[None]:
        """Lift the scopes of *model*, whatever they are called, while the block lasts."""
        with self._with(tuple(scope for scope in self._active if not issubclass(scope.model, model))):
            yield

    @contextmanager
    def _with(self, active: tuple[Scope, ...]) -> Generator[None]:
        before, self._active = self._active, active
        try:
            yield
        finally:
            self._active = before

    def options(self) -> tuple[ORMOption, ...]:
        """Return the options that add the scopes to a statement."""
        if not self._active:
            return ()
        if self._active not in self._options:
            self._options[self._active] = (_restrictions(self._active, self._actor),)
        return self._options[self._active]

    def concern(self, model: type[Any]) -> bool:
        """Tell whether a scope is of *model*."""
        return any(issubclass(model, scope.model) for scope in self._active)

    def criteria(self, model: type[Any]) -> list[ColumnElement[bool]]:
        """Return what the scopes ask of *model*'s rows, for a statement that takes no options."""
        concerning = [scope for scope in self._active if issubclass(model, scope.model)]
        return [scope.criterion(model, *scope.parameters(self._actor)) for scope in concerning]

    def fixed_values(self, model: type[Any]) -> dict[str, Any]:
        """Return the attributes of *model* that new entities get, and that no change may touch.

        Raises:
            PermissionDeniedError: A scope needs a tenant, and the actor has none.
        """
        if not self._active:
            return {}
        concerning = [scope for scope in self._active if issubclass(model, scope.model)]
        return {name: value for scope in concerning for name, value in scope.fixed_values(self._actor).items()}


def _restrictions(scopes: tuple[Scope, ...], actor: Callable[[], Any]) -> Restrictions:
    parameters = {scope: scope.parameters(actor) for scope in scopes}

    def all_of_them() -> Iterator[Restriction]:
        for scope in scopes:
            for model in dict.fromkeys(_mapped_classes(scope.model)):
                yield Restriction(model, partial(_criterion, scope, parameters[scope]))

    return Restrictions(scopes, list(chain.from_iterable(parameters.values())), all_of_them)


def _criterion(scope: Scope, parameters: Sequence[BindParameter[Any]], entity: Any) -> ColumnElement[bool]:
    return scope.criterion(entity, *parameters)


_NO_SCOPES = ActiveScopes()


def active_scopes(info: Mapping[Any, Any]) -> ActiveScopes:
    """Return the scopes that the session with that *info* carries."""
    scopes: ActiveScopes = info.get(_INFO_KEY, _NO_SCOPES)
    return scopes


def _mapped_classes(model: type[Any]) -> Sequence[type[Any]]:
    """Return the mapped classes that are *model* or derived from it, without those derived from another of them."""
    mapper: Mapper[Any] | None = inspect(model, raiseerr=False)
    if mapper is not None:
        return (model,)
    return [mapped for subclass in model.__subclasses__() for mapped in _mapped_classes(subclass)]
