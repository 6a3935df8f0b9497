"""The command line: `layered-backend`, or `python -m layered_backend`."""

import sys


def main() -> None:
    """Run the command line, or say what to install for it."""
    try:
        from layered_backend.cli import app  # needs the extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"typer", "rich"}:
            raise
        sys.exit("the command line needs two packages: pip install 'layered-backend[cli]'")
    app(prog_name="layered-backend")


if __name__ == "__main__":
    main()
