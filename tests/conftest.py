"""What holds for every ring of the tests."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

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
    "tests/testing/test_guide.py",
    "tests/typed/",
)
"""Tests that go over the same lines again and again, or start many processes: measuring the coverage of these doubles
their time, and tells nothing that the other tests don't."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure no coverage in the tests above with all their fixtures, nor in the processes that they start."""
    measuring = coverage.Coverage.current()
    if measuring is None or not item.nodeid.startswith(UNMEASURED):
        return (yield)
    for_processes = os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    measuring.stop()
    try:
        return (yield)
    finally:
        measuring.start()
        if for_processes is not None:
            os.environ["COVERAGE_PROCESS_CONFIG"] = for_processes


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """The same umask for every test; the program, called in this process, makes its own."""
    before = os.umask(0o022)
    yield
    os.umask(before)
