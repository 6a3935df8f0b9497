"""The settings of the process, as a dependency."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, cast

from layered_backend.memoization import unique

if TYPE_CHECKING:
    from layered_backend.settings import Settings  # needs the extra, which an application may do without

__all__ = ["get_settings"]

SettingsT = TypeVar("SettingsT", bound="Settings")


def get_settings(settings_class: type[SettingsT]) -> Callable[[], Coroutine[Any, Any, SettingsT]]:
    """Return the dependency on the settings of this process, which are those that `settings_class.load()` returns.

        Settings = Annotated[ShopSettings, Depends(get_settings(ShopSettings))]

    The same class gives the same dependency, so that `app.dependency_overrides` finds it. Call `load()` where the
    application begins: else the first request is what finds out that a variable is missing.

    Args:
        settings_class: Which settings.
    """
    return cast("Callable[[], Coroutine[Any, Any, SettingsT]]", _settings_dependency(settings_class))


@unique
def _settings_dependency(settings_class: type[Settings]) -> Callable[[], Coroutine[Any, Any, Settings]]:
    async def get_the_settings() -> Settings:
        return settings_class.current()

    return get_the_settings
