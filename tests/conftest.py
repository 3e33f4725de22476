"""Options, hooks and fixtures for all tests."""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import signal
import sys
from collections.abc import Generator, Iterator
from itertools import chain, zip_longest

import coverage
import hypothesis
import pytest

import forking
import mender_client
import mender_devserver
from ports import kept_port

hypothesis.settings.register_profile("short", derandomize=True, deadline=None, database=None, max_examples=50)
hypothesis.settings.register_profile("nightly", derandomize=True, deadline=None, database=None, max_examples=1000)

MEASURED = ("tests/client/", "tests/core/", "tests/embedding/")
"""Where ``make coverage`` measures: the tests of core/ and client/, for which a minimum coverage is required."""

UNMEASURED = (
    "tests/client/test_modules.py::test_every_blow",
    "tests/client/test_modules.py::test_every_state_fails[Automatic",
    "tests/client/test_modules.py::test_every_state_fails[Yes",
    "tests/client/test_inventory.py::test_refused_by_a_gateway",
    "tests/client/test_power_cuts.py::test_a_loop_ends[kill",
    "tests/client/test_power_cuts.py::test_every_blow",
    "tests/client/test_power_cuts.py::test_more_blows",
    "tests/client/test_power_cuts.py::test_storage_that_fails_for_a_moment",
    "tests/client/test_waiting.py::test_refused_for_a_day",
    "tests/client/test_waiting.py::test_server_in_trouble_is_waited_for",
    "tests/client/test_waiting.py::test_wait_for_ever",
    "tests/core/artifact/test_hostile.py::test_a_bomb_in_the_header_ends_early",
    "tests/core/artifact/test_hostile.py::test_ten_thousand_files_are_accepted",
    "tests/core/artifact/test_hostile.py::test_zeros_behind_the_files_of_the_payload_end_early",
    "tests/core/artifact/test_properties.py",
    "tests/core/artifact/test_reference_files.py::test_a_truncation_at_any_byte",
    "tests/core/artifact/test_reference_files.py::test_pieces_make_no_difference",
    "tests/core/artifact/test_hostile.py::test_an_image_of_mostly_zeros_is_no_bomb",
    "tests/core/artifact/test_mender_artifact.py",
    "tests/core/test_client_status.py::test_anything_is_read",
    "tests/core/test_state_document.py::test_any_record",
    "tests/core/test_wire.py::test_log_of_many_lines",
    "tests/core/test_wire.py::test_reply_of_many_small_values",
    "tests/core/test_wire.py::test_retry_after_takes_anything",
    "tests/demo/",
    "tests/docs/",
    "tests/fuzz/",
    "tests/mutants/",
    "tests/packaging/",
    "tests/page/",
    "tests/program/modules/",
    "tests/program/test_kill.py",
    "tests/program/test_leaks.py",
    "tests/program/test_soak.py",
    "tests/typed/",
)
"""Tests that execute the same lines repeatedly, or start many processes: measuring their coverage doubles their time,
and shows nothing that the other tests don't show. ``make nightly`` measures all others."""

WAITING = (
    "tests/program/",
    "tests/dbus/",
    "tests/page/",
    "tests/fleet/",
    "tests/demo/",
    "tests/packaging/",
    "tests/support/",
)
"""Tests that spend most of their time waiting."""

MEASURING = pytest.StashKey[coverage.Coverage]()
"""The coverage measurement of this process, if there is one; it is active only during tests that are measured."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that distinguishes ``make nightly`` from ``make test``."""
    parser.addoption("--nightly", action="store_true", help="run the long searches in full, and the slow tests too")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of slow tests, and select the number of examples for property tests."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let background jobs ignore it
    hypothesis.settings.load_profile("nightly" if config.getoption("--nightly") else "short")
    if not config.getoption("--nightly") and not hasattr(config, "workerinput"):  # workers find it in their environment
        os.environ[forking.IS_WANTED] = str(forking.Starter().directory)
    config.addinivalue_line("markers", "nightly: only with --nightly; 'make test' has a shorter test of the same")
    measuring = coverage.Coverage.current()
    if measuring is not None:
        import_sources()
        measuring.stop()
        config.stash[MEASURING] = measuring


def import_sources() -> None:
    """Import everything that is measured, so that the collection of the tests needn't be measured as well."""
    for package in (mender_client, mender_devserver):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Turn garbage collection off while tests are collected, and exclude what was collected from it afterwards."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Don't send keywords from process to process: nothing here uses them, and they are most of a report's size."""
    report = yield
    report.keywords = {}
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Interleave the files that wait for processes with those that compute; leave slow tests to nightly runs."""
    files = dict.fromkeys(item.path for item in items)
    waiting = [path for path in files if path.relative_to(config.rootpath).as_posix().startswith(WAITING)]
    others = [path for path in files if path not in waiting]
    waiting = waiting[::3] + waiting[1::3] + waiting[2::3]  # neighbours are similar, and would wait at the same time
    mixed = chain.from_iterable(zip_longest(waiting, others[::2], others[1::2]))
    place = {path: number for number, path in enumerate(mixed)}
    items.sort(key=lambda item: place[item.path])
    if config.getoption("--nightly"):
        return
    later = [item for item in items if item.get_closest_marker("nightly")]
    if later:
        config.hook.pytest_deselected(items=later)
        items[:] = [item for item in items if not item.get_closest_marker("nightly")]


@pytest.fixture(scope="session")
def is_nightly(request: pytest.FixtureRequest) -> bool:
    """Whether searches cover their whole range, or only a small part that is chosen by a fixed seed."""
    return bool(request.config.getoption("--nightly"))


def is_measured(item: pytest.Item) -> bool:
    """Whether the coverage of a test counts."""
    if item.nodeid.startswith(UNMEASURED):
        return False
    return bool(item.config.getoption("--nightly")) or item.nodeid.startswith(MEASURED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure coverage only in tests that count, and not in the processes and fixtures of the others."""
    measuring = item.config.stash.get(MEASURING, None)
    if measuring is None:
        return (yield)
    if is_measured(item):
        with measuring.collect():
            return (yield)
    for_processes = os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    try:
        return (yield)
    finally:
        if for_processes is not None:
            os.environ["COVERAGE_PROCESS_CONFIG"] = for_processes


@pytest.fixture
def forked_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make code that starts this Python, such as the plugin for tests of sub-updaters, start a fork."""
    monkeypatch.setattr(sys, "executable", str(forking.python()))


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 at which nothing listens; no other process gets it before the test has ended."""
    with kept_port() as port:
        yield port


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """Set the same umask for every test: the program, when called in this process, sets its own."""
    before = os.umask(0o022)
    yield
    os.umask(before)
