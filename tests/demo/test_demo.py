"""The demo as a reader runs it: one process that starts everything and leaves nothing behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import forking
from mender_client.core.artifact import PayloadSource, rootfs_image, write_artifact

PROJECT = Path(__file__).resolve().parents[2]
DEMO = PROJECT / "demo/demo.py"
ARTIFACTS = PROJECT / "tests/data/artifacts"


def start_demo(temporary: Path, *arguments: str) -> subprocess.Popen[str]:
    """Starts the demo with its own temporary directory and its output in a pipe."""
    return subprocess.Popen(
        [sys.executable, str(DEMO), *arguments],
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def run_demo(temporary: Path, *arguments: str) -> tuple[int, str, str]:
    """Runs the demo to its end: exit code, standard output, standard error."""
    done = forking.run([sys.executable, str(DEMO), *arguments], {**os.environ, "TMPDIR": str(temporary)})
    return done.returncode, done.stdout, done.stderr


def processes_below(directory: Path) -> list[str]:
    """The command lines of all processes that contain a path below the directory."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue  # it has ended in the meantime
        if str(directory) in command:
            found.append(command)
    return found


def assert_in_order(lines: list[str], text: str) -> None:
    """Each line is in the text, after the previous one: lines of one side, since the demo merges two logs."""
    place = 0
    for line in lines:
        at = text.find(line, place)
        assert at >= 0, f"{line!r} is missing, or in the wrong place, in:\n{text}"
        place = at + len(line)


SERVER_LINES = [
    "new device, pending acceptance",
    "operator: accept the device",
    "accepted",
    "inventory:",
    "status: DOWNLOADING",
    "status: INSTALLING",
    "status: SUCCESS",
    "A failed update: release-3",
    "status: INSTALLING",
    "received the deployment log",
    "status: FAILURE",
    "The log of release-3 on the server",
    "the health check failed (exit 1)",
    "rolled back: running from B",
]
DEVICE_LINES = [
    "100 % of",
    "installation of",
    "sub-updater: writing",
    "the “reboot”",
    "boot loader: starting B",
    "A failed update: release-3",
    "boot loader: starting A",
    "health check: the service of this release doesn't start",
    "boot loader: starting B",
]
VERDICT_LINES = [
    "  ok  the server has the statuses of release-3: downloading, installing, rebooting, failure",
    "  ok  the active partition is B",
    "All checks passed",
]


def test_an_update_works_and_another_one_is_rolled_back(tmp_path: Path) -> None:
    """The demo shows both sides of two updates, exits with 0 if all went well, and leaves nothing behind."""
    code, out, err = run_demo(tmp_path)
    assert (0, "") == (code, err), out
    assert_in_order([*SERVER_LINES, *VERDICT_LINES], out)
    assert_in_order([*DEVICE_LINES, *VERDICT_LINES], out)
    assert "  ok  the server has the statuses of release-2: downloading, installing, rebooting, success" in out
    assert "NOT" not in out
    assert [] == list(tmp_path.iterdir())
    assert [] == processes_below(tmp_path)


MODULE_VERDICT_LINES = [
    "  ok  the server has the statuses of release-2: downloading, installing, rebooting, installing, success",
    "  ok  the server has the statuses of release-3: downloading, installing, rebooting, installing, failure",
    "  ok  the active partition is 3",
    "All checks passed",
]
MODULE_SERVER_LINES = [
    "A successful update: release-2",
    "status: INSTALLING",
    "status: REBOOTING",
    "status: SUCCESS",
    "A failed update: release-3",
    "received the deployment log",
    "status: FAILURE",
    "The log of release-3 on the server",
    "state script ArtifactCommit_Enter_10_health-check failed with exit code 1",
    *MODULE_VERDICT_LINES,
]
MODULE_DEVICE_LINES = [
    "A successful update: release-2",
    "rootfs-image: writing 4194304 bytes",
    "client: Artifact release-2 verified",
    "client: stopped",
    "the “reboot”",
    "boot loader: starting 3",
    "health check: the service answers",
    "A failed update: release-3",
    "boot loader: starting 2",
    "health check: the service of this release doesn't start",
    "running ArtifactRollback of update module rootfs-image",
    "client: stopped",
    "boot loader: starting 3",
    *MODULE_VERDICT_LINES,
]


@pytest.mark.nightly
def test_an_update_module_works_and_is_rolled_back(tmp_path: Path) -> None:
    """With --modules the images are streamed to an update module, and a state script makes the second roll back."""
    code, out, err = run_demo(tmp_path, "--modules")
    assert (0, "") == (code, err), out
    assert_in_order(MODULE_SERVER_LINES, out)
    assert_in_order(MODULE_DEVICE_LINES, out)
    assert "NOT" not in out
    assert [] == list(tmp_path.iterdir())
    assert [] == processes_below(tmp_path)


@pytest.mark.nightly
def test_a_difference_is_named(tmp_path: Path) -> None:
    """If the first update doesn't end as expected, the demo says what differs and exits with 1."""
    artifact, temporary = tmp_path / "broken.mender", tmp_path / "temporary"
    temporary.mkdir()
    image = b"release=broken-2\nservice=broken\n" * 100
    source = PayloadSource("rootfs.img", len(image), lambda: io.BytesIO(image))
    with artifact.open("wb") as out_file:
        write_artifact(out_file, rootfs_image("broken-2", ["a-board"]), [source])
    code, out, err = run_demo(temporary, "--artifact", str(artifact))
    assert (1, "") == (code, err), out
    expected = "(expected: downloading, installing, rebooting, success)"
    statuses = f"downloading, installing, rebooting, failure {expected}"
    assert f" NOT the server has the statuses of broken-2: {statuses}" in " ".join(out.split())  # in two lines there
    assert "  NOT the active partition is A (expected: B)" in out
    assert "  NOT artifact_info names release-1 (expected: broken-2)" in out
    assert "Some checks failed: see the lines marked NOT." in out
    assert [] == list(temporary.iterdir())


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("module-files-scripts-meta.mender", "has 2 files (text.txt, small.bin)"),
        ("bootstrap-no-payload.mender", "has 0 files (none)"),
        ("rsa3072.pub", "cannot use"),
        ("missing.mender", "No such file"),
    ],
)
def test_what_no_partition_can_take_is_refused_at_once(tmp_path: Path, name: str, complaint: str) -> None:
    """An Artifact that can't be shown is reported with the reason, and the exit code is 1."""
    code, out, err = run_demo(tmp_path, "--artifact", str(ARTIFACTS / name))
    assert (1, "") == (code, out)
    assert complaint in err
    assert 1 == err.count("\n")
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("moment", "number", "options"),
    [
        pytest.param("pending acceptance", signal.SIGINT, (), marks=pytest.mark.nightly),
        pytest.param("status: DOWNLOADING", signal.SIGTERM, (), marks=pytest.mark.nightly),
        pytest.param("sub-updater: writing", signal.SIGINT, (), marks=pytest.mark.nightly),
        ("rootfs-image: writing", signal.SIGINT, ("--modules",)),
    ],
)
def test_a_signal_at_any_time_cleans_up(
    tmp_path: Path, moment: str, number: signal.Signals, options: tuple[str, ...]
) -> None:
    """Ctrl-C ends every process that the demo has started and removes its directory, even if it is pressed twice."""
    with start_demo(tmp_path, *options) as demo:
        assert demo.stdout is not None
        while (line := demo.stdout.readline()) and moment not in line:
            continue
        demo.send_signal(number)
        demo.send_signal(number)
        _, err = demo.communicate()
    assert 130 == demo.returncode
    assert "demo: stopped; everything is cleaned up" in err
    assert [] == list(tmp_path.iterdir())
    assert [] == processes_below(tmp_path)


@pytest.mark.nightly
def test_kept_devices_go_on(tmp_path: Path) -> None:
    """Any real Artifact with one file can be the first update; --keep accepts further deployments until Ctrl-C."""
    with start_demo(tmp_path, "--keep", "--artifact", str(ARTIFACTS / "signed-rsa.mender")) as demo:
        assert demo.stdout is not None
        lines: list[str] = []
        while (line := demo.stdout.readline()) and "4. Your turn" not in line:
            lines.append(line)
        assert_in_order(SERVER_LINES, "".join(lines))
        assert_in_order(DEVICE_LINES, "".join(lines))
        assert any("for qemux86-64." in line for line in lines), lines
        commands = [line.strip() for line in lines if line.startswith("  /")]
        for wanted in ("upload", "deploy release-4", "show-artifact"):
            command = next(one for one in commands if f" {wanted}" in one)
            done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
        assert "signed-rsa\n" == done.stdout
        while (line := demo.stdout.readline()) and "status: SUCCESS" not in line:
            continue
        demo.send_signal(signal.SIGINT)
        out, _ = demo.communicate()
    assert 0 == demo.returncode
    assert "server and device are removed" in out
    assert [] == list(tmp_path.iterdir())
    assert [] == processes_below(tmp_path)


def test_help_lists_the_words_of_make() -> None:
    """``make help`` has a line for the demo."""
    done = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "make demo" in done.stdout
