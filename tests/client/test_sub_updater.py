"""The hand-over of an Artifact to the sub-updater, tested on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

import pytest

from mender_client.core.model import Deployment, Link
from mender_client.core.update import ProcessRef
from mender_client.errors import Diagnostic, InstallError, ScriptError
from mender_client.installers.sub_updater import SubUpdaterInstaller
from world.disk import Disk
from world.power import Power
from world.stores import WorldLock

SCRIPT = Path("/usr/share/mender/install")
DEPLOYMENT = Deployment("d-1", "release-2", ("board",), Link("https://storage.invalid/x"), "rootfs-image")
HANDS = ProcessRef(7, "this-boot", 99)


class Recorder:
    """Processes that are recorded instead of started."""

    def __init__(self) -> None:
        self.started: list[tuple[list[str], dict[str, str]]] = []
        self.alive: set[ProcessRef] = set()
        self.by_variable: dict[tuple[str, str], ProcessRef] = {}
        self.can_spawn = True

    def spawn(self, argv: Sequence[str], variables: Mapping[str, str]) -> ProcessRef:
        """Record it."""
        if not self.can_spawn:
            raise ScriptError("cannot run it: exec format error; check its first line")
        self.started.append((list(argv), dict(variables)))
        return HANDS

    def has_spawned(self) -> bool:
        """Whether one was recorded."""
        return bool(self.started)

    def is_alive(self, process: ProcessRef) -> bool:
        """Whether the test has declared it alive."""
        return process in self.alive

    def age_seconds(self, process: ProcessRef) -> float:
        """The seconds since its start."""
        return process.age_seconds("this-boot", 100.0, 100)

    def stop(self, process: ProcessRef | None, variable: str, value: str, *, is_forced: bool) -> bool:
        """End it, but only if forced."""
        found = {process, self.find(variable, value)} & self.alive
        self.alive -= found if is_forced else set()
        return bool(found)

    def find(self, variable: str, value: str) -> ProcessRef | None:
        """The process that the test has set for the variable."""
        return self.by_variable.get((variable, value))


@pytest.fixture
def processes() -> Recorder:
    """The device's processes."""
    return Recorder()


def make(processes: Recorder, *, fault: str = "") -> tuple[SubUpdaterInstaller, WorldLock]:
    """The installer under test and its lock."""
    lock = WorldLock(Disk(Power()))
    return SubUpdaterInstaller(
        program=SCRIPT,
        variables={"MENDER_DATA_DIR": "/data"},
        lock=lock,
        processes=processes,
        find_problem=lambda _: Diagnostic("FIL11", fault) if fault else None,
    ), lock


def test_claim(processes: Recorder) -> None:
    """``claim`` writes the deployment id to the lock file."""
    hand_over, lock = make(processes)
    assert None is lock.read()
    hand_over.claim("d-1")
    assert "d-1" == lock.read()


def test_environment(processes: Recorder) -> None:
    """The sub-updater gets the Artifact's path as its argument, and the deployment's details as variables."""
    hand_over, _ = make(processes)
    assert HANDS == hand_over.install(DEPLOYMENT, PurePath("/data/artifact.mender"))
    variables = {
        "MENDER_DATA_DIR": "/data",
        "MENDER_DEPLOYMENT_ID": "d-1",
        "MENDER_ARTIFACT_NAME": "release-2",
        "MENDER_ARTIFACT_PATH": "/data/artifact.mender",
        "MENDER_PAYLOAD_TYPE": "rootfs-image",
    }
    assert [([str(SCRIPT), "/data/artifact.mender"], variables)] == processes.started


def test_missing_script(processes: Recorder) -> None:
    """If the sub-updater has a problem, such as being missing, the error contains it, and nothing is started."""
    hand_over, _ = make(processes, fault=f"{SCRIPT} is missing")
    with pytest.raises(InstallError, match=r"^cannot install updates: /usr/share/mender/install is missing"):
        hand_over.install(DEPLOYMENT, PurePath("/data/artifact.mender"))
    assert [] == processes.started


def test_cannot_start(processes: Recorder) -> None:
    """If the sub-updater can't be started, the error gives the reason."""
    hand_over, _ = make(processes)
    processes.can_spawn = False
    with pytest.raises(InstallError, match="exec format error"):
        hand_over.install(DEPLOYMENT, PurePath("/data/artifact.mender"))


def test_find_hands(processes: Recorder) -> None:
    """The recorded process is found while it is alive, otherwise one that works on the same deployment."""
    hand_over, _ = make(processes)
    other = ProcessRef(8, "this-boot", 100)
    assert None is hand_over.find_process("d-1", HANDS)
    assert None is hand_over.find_process("d-1", None)
    processes.by_variable["MENDER_DEPLOYMENT_ID", "d-1"] = other
    assert other == hand_over.find_process("d-1", HANDS)
    processes.alive.add(HANDS)
    assert HANDS == hand_over.find_process("d-1", HANDS)
    assert None is hand_over.find_process("d-2", None)


def test_seconds_at_work(processes: Recorder) -> None:
    """The time at work counts from the start of the recorded process, or of one that is found; 0 without either."""
    hand_over, _ = make(processes)
    assert 0.0 == hand_over.seconds_at_work("d-1", None)
    assert 100.0 - 0.99 == hand_over.seconds_at_work("d-1", HANDS)
    processes.by_variable["MENDER_DEPLOYMENT_ID", "d-1"] = ProcessRef(8, "this-boot", 5000)
    assert 50.0 == hand_over.seconds_at_work("d-1", None)
