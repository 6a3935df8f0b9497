"""The rows that the atlas ships: the ISO standards, a module for each.

What the API lets people change is `insert_only`: their edits survive the next start. All else follows the standard.
"""

from layered_backend import SeedRunner

seeds = SeedRunner.from_package(__name__)
"""All of them. They name no database: `install`, or who runs them, gives them one."""
