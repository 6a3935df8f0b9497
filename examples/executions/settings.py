"""What the environment says."""

from pydantic import Field, SecretStr

from layered_backend.settings import DatabaseSettings, SecuritySettings


class StorageSettings(DatabaseSettings):
    """Where everything is stored: all that a migration has to know."""

    database_url: SecretStr = SecretStr("sqlite:///executions.db")


class ExecutionsSettings(StorageSettings, SecuritySettings):
    """The settings; SECRET_KEY is the only one without a default. A step may take *step_limit* seconds."""

    jwt_issuer: str = "executions"
    jwt_audience: str = "executions"
    step_limit: float = Field(default=30, gt=0)
