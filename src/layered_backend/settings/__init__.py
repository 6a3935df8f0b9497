"""The settings of a process, read from its environment and checked before it does anything else."""

from layered_backend.environment import Environment
from layered_backend.errors import SettingsError
from layered_backend.settings.base import Settings
from layered_backend.settings.database import DatabaseSettings
from layered_backend.settings.security import SecuritySettings

__all__ = ["DatabaseSettings", "Environment", "SecuritySettings", "Settings", "SettingsError"]
