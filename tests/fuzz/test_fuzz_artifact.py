"""A short, seeded run of the Artifact fuzzer; the long one is a command, see its own page."""

from __future__ import annotations

from fuzz.fuzz_artifact import run


def test_only_artifact_errors_come_out_in_little_time_and_memory() -> None:
    """Of five hundred broken Artifacts each is refused or sound, quickly and in bounded memory."""
    result = run(500, 1_000_000)
    assert result.failures == ()
    assert sum(result.outcomes.values()) == 500
    assert result.outcomes["accepted"] < 125
    assert len(result.outcomes) > 30
