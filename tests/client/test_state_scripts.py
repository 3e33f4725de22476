"""When a state script is run again, and which failures end a series (protocol: state scripts)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from mender_client.client.scripts import StateScripts
from mender_client.core.artifact import Script
from mender_client.core.state_scripts import place_of
from mender_client.errors import ArtifactError, Interrupted, ScriptError
from world.clock import WorldClock


class Scripts:
    """A directory of scripts with given exit codes, each run of which takes ten seconds; see ``core.ports``."""

    def __init__(self, clock: WorldClock, **exits: Sequence[int]) -> None:
        self.clock = clock
        self.exits: dict[str, Iterator[int]] = {name: iter(codes) for name, codes in exits.items()}
        self.runs: list[tuple[str, float, float]] = []
        self.stored: list[str] = []
        self.is_version_known = True

    def names(self, state: str, action: str) -> Sequence[str]:
        """The scripts of a state and action."""
        self.check_version()
        return [name for name in self.exits if place_of(name) == (state, action)]

    def check_version(self) -> None:
        """Fail if the version is unknown."""
        if not self.is_version_known:
            raise ScriptError("SSC03", "cannot run the state scripts")

    def run(self, name: str, *, seconds: float) -> int:
        """Record the run and return the next exit code; 21 when there are no more."""
        self.runs.append((name, self.clock.seconds, seconds))
        self.clock.seconds += min(10.0, seconds)
        return next(self.exits[name], 21)

    def end_orphans(self) -> None:
        """No process outlives the client here."""

    def replace(self, scripts: Sequence[Script]) -> None:
        """Record the names."""
        self.stored = [script.name for script in scripts]

    @property
    def begun(self) -> list[str]:
        """The names of the scripts that were run."""
        return [name for name, _, _ in self.runs]


def scripts(clock: WorldClock, root: Scripts, artifact: Scripts | None = None) -> StateScripts:
    """The object under test."""
    return StateScripts(root=root, artifact=artifact or Scripts(clock), clock=clock, alive=lambda: None)


@pytest.fixture
def clock() -> WorldClock:
    """A clock that advances only when something waits or a script runs."""
    return WorldClock()


def test_row(clock: WorldClock) -> None:
    """All scripts of a state and action are run, one after another."""
    root = Scripts(clock, Idle_Enter_00=[0], Idle_Enter_01=[0], Idle_Leave_00=[0])
    scripts(clock, root).run("Idle", "Enter")
    assert ["Idle_Enter_00", "Idle_Enter_01"] == root.begun


def test_first_failure(clock: WorldClock) -> None:
    """Where failures count, the first one ends the series."""
    root = Scripts(clock, Sync_Enter_00=[0], Sync_Enter_01=[3], Sync_Enter_02=[0])
    with pytest.raises(ScriptError, match="Sync_Enter_01 failed with exit code 3"):
        scripts(clock, root).run("Sync", "Enter")
    assert ["Sync_Enter_00", "Sync_Enter_01"] == root.begun


def test_ignored_failures(clock: WorldClock, caplog: pytest.LogCaptureFixture) -> None:
    """Where failures are ignored, all scripts are run, and each failure is logged."""
    root = Scripts(clock, Idle_Enter_00=[1], Idle_Enter_01=[-9], Idle_Enter_02=[0])
    assert not scripts(clock, root).run_all("Idle", "Enter")
    assert 3 == len(root.runs)
    assert ["exit code 1", "signal 9"] == [one.getMessage().partition(";")[0][-len(end) :] for one, end in zip(
        caplog.records, ("exit code 1", "signal 9"), strict=True
    )]  # fmt: skip
    assert scripts(clock, Scripts(clock, Idle_Enter_00=[0])).run_all("Idle", "Enter")


def test_unknown_version(clock: WorldClock) -> None:
    """Root file system scripts of an unknown version fail their states and the version check, but no other states."""
    root = Scripts(clock)
    root.is_version_known = False
    tested = scripts(clock, root)
    with pytest.raises(ScriptError):
        tested.run("Download", "Enter")
    assert not tested.run_all("Idle", "Enter")
    with pytest.raises(ScriptError):
        tested.check_version()
    tested.run("ArtifactCommit", "Enter")


def test_where_scripts_are(clock: WorldClock) -> None:
    """The scripts of Idle, Sync and Download come from the root file system, those of all others from the Artifact."""
    of_root = ["Idle", "Sync", "Download"]
    of_artifact = [
        f"Artifact{name}" for name in ("Install", "Reboot", "Commit", "Rollback", "RollbackReboot", "Failure")
    ]
    every = {f"{state}_Enter_00": [0] for state in of_root + of_artifact}
    root, artifact = Scripts(clock, **every), Scripts(clock, **every)
    tested = scripts(clock, root, artifact)
    for state in of_root + of_artifact:
        tested.run(state, "Enter")
    assert [f"{state}_Enter_00" for state in of_root] == root.begun
    assert [f"{state}_Enter_00" for state in of_artifact] == artifact.begun


def test_retry_later(clock: WorldClock) -> None:
    """A script that exits with 21 is run again after the interval; the next one is run after it has succeeded."""
    root = Scripts(clock, Sync_Enter_00=[21, 21, 0], Sync_Enter_01=[0])
    scripts(clock, root).run("Sync", "Enter")
    assert [("Sync_Enter_00", 0.0), ("Sync_Enter_00", 70.0), ("Sync_Enter_00", 140.0), ("Sync_Enter_01", 150.0)] == [
        (name, at) for name, at, _ in root.runs
    ]
    assert max(clock.sleeps) <= 1.0


@pytest.mark.parametrize("is_ignored", [False, True])
def test_retry_timeout(clock: WorldClock, is_ignored: bool) -> None:
    """A script fails if it still exits with 21 at the retry time-out; each retry may run only for the time left."""
    root = Scripts(clock, Sync_Enter_00=[], Sync_Enter_01=[0])
    tested = StateScripts(
        root=root, artifact=root, clock=clock, alive=lambda: None, retry_interval_seconds=60, retry_timeout_seconds=125
    )
    if is_ignored:
        assert not tested.run_all("Sync", "Enter")
        assert "Sync_Enter_01" == root.begun[-1]
    else:
        with pytest.raises(ScriptError, match="retry later"):
            tested.run("Sync", "Enter")
    own = [(at, seconds) for name, at, seconds in root.runs if name == "Sync_Enter_00"]
    assert [(0.0, 3600.0), (70.0, 65.0)] == own


def test_clock_of_the_next_script(clock: WorldClock) -> None:
    """Each script has its own retry time-out."""
    root = Scripts(clock, Sync_Enter_00=[21, 0], Sync_Enter_01=[21, 0])
    tested = StateScripts(root=root, artifact=root, clock=clock, alive=lambda: None, retry_timeout_seconds=75)
    tested.run("Sync", "Enter")
    assert 4 == len(root.runs)


def test_stop_while_waiting(clock: WorldClock) -> None:
    """The wait for a retry ends when the client is asked to stop."""
    clock.stops_after_sleeps = 5
    with pytest.raises(Interrupted):
        scripts(clock, Scripts(clock, Idle_Enter_00=[21])).run_all("Idle", "Enter")


def test_install(clock: WorldClock) -> None:
    """The Artifact's scripts are stored; one with an invalid name is refused, and the stored scripts stay."""
    artifact = Scripts(clock)
    tested = scripts(clock, Scripts(clock), artifact)
    tested.install([Script("ArtifactInstall_Enter_00", b"", "")])
    with pytest.raises(ArtifactError, match="ArtifactInstall_Enter_0 x"):
        tested.install([Script("ArtifactInstall_Enter_0 x", b"", "")])
    assert ["ArtifactInstall_Enter_00"] == artifact.stored
