"""The command line, `layered-backend`; needs the extra `cli`."""

from layered_backend.cli.application import app
from layered_backend.cli.output import progress_shown

__all__ = ["app", "progress_shown"]
