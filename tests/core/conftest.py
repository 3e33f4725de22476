"""Properties are tried on the same cases in every run, and as slowly as the machine likes; fuzzing looks for new ones."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")
