"""Where the atlas is stored."""

import os


def database_url() -> str:
    """Return the URL in ATLAS_DATABASE_URL, or that of a file in the working directory."""
    return os.environ.get("ATLAS_DATABASE_URL", "sqlite:///atlas.db")
