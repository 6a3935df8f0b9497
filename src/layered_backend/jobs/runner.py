"""The worker's side of a queue."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Iterator
from itertools import repeat
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from layered_backend.database import Database
from layered_backend.errors import InvalidDataError
from layered_backend.jobs.job import Job
from layered_backend.jobs.work import Work, carry_out, carry_out_sync, check_work, name_of
from layered_backend.request_ids import serving_request
from layered_backend.type_arguments import resolved
from layered_backend.unit_of_work import UnitOfWork

__all__ = ["JobRunner"]

UnitOfWorkT = TypeVar("UnitOfWorkT", bound=UnitOfWork)


class JobRunner(Generic[UnitOfWorkT]):
    """Runs jobs that come out of a queue, of a list that the application has written. Lives as long as the worker.

        jobs = JobRunner(ShopUnitOfWork, [send_receipt, restock])
        await jobs.run(Job.from_json(text))

    Nothing is imported because a queue names it: who can write to the queue could run anything.

    Args:
        unit_of_work: The class of the units of work.
        works: Every function that may be run.
        database: Where they work; the class's own `database` unless it is given.
        actor: The type of the actors, which a queue holds as JSON; they stay JSON values unless it is given.

    Raises:
        TypeError: One of *works* is not `async def`.
        NameError: A type in its signature is not defined in its module at run time.
    """

    def __init__(
        self,
        unit_of_work: type[UnitOfWorkT],
        works: Iterable[Work],
        *,
        database: Database | None = None,
        actor: Any = None,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._database = database
        self._actor: TypeAdapter[Any] = TypeAdapter(Any if actor is None else actor)
        self._works = {name_of(work): _Registered(unit_of_work, work) for work in works}

    def knows(self, job: Job) -> bool:
        """Tell whether *job* is for this runner, where a worker has several."""
        return job.unit_of_work == name_of(self._unit_of_work) and job.work in self._works

    async def run(self, job: Job) -> None:
        """Run *job* in a unit of work of its own, with its actor and its request id; what it raises, this raises.

        Raises:
            InvalidDataError: The job is not on the list, or its ids are not what its function takes.
        """
        work, open_unit = self._work_of(job), self._opener(job)
        with serving_request(job.request_id):
            await carry_out(open_unit, work, job.attempts)

    def run_sync(self, job: Job) -> None:
        """Do what `run` does, without an event loop: for a worker that has none."""
        work, open_unit = self._work_of(job), self._opener(job)
        with serving_request(job.request_id):
            carry_out_sync(open_unit, work, job.attempts)

    async def perform(self, uow: UnitOfWorkT, job: Job) -> None:
        """Run *job* in *uow*, which is open: where the queue is a table, in the transaction that takes it from there.

        Raises:
            InvalidDataError: As for `run`.
        """
        work, actor = self._work_of(job), self._actor_of(job)
        before, uow.actor = uow.actor, actor
        try:
            with serving_request(job.request_id):
                await work(uow)
        finally:
            uow.actor = before

    def _work_of(self, job: Job) -> Callable[[UnitOfWorkT], Coroutine[Any, Any, object]]:
        if not self.knows(job):
            known = ", ".join(sorted(self._works))
            raise InvalidDataError(
                f"the job {job.work!r} for {job.unit_of_work!r} is not known to the runner of "
                f"{name_of(self._unit_of_work)}, which runs {known or 'nothing'}; add it to the list"
            )
        registered = self._works[job.work]
        ids = registered.ids_of(job)
        return lambda uow: registered.work(uow, *ids)

    def _opener(self, job: Job) -> Callable[[], UnitOfWorkT]:
        actor = self._actor_of(job)
        return lambda: self._unit_of_work(self._database, actor=actor)

    def _actor_of(self, job: Job) -> object:
        try:
            return None if job.actor is None else self._actor.validate_python(job.actor)
        except ValidationError as error:
            raise InvalidDataError(f"the actor of the job {job.work} is not what this runner expects") from error


class _Registered:
    """A function on the list, with the types of what it takes."""

    def __init__(self, unit_of_work: type[UnitOfWork], work: Work) -> None:
        check_work(unit_of_work, work)
        self.work = work
        self._signature = inspect.signature(work)
        self._types: dict[str, TypeAdapter[Any]] = {
            parameter.name: TypeAdapter(_type_of(parameter, work))
            for parameter in list(self._signature.parameters.values())[1:]
        }

    def ids_of(self, job: Job) -> list[Any]:
        """Return the ids as the function takes them: a UUID where it says UUID.

        Raises:
            InvalidDataError: They are something else.
        """
        try:
            names = list(_names(self._signature.bind(None, *job.ids)))
            return [self._types[name].validate_python(value) for name, value in zip(names[1:], job.ids, strict=True)]
        except (TypeError, ValidationError) as error:
            raise InvalidDataError(f"the {len(job.ids)} ids of the job {job.work} are not what it takes") from error


def _names(bound: inspect.BoundArguments) -> Iterator[str]:
    """Yield the name of the parameter of each argument, in order."""
    for name in bound.arguments:
        is_variadic = bound.signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
        yield from repeat(name, len(bound.arguments[name]) if is_variadic else 1)


def _type_of(parameter: inspect.Parameter, work: Work) -> Any:
    return Any if parameter.annotation is parameter.empty else resolved(parameter.annotation, work)
