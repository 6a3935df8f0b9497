"""The application that a server imports: `uvicorn examples.atlas.main:app`."""

from examples.atlas.application import create_app
from examples.atlas.database import database_url
from layered_backend import Database

app = create_app(Database(database_url()))
