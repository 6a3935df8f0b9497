"""The command line, `layered-backend`; needs the extra `cli`."""

from layered_backend.cli.application import app

__all__ = ["app"]
