"""Properties are tried on the same cases in every run, without a time limit; fuzzing looks for new cases."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")
