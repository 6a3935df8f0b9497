"""A job as data: what a queue outside of the process stores."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cache, reduce
from typing import Annotated, Any, Protocol, TypeVar, TypeVarTuple

import pydantic_core
from pydantic import Field, TypeAdapter, ValidationError

from layered_backend.errors import InvalidDataError
from layered_backend.jobs.work import actor_here, check_call, check_work, name_of
from layered_backend.request_ids import SANE_REQUEST_ID, current_request_id
from layered_backend.unit_of_work import UnitOfWork

__all__ = ["Job", "JobQueue"]

UnitOfWorkT = TypeVar("UnitOfWorkT", bound=UnitOfWork)
Ids = TypeVarTuple("Ids")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A piece of work for later, in names and JSON values alone, so that any queue can keep it.

    Attributes:
        work: Name of the function, such as `shop.orders:send_receipt`.
        unit_of_work: Name of the class of its unit of work.
        ids: What *work* is given beside the unit of work, as JSON values.
        actor: Who caused it, as a JSON value; None where that is not known.
        request_id: Of the request that caused it, for the log.
        attempts: How often it is run at most when the database is busy with conflicting work.
        id: What tells it apart from all others: a queue that delivers twice delivers the same one.
    """

    work: str
    unit_of_work: str
    ids: tuple[Any, ...] = ()
    actor: Any = None
    request_id: Annotated[str, Field(pattern=f"^{SANE_REQUEST_ID.pattern}$")] | None = None
    attempts: Annotated[int, Field(ge=1)] = 5
    id: str = field(default_factory=lambda: secrets.token_hex(16))

    @classmethod
    def of(
        cls,
        unit_of_work: type[UnitOfWorkT],
        work: Callable[[UnitOfWorkT, *Ids], Coroutine[Any, Any, object]],
        *ids: *Ids,
        attempts: int = 5,
    ) -> Job:
        """Return the job of running *work*, with the actor and the request id of here.

        It is for a queue that is a table of the same transaction; `run_in_background` makes its own.

        Args:
            unit_of_work: The class of the unit of work that it gets.
            work: An `async def` at the top level of a module.
            ids: Keys, and other values that JSON can hold.
            attempts: How often it is run at most, from 1.

        Raises:
            TypeError: *work* cannot be found by its name or does not take the ids, or JSON cannot hold one of them.
            ValueError: *attempts* is less than 1.
        """
        check_work(unit_of_work, work)
        check_call(work, ids, attempts)
        return cls(
            work=_findable(work),
            unit_of_work=_findable(unit_of_work),
            ids=tuple(_json_value(each, "an id") for each in ids),
            actor=_json_value(actor_here(), "the actor"),
            request_id=current_request_id(),
            attempts=attempts,
        )

    def to_json(self) -> str:
        """Return the job as text."""
        return pydantic_core.to_json(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Job:
        """Return the job that `to_json` has made *text* of.

        Raises:
            InvalidDataError: It is something else.
        """
        try:
            return _adapter().validate_json(text)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise InvalidDataError(f"the text is not a job: {place}: {first['msg']}") from error


class JobQueue(Protocol):
    """A place that keeps jobs until a worker takes them: a table, Redis, a broker. The application writes it."""

    async def enqueue(self, job: Job) -> None:
        """Keep *job*. It is called after the commit, at most once; what it raises is logged, and handed to a hook."""
        ...


@cache
def _adapter() -> TypeAdapter[Job]:
    return TypeAdapter(Job)


def _findable(thing: object) -> str:
    """Return the name of *thing*, under which another process finds it too."""
    module, _, path = (name := name_of(thing)).partition(":")
    found = reduce(lambda owner, part: getattr(owner, part, None), path.split("."), sys.modules.get(module))
    if found is not thing:
        raise TypeError(f"{name} is not at the top level of its module, where a worker could find it; move it there")
    return name


def _json_value(value: object, what: str) -> object:
    try:
        return pydantic_core.to_jsonable_python(value)
    except pydantic_core.PydanticSerializationError as error:
        raise TypeError(f"{what} is a {type(value).__name__}, which JSON cannot hold; pass a key of it") from error
