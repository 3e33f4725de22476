"""The conditions of gates on a real device: time zones, files, programs and the clock."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from mender_client.errors import DeviceError, Interrupted
from mender_client.system.clockevidence import ClockCheck
from mender_client.system.gates import DeviceConditions, find_zone
from mender_client.system.process import ScriptLimits
from mender_client.system.trust import Trust
from waiting import PATIENCE_S

SUMMER = datetime(2026, 7, 1, 12)
NOWHERE = Path("/nowhere/localtime")


def conditions(root: Path, *, seconds: float = PATIENCE_S, is_stopping: bool = False) -> DeviceConditions:
    """The conditions of a device whose root is a directory."""
    return DeviceConditions(
        below_root=lambda path: root / path.lstrip("/"),
        local_time=root / "localtime",
        find_problem=Trust.below(root).program_problem,
        clock_check=ClockCheck(),
        limits=ScriptLimits(seconds=seconds),
        is_stopping=lambda: is_stopping,
    )


def program(root: Path, body: str, *, mode: int = 0o755) -> str:
    """Write a program of the device; returns its path on the device."""
    path = root / "gate"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(mode)
    return "/gate"


def offset(name: str, local_time: Path = NOWHERE, variable: str = "") -> timedelta | None:
    """The offset of a zone from UTC in summer."""
    return SUMMER.replace(tzinfo=find_zone(name, local_time, variable)).utcoffset()


def test_zones(tmp_path: Path) -> None:
    """A zone is found by its name; the device's own is that of TZ, else that of /etc/localtime, else UTC."""
    local_time = tmp_path / "localtime"
    local_time.symlink_to("/usr/share/zoneinfo/Asia/Tokyo")
    hour = timedelta(hours=1)
    assert [2 * hour, -4 * hour, 9 * hour, 9 * hour, 0 * hour, 0 * hour] == [
        offset("Europe/Berlin", local_time, "America/New_York"),
        offset("", local_time, ":America/New_York"),
        offset("", local_time),
        offset("", variable=f":{local_time}"),
        offset(""),
        offset("UTC"),
    ]


@pytest.mark.parametrize("name", ["Mars/Base", "../../etc/passwd", "CET-1CEST"])
def test_a_zone_that_does_not_exist(name: str) -> None:
    """A zone that this device doesn't know causes an error with a remedy."""
    with pytest.raises(DeviceError) as caught:
        find_zone(name, NOWHERE)
    assert (
        f"this device does not know the time zone {name}",
        "check its name, and install the system's time zones (tzdata) and Python's zoneinfo",
    ) == (caught.value.text, caught.value.remedy)


@pytest.mark.parametrize("is_dangling", [False, True])
def test_a_broken_local_time(tmp_path: Path, *, is_dangling: bool) -> None:
    """A localtime file that can't be read, as on a system without time zones, causes an error that names it."""
    if is_dangling:
        (tmp_path / "localtime").symlink_to("/usr/share/zoneinfo/Mars/Base")
    else:
        (tmp_path / "localtime").write_text("this is no time zone")
    with pytest.raises(DeviceError) as caught:
        conditions(tmp_path).zone("")
    assert f"this device does not know the time zone {tmp_path}/localtime" == caught.value.text


def test_files(tmp_path: Path) -> None:
    """The content of a file is returned unchanged, and read anew each time."""
    device = conditions(tmp_path)
    for content in ("1\n", "0\n"):
        (tmp_path / "online").write_text(content)
        assert content == device.content("/online")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is missing, not regular or too large, or whose name is too long, causes an error."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_text("x" * 100_000)
    texts = []
    for name in ("missing", "pipe", "large", "x" * 300):
        with pytest.raises(DeviceError) as caught:
            conditions(tmp_path).content(f"/{name}")
        texts.append(caught.value.text.replace(str(tmp_path), "").replace("x" * 300, "long"))
    assert [
        "cannot read /missing: No such file or directory",
        "cannot read /pipe: it is not a regular file",
        "cannot read /large: it is larger than 65536 bytes",
        "cannot read /long: File name too long",
    ] == texts


def test_programs(tmp_path: Path) -> None:
    """A program is run with its arguments and variables in a clean environment; its last line gives the reason."""
    gate = program(tmp_path, 'echo no >&2; echo "$1 $MENDER_GATE ${HOME-clean}" >&2; exit 21')
    assert (21, "busy install clean") == conditions(tmp_path).run([gate, "busy"], {"MENDER_GATE": "install"})
    assert (0, "") == conditions(tmp_path).run([program(tmp_path, "echo fine >&2")], {})


FAULTS = {
    "missing": ("exit 0", 0o000, "cannot run /gate: /gate is missing"),
    "written by others": ("exit 0", 0o777, "cannot run /gate: everybody can write to /gate"),
    "killed": ("kill -9 $$", 0o755, "cannot use /gate: it was killed by signal 9"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_programs_that_say_nothing(tmp_path: Path, name: str) -> None:
    """A program that is missing, writable by others, or killed causes an error and has no result."""
    body, mode, expected = FAULTS[name]
    gate = program(tmp_path, body, mode=mode)
    if name == "missing":
        (tmp_path / "gate").unlink()
    with pytest.raises(DeviceError) as caught:
        conditions(tmp_path).run([gate], {})
    assert expected == caught.value.text.replace(str(tmp_path), "")


def test_a_program_that_never_ends(tmp_path: Path) -> None:
    """A program that takes too long is ended and causes an error."""
    with pytest.raises(DeviceError, match="did not exit within"):
        conditions(tmp_path, seconds=0.2).run([program(tmp_path, "sleep 600")], {})


@pytest.mark.parametrize("name", ["release\0", "release\ud800"])
def test_a_name_that_no_variable_can_hold(tmp_path: Path, name: str) -> None:
    """An artifact name that an environment variable can't hold causes an error."""
    with pytest.raises(DeviceError, match=r"cannot run .*gate: "):
        conditions(tmp_path).run([program(tmp_path, "exit 0")], {"MENDER_GATE_ARTIFACT_NAME": name})


def test_a_client_that_stops(tmp_path: Path) -> None:
    """A client that is to stop does not wait for a program."""
    with pytest.raises(Interrupted):
        conditions(tmp_path, is_stopping=True).run([program(tmp_path, "sleep 600")], {})


def test_the_clock(tmp_path: Path) -> None:
    """The clock is compared with the time that a server has reported."""
    on_device = conditions(tmp_path)
    assert ("", None) == (on_device.clock_problem(), on_device.server_time())
    on_device.clock_check.heard("Sat, 28 Nov 2099 12:00:00 GMT")
    assert "the server says that it is 2099-11-28 12:00 UTC" in on_device.clock_problem()
    server = on_device.server_time()
    assert server is not None
    assert datetime(2099, 11, 28, 12, tzinfo=timezone.utc) == server.replace(second=0, microsecond=0)


def test_a_device_without_time_zones(tmp_path: Path) -> None:
    """Without tzdata or Python's zoneinfo, a named zone is unknown; UTC and a device without a zone need neither."""
    script = """
import sys
from pathlib import Path
from mender_client.system.gates import find_zone
sys.modules[sys.argv[1]] = None
print(find_zone("UTC", Path("/nowhere")), find_zone("", Path("/nowhere")))
try:
    find_zone("Europe/Berlin", Path("/nowhere"))
except Exception as error:
    print(error.text)
"""
    for missing in ("tzdata", "zoneinfo"):
        run = [sys.executable, "-c", script, missing]
        done = subprocess.run(run, env={"PYTHONTZPATH": str(tmp_path)}, capture_output=True, text=True, check=False)
        text = "this device does not know the time zone Europe/Berlin"
        assert f"UTC UTC\n{text}\n" == done.stdout, done.stderr
