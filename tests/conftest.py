"""What every ring of the tests may use."""

from __future__ import annotations

from collections.abc import Iterator

import coverage
import pytest


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Doesn't measure coverage in a test and in the processes that it starts.

    For tests that go over the same lines again and again, or start many processes: measuring doubles their time, and
    tells nothing that the other tests don't.
    """
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    measuring = coverage.Coverage.current()
    if measuring is None:
        yield
        return
    measuring.stop()
    yield
    measuring.start()
