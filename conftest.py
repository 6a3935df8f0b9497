"""What all tests share, those of the package and those of the examples."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.time_limits"]

# How fast an example is says nothing on a machine that has other work.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
