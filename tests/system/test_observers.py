"""Those who look on: a file for ``status``, the service manager, a file of figures."""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mender_client.core.client_status import WAITING, Authorisation, ClientStatus, Download
from mender_client.core.record import Record
from mender_client.errors import ErrorKind, NetworkError
from mender_client.system.clock import SystemClock
from mender_client.system.metrics import MetricsFile
from mender_client.system.notify import Notifier
from mender_client.system.snapshot import read_client_status
from mender_client.system.statusfile import StatusFile
from waiting import NEVER_S

AT = "2026-11-23T12:00:00+00:00"
SITUATION = ClientStatus().begun(AT, version="1.0", python="3.11.2").does(WAITING, AT)


class Seconds:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# -- status.json ----------------------------------------------------------------------------------------------


def test_status_file(tmp_path: Path) -> None:
    """The client status is left where only its owner may read it, whatever the umask, and nothing else beside it."""
    before = os.umask(0)
    try:
        StatusFile(tmp_path / "status.json").noticed(SITUATION)
    finally:
        os.umask(before)
    found = read_client_status(tmp_path / "status.json")
    assert found is not None
    assert SITUATION == found[0]
    assert 0o600 == (tmp_path / "status.json").stat().st_mode & 0o777
    assert ["status.json"] == os.listdir(tmp_path)


def test_flash_is_spared(tmp_path: Path) -> None:
    """News is written at once, routine once a minute at most, and what has not changed never."""
    path, seconds = tmp_path / "status.json", Seconds()
    file = StatusFile(path, seconds)

    def is_written(client_status: ClientStatus) -> bool:
        path.unlink(missing_ok=True)
        file.noticed(client_status)
        return path.exists()

    assert is_written(SITUATION)
    routine = SITUATION.contacted("https://x", AT)
    assert not is_written(routine)
    assert is_written(routine.judged(Authorisation.ACCEPTED, AT))
    seconds.now += 61
    assert is_written(routine)
    seconds.now += 61
    assert not is_written(routine)


def test_status_file_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that can't be written is complained about once, and nothing else happens."""
    file = StatusFile(tmp_path / "missing" / "status.json")
    for doing in ("a", "b", "c"):
        file.noticed(SITUATION.does(doing, AT))
    assert ["cannot write"] == [one.message[:12] for one in caplog.records if one.levelno >= logging.WARNING]


def test_files_that_could_not_be_written(tmp_path: Path) -> None:
    """A file that could not be written is written when that is possible again, even if nothing has changed."""
    seconds, directory = Seconds(), tmp_path / "new"
    for file in (StatusFile(directory / "status.json", seconds), MetricsFile(directory / "mender.prom")):
        file.noticed(SITUATION)
        directory.mkdir()
        seconds.now += 61
        file.noticed(SITUATION)
        assert [directory] == [path.parent for path in directory.iterdir()]
        shutil.rmtree(directory)


def test_planted_link(tmp_path: Path) -> None:
    """A link at the file's place is replaced and never followed, neither by who writes nor by who reads."""
    target = tmp_path / "target"
    StatusFile(target).noticed(SITUATION)
    written = target.read_bytes()
    (tmp_path / "status.json").symlink_to(target)
    assert None is read_client_status(tmp_path / "status.json")
    StatusFile(tmp_path / "status.json").noticed(SITUATION.does("b", AT))
    assert written == target.read_bytes()
    assert {"status.json", "target"} == set(os.listdir(tmp_path))


def test_temporary_name_that_somebody_took(tmp_path: Path) -> None:
    """Where others can write too, nobody keeps the figures back by taking a temporary file's name."""
    (tmp_path / ".mender.prom.tmp").mkdir()
    MetricsFile(tmp_path / "mender.prom").noticed(SITUATION)
    assert (tmp_path / "mender.prom").is_file()


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100000, b'{"a": "' + b"x" * 70000 + b'"}'])
def test_unusable_status_file(tmp_path: Path, content: bytes) -> None:
    """A file that holds something else counts as none."""
    (tmp_path / "status.json").write_bytes(content)
    assert None is read_client_status(tmp_path / "status.json")


# -- the service manager --------------------------------------------------------------------------------------


class Manager:
    """A service manager's socket, at a path or at an abstract name."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """Everything that has come since the last look."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the manager listens."""
    return str(tmp_path / "notify") if request.param == "path" else f"@mender-test-{os.getpid()}"


@pytest.fixture
def manager(address: str) -> Iterator[Manager]:
    """A manager that listens."""
    manager = Manager(address)
    yield manager
    manager.socket.close()


def test_notifier(manager: Manager, address: str) -> None:
    """The manager hears that the client is ready, what it does when that changes, and that it ends."""
    notifier = Notifier(address)
    notifier.ready()
    notifier.noticed(SITUATION)
    notifier.noticed(SITUATION.contacted("https://x", AT))
    notifier.alive()
    notifier.stopping()
    notifier.close()
    assert ["READY=1", "STATUS=waiting for the next poll", "STOPPING=1"] == manager.heard()


def test_status_line_is_one_line(manager: Manager, address: str) -> None:
    """A text from outside can't forge a further notification."""
    notifier = Notifier(address)
    notifier.noticed(SITUATION.failed("poll", NetworkError("bad\nREADY=0"), AT, in_a_row=1))
    notifier.close()
    assert ["STATUS=waiting to try again; poll failed once: bad READY=0"] == manager.heard()


def test_watchdog(manager: Manager, address: str) -> None:
    """The watchdog is fed when work goes on, but not with every piece of it."""
    seconds = Seconds()
    notifier = Notifier(address, watchdog_seconds=8, monotonic=seconds)
    for _ in range(80):
        notifier.alive()
        seconds.now += 0.1
    notifier.close()
    assert ["WATCHDOG=1"] * 4 == manager.heard()


def test_manager_that_is_gone(address: str) -> None:
    """A manager that doesn't listen disturbs nobody."""
    notifier = Notifier(address, watchdog_seconds=1)
    notifier.ready()
    notifier.alive()
    notifier.close()


def test_manager_that_does_not_read(manager: Manager, address: str) -> None:
    """A manager whose queue is full holds nobody up."""
    notifier = Notifier(address)
    for number in range(5000):
        notifier.noticed(SITUATION.does(WAITING, AT).judged(Authorisation.WAITING, AT).contacted(str(number), AT))
    notifier.close()
    assert 5000 > len(manager.heard())


def test_wait_with_a_watchdog() -> None:
    """A wait feeds the watchdog at its beginning and every so often, and goes on until somebody wakes it."""
    beats = []

    def beat() -> None:
        beats.append(clock.monotonic())
        if len(beats) == 5:
            clock.wake()

    clock = SystemClock(beat, beat_seconds=0.05)
    clock.wait(NEVER_S)
    assert 5 == len(beats)
    assert 4 * 0.05 <= beats[-1] - beats[0] + 0.001
    clock.close()


def test_wait_with_a_watchdog_lasts_its_time() -> None:
    """Feeding the watchdog makes a wait neither shorter nor endless."""
    beats = []
    clock = SystemClock(lambda: beats.append(clock.monotonic()), beat_seconds=0.05)
    began = clock.monotonic()
    clock.wait(0.12)
    assert 0.119 < clock.monotonic() - began
    assert 1 < len(beats) <= 3
    clock.close()


# -- figures --------------------------------------------------------------------------------------------------


def figures(path: Path) -> dict[str, float]:
    """The samples as the format's own parser reads them."""
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


def test_metrics(tmp_path: Path) -> None:
    """The file is what the parser of Prometheus takes, everybody may read it, and it holds the figures."""
    client_status = SITUATION.answered(AT).contacted("https://x", AT).fetched(100, 7).judged(Authorisation.ACCEPTED, AT)
    client_status = client_status.failed("poll", NetworkError('a "quoted" \\ text', kind=ErrorKind.DNS), AT, in_a_row=3)
    client_status = client_status.remembering(Record(totals={"succeeded": 2, "aborted": 1})).downloads(Download(5, 10))
    client_status = client_status.asks_with("release-1")
    MetricsFile(tmp_path / "mender.prom").noticed(client_status)
    found = figures(tmp_path / "mender.prom")
    assert {
        "mender_client_info python=3.11.2 version=1.0": 1,
        "mender_client_start_time_seconds": 1795435200,
        "mender_client_installed_artifact artifact_name=release-1": 1,
        "mender_client_polls_total": 1,
        "mender_client_failures_total kind=dns": 1,
        "mender_client_failures_in_a_row": 3,
        "mender_client_fetched_bytes_total": 100,
        "mender_client_resumed_bytes_total": 7,
        "mender_client_reused_bytes_total": 0,
        "mender_client_last_contact_time_seconds": 1795435200,
        "mender_client_last_poll_time_seconds": 1795435200,
        "mender_client_unreported_messages": 0,
        "mender_client_held": 0,
        **{f"mender_client_waiting_at_gate gate={one}": 0 for one in ("download", "install", "reboot", "commit")},
        "mender_client_download_bytes": 5,
        "mender_client_download_size_bytes": 10,
    } == {name: value for name, value in found.items() if "state=" not in name and "outcome=" not in name}
    assert {"succeeded": 2, "failed": 0, "aborted": 1} == {
        name.partition("outcome=")[2]: value for name, value in found.items() if "outcome=" in name
    }
    states = {name.partition(" ")[2] for name, value in found.items() if "state=" in name and value == 1}
    assert {"state=waiting", "state=accepted"} == states
    assert 0o644 == (tmp_path / "mender.prom").stat().st_mode & 0o777


def test_metrics_of_a_new_client(tmp_path: Path) -> None:
    """What never happened has no time."""
    MetricsFile(tmp_path / "mender.prom").noticed(ClientStatus())
    assert "mender_client_last_contact_time_seconds" not in figures(tmp_path / "mender.prom")


def test_metrics_label(tmp_path: Path) -> None:
    """A label may hold anything."""
    strange = ClientStatus().begun(AT, version='1 "\\\n', python="")
    MetricsFile(tmp_path / "mender.prom").noticed(strange)
    assert 'mender_client_info python= version=1 "\\\n' in figures(tmp_path / "mender.prom")


def test_metrics_are_written_on_change(tmp_path: Path) -> None:
    """A file is written when a figure has changed, and only then."""
    file = MetricsFile(tmp_path / "mender.prom")
    file.noticed(SITUATION)
    (tmp_path / "mender.prom").unlink()
    file.noticed(SITUATION.planned(next_poll=AT, next_inventory=AT))
    assert not (tmp_path / "mender.prom").exists()
    file.noticed(SITUATION.answered(AT))
    assert 1 == figures(tmp_path / "mender.prom")["mender_client_polls_total"]
