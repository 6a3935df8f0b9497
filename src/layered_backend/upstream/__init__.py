"""Every use of what SQLAlchemy, the drivers, FastAPI and Alembic do not document; see docs/upstream.md.

One module, or package, for each of them, and one function for each use. This package imports none of them: each is
imported by the package that needs its owner, so that optional dependencies stay optional.
"""
