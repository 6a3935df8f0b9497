"""The application that a server imports: `uvicorn examples.executions.main:app`."""

from examples.executions.application import create_app
from examples.executions.settings import ExecutionsSettings

app = create_app(ExecutionsSettings.load())
