"""SQLAlchemy as a package: the releases that the contract tests run with."""

from layered_backend.upstream.verification import Package

__all__ = ["SQLALCHEMY"]

SQLALCHEMY = Package("sqlalchemy", "2.0.55 to 2.1")
