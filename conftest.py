"""What all tests share, those of the package and those of the examples."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.time_limits"]

# How fast an example is says nothing on a machine that has other work.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_xdist_auto_num_workers() -> int:
    """Run in a process more than there are cores: in about a tenth of its time a test waits for a server."""
    return (os.cpu_count() or 1) + 1
