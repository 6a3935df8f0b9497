"""What SQLAlchemy does not document, a module for each part of it."""
