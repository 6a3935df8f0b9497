"""Every use of what SQLAlchemy does not document, a module for each part of it."""

from layered_backend.upstream.verification import Package

__all__ = ["SQLALCHEMY"]

SQLALCHEMY = Package("sqlalchemy", tested="2.0.55 to 2.1")
