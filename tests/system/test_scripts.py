"""State scripts on disk (protocol: state scripts)."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from mender_client.core.artifact import Script
from mender_client.errors import Interrupted, ScriptError
from mender_client.system.calls import Calls
from mender_client.system.scripts import StateScriptDirectory
from mender_client.system.trust import Trust
from waiting import PATIENCE_S, wait_until


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The path of a script directory that doesn't exist yet."""
    (tmp_path / "device").mkdir(mode=0o755)
    return tmp_path / "device" / "scripts"


def directory(place: Path, calls: Calls | None = None) -> StateScriptDirectory:
    """The script directory under test."""
    trust = Trust.below(place.parent)
    known = calls or Calls(environment=os.environ, grace_seconds=0.2)
    return StateScriptDirectory(path=place, calls=known, find_problem=trust.permission_problem)


def add(place: Path, name: str, body: str = "", *, mode: int = 0o755) -> None:
    """Write a script."""
    place.mkdir(exist_ok=True)
    (place / name).write_text(f"#!/bin/sh\n{body}\n")
    (place / name).chmod(mode)


def test_orphans(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Scripts that are still running after the client was killed are ended, with their child processes."""
    add(place, "Idle_Enter_00", 'trap "" TERM; while true; do sleep 3600; done')
    orphan = subprocess.Popen([place / "Idle_Enter_00"], start_new_session=True)
    stranger = subprocess.Popen(["sh", "-c", "read line; :", place / "Idle_Enter_00"], stdin=subprocess.PIPE)
    children = Path(f"/proc/{orphan.pid}/task/{orphan.pid}/children")
    wait_until(children.read_text)
    child = int(children.read_text())
    directory(place).end_orphans()
    assert -signal.SIGKILL == orphan.wait(PATIENCE_S)
    wait_until(lambda: not Path(f"/proc/{child}").exists())
    assert f"Idle_Enter_00 (pid {orphan.pid})" in caplog.text
    assert stranger.poll() is None
    stranger.communicate()


def test_no_orphans(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """If there are no such processes, nothing is logged."""
    directory(place).end_orphans()
    assert "" == caplog.text


def test_no_directory(place: Path) -> None:
    """A directory that doesn't exist contains no scripts, and its version is no error."""
    directory(place).check_version()
    assert [] == list(directory(place).names("Idle", "Enter"))


def test_names(place: Path) -> None:
    """The executable files whose whole name matches are found, in byte order; everything else is ignored."""
    fitting = ["Idle_Enter_00", "Idle_Enter_01_Z", "Idle_Enter_01_a", "Idle_Enter_10_x.sh", "Idle_Enter_99_\u00e9"]
    for name in fitting:
        add(place, name)
    for name in ("Idle_Enter_1", "Idle_Enter", "Idle_Enter_000", "Idle_Enter_00_a b", "Idle_Leave_00", "xIdle_Enter_00",
                 "Idle_enter_00", "Idle_Enter_00-a", "Idle_Enter_00_a\n"):  # fmt: skip
        add(place, name)
    add(place, "Idle_Enter_05", mode=0o644)
    (place / "Idle_Enter_06").mkdir()
    assert fitting == list(directory(place).names("Idle", "Enter"))


@pytest.mark.parametrize("content", ["2", "3", "2\n", "3\n"])
def test_known_version(place: Path, content: str) -> None:
    """Versions 2 and 3 are supported."""
    add(place, "Idle_Enter_00")
    (place / "version").write_text(content)
    assert ["Idle_Enter_00"] == list(directory(place).names("Idle", "Enter"))


@pytest.mark.parametrize("content", ["1", "4", "", "3.0", "three", "3 3"])
def test_unknown_version(place: Path, content: str) -> None:
    """Any other version causes an error when scripts are looked up, and when the version is checked."""
    add(place, "Idle_Enter_00")
    (place / "version").write_text(content)
    with pytest.raises(ScriptError, match="version"):
        directory(place).names("Idle", "Enter")
    with pytest.raises(ScriptError, match="version"):
        directory(place).check_version()


def test_run(place: Path) -> None:
    """A script runs without arguments, in the client's directory and environment, and in its own process group."""
    seen = place.parent / "seen"
    add(
        place,
        "Idle_Enter_00",
        f'{{ echo $#; pwd; echo $FROM; cut -d" " -f5 /proc/$$/stat; echo $$; }} > {seen}; exit 7',
    )
    calls = Calls(environment={**os.environ, "FROM": "client"})
    assert 7 == directory(place, calls).run("Idle_Enter_00", seconds=PATIENCE_S)
    count, where, variable, group, pid = seen.read_text().splitlines()
    assert ("0", os.getcwd(), "client") == (count, where, variable)
    assert group == pid


def test_output(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The output of a script is logged with its name as a prefix."""
    caplog.set_level("INFO")
    add(place, "Idle_Enter_00", "echo text; echo bad >&2")
    directory(place).run("Idle_Enter_00", seconds=PATIENCE_S)
    assert {"Idle_Enter_00: text", "Idle_Enter_00, stderr: bad"} == {one.getMessage() for one in caplog.records}


def test_time_limit(place: Path) -> None:
    """A script that exceeds its time limit is killed if it ignores SIGTERM, and causes an error."""
    noted = place.parent / "pid"
    add(place, "Idle_Enter_00", f'trap "" TERM; echo $$ >{noted}; while true; do sleep 3600; done')
    for seconds in (0.3, 3.0, 30.0):  # the longer limits are for a machine that is too busy for the shortest
        with pytest.raises(ScriptError, match=f"did not exit within {seconds:g} s"):
            directory(place).run("Idle_Enter_00", seconds=seconds)
        if noted.exists() and noted.read_text():
            break
    assert not Path(f"/proc/{int(noted.read_text())}").exists()


def test_stopping(place: Path) -> None:
    """When the client is to stop, a running script is ended, and running it ends with Interrupted."""
    noted = place.parent / "pid"
    add(place, "Idle_Enter_00", f"echo $$ >{noted}; exec sleep 3600")
    calls = Calls(environment=os.environ, is_stopping=lambda: noted.exists() and noted.read_text() != "")
    with pytest.raises(Interrupted):
        directory(place, calls).run("Idle_Enter_00", seconds=PATIENCE_S)
    assert not Path(f"/proc/{int(noted.read_text())}").exists()


def test_script_of_a_stranger(place: Path) -> None:
    """A script that another user could have written isn't run."""
    add(place, "Idle_Enter_00", mode=0o777)
    with pytest.raises(ScriptError, match="another user"):
        directory(place).run("Idle_Enter_00", seconds=PATIENCE_S)


def test_replace(place: Path) -> None:
    """The scripts of an Artifact, executable and with their version, replace everything in the directory."""
    add(place, "ArtifactInstall_Enter_00_old")
    (place / "folder").mkdir()
    (place / "folder" / "file").touch()
    content = b"#!/bin/sh\nexit 5\n"
    script = Script("ArtifactInstall_Enter_00", content, hashlib.sha256(content).hexdigest())
    directory(place).replace([script])
    found = {path.name: (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) for path in place.iterdir()}
    assert {"ArtifactInstall_Enter_00": (content, 0o755), "version": (b"3\n", 0o644)} == found
    assert 5 == directory(place).run("ArtifactInstall_Enter_00", seconds=PATIENCE_S)
    directory(place).replace([])
    assert ["version"] == os.listdir(place)
