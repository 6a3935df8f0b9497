"""Settings that are read from the environment, and refused in one line."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import Any, ClassVar, Self, cast

from pydantic import Field, ValidationError, field_validator

from layered_backend.environment import ENVIRONMENT_VARIABLE, Environment
from layered_backend.errors import SettingsError
from layered_backend.memoization import unique
from layered_backend.settings.problems import RefusedError, problems_in, unreadable

try:
    import pydantic_settings
    from pydantic_settings import BaseSettings, SettingsConfigDict
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "settings need a package: pip install 'layered-backend[settings]'", name=_error.name
    ) from _error

__all__ = ["Settings"]

_loading = threading.RLock()


class Settings(BaseSettings):
    """The settings that a process reads from its environment. Lives as long as the process; it does not change.

        class ShopSettings(DatabaseSettings, SecuritySettings):
            currency: str = "EUR"  # the variable CURRENCY

        settings = ShopSettings.load()

    A field is the variable of the same name in capitals, behind `env_prefix` where the class has one. A variable that is
    empty counts as missing. No `.env` file is read unless `env_file` names it.

    Args:
        values: By the names of fields; they go before the environment's.

    Attributes:
        environment: Where the process runs (LAYERED_ENV, whatever prefix there is): development unless it says so.

    Raises:
        SettingsError: A variable is missing or wrong. It names each one, and shows the value of none.
        TypeError: There is no such field.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",  # what else is in a file is for others
        frozen=True,
        hide_input_in_errors=True,
    )

    more_environments: ClassVar[tuple[str, ...]] = ()
    """Environments of the application's own, beside those of `Environment`; each is plain text."""

    environment: Environment | str = Field(default=Environment.DEVELOPMENT, validation_alias=ENVIRONMENT_VARIABLE)

    def __init__(self, **values: Any) -> None:
        problems: Mapping[str, str] = {}
        try:
            super().__init__(**_as_read(type(self), values))
        except ValidationError as error:
            problems = problems_in(error, type(self))
        except pydantic_settings.SettingsError as error:
            problems = unreadable(error, type(self))
        if problems:  # not in the handlers: what they caught holds the values, and would be this error's context
            raise SettingsError(problems)

    @classmethod
    def load(cls) -> Self:
        """Return the settings of this process, or end it with one line on standard error, and no traceback.

        For the module that a server or `python -m` begins with. The second call returns what the first one did.

        Raises:
            SystemExit: A variable is missing or wrong.
        """
        try:
            return cls.current()
        except SettingsError as error:
            sentence = str(error)
        sys.exit(sentence)

    @classmethod
    def current(cls) -> Self:
        """Return the settings of this process, which are read by the first call of this or of `load`.

        Raises:
            SettingsError: A variable is missing or wrong.
        """
        with _loading:
            return cast("Self", _current(cls))

    @field_validator("environment")
    @classmethod
    def _known(cls, value: Environment | str) -> Environment | str:
        if value in cls.more_environments:
            return value
        try:
            return Environment(value)
        except ValueError:
            known = ", ".join((*Environment, *cls.more_environments))
        raise RefusedError(f"is not known, set it to one of {known}")


@unique
def _current(settings_class: type[Settings]) -> Settings:
    return settings_class()


def _as_read(settings_class: type[Settings], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return *values* by the names that Pydantic knows them by: its options, and each field by its alias, if it has one.

    Fields with an alias are not populated by their names, since their names would be variables too.
    """
    fields = settings_class.model_fields
    aliases = {
        name: field.validation_alias for name, field in fields.items() if isinstance(field.validation_alias, str)
    }
    known = {*fields, *aliases.values()}
    for name in values:
        if name not in known and not name.startswith("_"):
            raise TypeError(f"{settings_class.__name__} has no field {name!r}; it has {', '.join(sorted(fields))}")
    return {aliases.get(name, name): value for name, value in values.items()}
