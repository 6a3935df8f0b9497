"""What rows keep of who wrote them."""

from __future__ import annotations

from typing import Any

from layered_backend.errors import UnitOfWorkError

__all__ = ["name_of"]


def name_of(actor: Any, unit_of_work: type[Any]) -> str | None:
    """Return the `subject` of *actor*, its `id`, or itself where it is text; None for nobody.

    Args:
        actor: Who works.
        unit_of_work: The class that can say it in another way.

    Raises:
        UnitOfWorkError: It has none of these.
    """
    if actor is None or isinstance(actor, str):
        return actor
    names = (getattr(actor, attribute, None) for attribute in ("subject", "id"))
    name = next((name for name in names if name is not None), None)
    if name is None:
        raise UnitOfWorkError(
            f"an actor of type {type(actor).__name__} has neither subject nor id; override "
            f"{unit_of_work.__name__}.actor_name() to say what rows keep of it"
        )
    return str(name)
