"""The API layer: a module for each area."""
