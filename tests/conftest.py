"""What holds for every ring of the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import coverage
import hypothesis
import pytest

hypothesis.settings.register_profile("suite", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("suite")

UNMEASURED = (
    "tests/app/test_artifact_guide.py",
    "tests/app/test_artifact_make.py::test_memory_stays_flat",
    "tests/client/test_power_cuts.py::test_every_blow",
    "tests/client/test_power_cuts.py::test_more_blows",
    "tests/core/artifact/test_properties.py",
    "tests/core/artifact/test_reference_files.py::test_a_truncation_at_any_byte",
    "tests/core/artifact/test_reference_files.py::test_pieces_make_no_difference",
    "tests/core/test_wire.py::test_retry_after_takes_anything",
    "tests/demo/",
    "tests/docs/",
    "tests/fuzz/",
    "tests/mutants/",
    "tests/packaging/",
    "tests/page/",
    "tests/program/test_kill.py",
    "tests/program/test_leaks.py",
    "tests/program/test_soak.py",
    "tests/support/",
    "tests/testing/test_guide.py",
    "tests/typed/",
)
"""Tests that go over the same lines again and again, or start many processes: measuring the coverage of these doubles
their time, and tells nothing that the other tests don't."""


@pytest.fixture(autouse=True)
def measuring(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Measures no coverage in the tests above, nor in the processes that they start."""
    coverage_of_this = coverage.Coverage.current()
    if coverage_of_this is None or not request.node.nodeid.startswith(UNMEASURED):
        yield
        return
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    coverage_of_this.stop()
    yield
    coverage_of_this.start()


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """The same umask for every test; the program, called in this process, makes its own."""
    before = os.umask(0o022)
    yield
    os.umask(before)
