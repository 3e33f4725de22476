"""A short run of the Artifact fuzzer with a fixed seed; for the long one see the fuzzer's own module."""

from __future__ import annotations

from fuzz.fuzz_artifact import run


def test_only_artifact_errors_come_out_in_little_time_and_memory(is_nightly: bool) -> None:
    """Each of many broken Artifacts is refused or valid, quickly and in bounded memory."""
    cases = 20_000 if is_nightly else 40
    result = run(cases, 1_000_000)
    assert result.failures == ()
    assert sum(result.outcomes.values()) == cases
    assert result.outcomes["accepted"] < cases // 4
    assert len(result.outcomes) > 15
