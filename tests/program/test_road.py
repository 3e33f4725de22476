"""The normal course: authorise, send the inventory, poll, download, hand over, wait, report."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from mender_client import __version__
from mender_devserver import Fault
from program.stage import DEVICE_TYPE, FAIL, HOLD, LEAVE, MAC, PROGRAM, SUCCEED, Device
from waiting import wait_until

SUB_UPDATER_VARIABLES = {
    "LANG",
    "MENDER_ARTIFACT_NAME",
    "MENDER_ARTIFACT_PATH",
    "MENDER_CLIENT",
    "MENDER_DATA_DIR",
    "MENDER_DEPLOYMENT_ID",
    "MENDER_PAYLOAD_TYPE",
    "MENDER_ROOT",
    "MENDER_ROOTFS_PART_A",
    "MENDER_ROOTFS_PART_B",
    "PATH",
}


def test_update_succeeds(device: Device) -> None:
    """An update is downloaded, handed over and reported, and its Artifact is byte-identical to the server's."""
    device.program = link = device.root / PROGRAM.name
    link.symlink_to(PROGRAM)  # started as users start it, not as a fork
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    assert 0 == daemon.wait_exit()
    device.wait_status(deployment, "success")
    wait_until(lambda: not device.lock.exists())
    assert ["downloading", "installing", "success"] == device.statuses(deployment)
    assert [deployment] == device.runs
    original = (device.root.parent / "release-2.mender").read_bytes()
    assert original == (device.root / "installed.mender").read_bytes()
    assert device.server.log(deployment, device.id) is None


def test_downloading_comes_before_the_first_byte(device: Device) -> None:
    """The server receives ``downloading`` before the request for the Artifact, and ``installing`` after it."""
    device.write("plan", LEAVE)
    deployment = device.deploy("release-2")
    device.daemon().wait_exit()
    assert ["downloading", "installing"] == device.statuses(deployment)
    kinds = [one.kind for one in device.server.requests if one.kind in ("status", "artifact")]
    assert ["status", "artifact", "status"] == kinds


def test_second_update_after_the_first(device: Device) -> None:
    """A daemon that starts while the lock exists waits, detects its removal by itself, and continues."""
    device.write("plan", HOLD + SUCCEED)
    first = device.deploy("release-2")
    device.daemon().wait_exit()
    second = device.deploy("release-3")
    daemon = device.daemon()
    daemon.wait_for("the sub-updater has been installing")
    (device.root / "go").touch()
    wait_until(lambda: not device.lock.exists())
    daemon.wait_for("update.lock removed")
    assert 0 == daemon.wait_exit()
    device.wait_status(second, "success")
    assert [first, second] == device.runs
    assert "release-3" == device.run("show-artifact").stdout.strip()


def test_environment_of_the_sub_updater(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sub-updater gets a clean environment with exactly the documented variables, and nothing of the daemon's."""
    monkeypatch.setenv("SECRET_OF_THE_DAEMON", "x")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/somewhere")
    device.program = PROGRAM
    device.configure(RootfsPartA="/dev/a", RootfsPartB="/dev/b")
    device.write("plan", LEAVE)
    deployment = device.deploy("release-2")
    device.daemon().wait_exit()
    wait_until(lambda: (device.root / "process").exists())
    seen = dict(line.split("=", 1) for line in (device.root / "environment").read_text().splitlines())
    assert set(seen) == SUB_UPDATER_VARIABLES
    assert deployment == seen["MENDER_DEPLOYMENT_ID"]
    assert "release-2" == seen["MENDER_ARTIFACT_NAME"]
    assert str(device.data / "artifact.mender") == seen["MENDER_ARTIFACT_PATH"]
    assert "rootfs-image" == seen["MENDER_PAYLOAD_TYPE"]
    assert str(device.data) == seen["MENDER_DATA_DIR"]
    assert str(device.root) == seen["MENDER_ROOT"]
    assert ("/dev/a", "/dev/b") == (seen["MENDER_ROOTFS_PART_A"], seen["MENDER_ROOTFS_PART_B"])
    assert str(device.program) == seen["MENDER_CLIENT"]


def test_configuration_is_not_installed(device: Device) -> None:
    """A configuration set on the server fails before the download, unless PayloadTypes has its type."""
    deployment = device.server.configure(device.id, {"timezone": "UTC"})
    daemon = device.daemon()
    device.wait_status(deployment, "failure")
    assert "nothing on this device installs payloads of type mender-configure; " in device.log_of(deployment)
    assert [] == device.runs
    device.configure(PayloadTypes=["mender-configure"])
    daemon.send(signal.SIGHUP)
    daemon.wait_for("configuration reloaded")
    release = device.deploy("release-2")
    device.wait_status(release, "failure")
    assert "its payload type 'rootfs-image' is not one of PayloadTypes; " in device.log_of(release)
    assert [] == device.runs


def test_configuration_never_renames_the_device(device: Device) -> None:
    """A sub-updater that applies a configuration as in the guide keeps the device's artifact name."""
    device.configure(PayloadTypes=["mender-configure"])
    deployment = device.server.configure(device.id, {"timezone": "UTC"})
    assert 0 == device.daemon().wait_exit()
    device.wait_status(deployment, "success")
    assert "artifact_name=release-1" in (device.root / "etc/mender/artifact_info").read_text()
    assert "MENDER_ARTIFACT_NAME=release-1" in (device.root / "environment").read_text().splitlines()
    wait_until(lambda: not device.lock.exists())
    record = json.loads((device.data / "journal.json").read_text())
    brought = {"data-partition.mender-configure.version": f"configuration-{deployment}"}
    assert ("release-1", brought) == (record["software"]["artifact_name"], record["software"]["provides"])


def test_sub_updater_that_starts_the_client_at_once(device: Device) -> None:
    """A client that starts while the one that handed over is still exiting waits for its end, and then runs."""
    start = '"$MENDER_CLIENT" --root "$root" daemon --no-syslog >"$root/second.log" 2>&1 & echo $! >"$root/second"'
    device.write("plan", f'rm -f "$MENDER_DATA_DIR/update.lock"\n{start}')
    deployment = device.deploy("release-2")
    assert 0 == device.daemon().wait_exit()
    try:
        device.wait_status(deployment, "failure")
    finally:
        os.kill(int((device.root / "second").read_text()), signal.SIGTERM)


def test_session_of_the_sub_updater(device: Device) -> None:
    """The sub-updater leads its own session, runs in the root directory, and gets the Artifact's path."""
    device.write("plan", LEAVE)
    device.deploy("release-2")
    device.daemon().wait_exit()
    wait_until(lambda: (device.root / "process").exists() and (device.root / "process").read_text().endswith("\n"))
    pid, session, argument, directory = (device.root / "process").read_text().split()
    assert pid == session
    assert str(device.data / "artifact.mender") == argument
    assert "/" == directory


def test_sub_updater_outlives_the_daemon(device: Device) -> None:
    """A sub-updater continues if the daemon is killed right after the hand-over, and its report is received."""
    device.write("plan", HOLD + SUCCEED)
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    wait_until(lambda: device.runs)
    daemon.kill()
    (device.root / "go").touch()
    device.wait_status(deployment, "success")
    assert [deployment] == device.runs


def test_output_of_the_sub_updater_is_kept(device: Device) -> None:
    """After a failure the server gets the client's lines and the sub-updater's output, each line as one message."""
    device.write("plan", 'echo "to standard error" >&2; printf "no \\377 text\\n"; ' + FAIL)
    deployment = device.deploy("release-2")
    device.daemon().wait_exit()
    device.wait_status(deployment, "failure")
    assert ["downloading", "installing", "failure"] == device.statuses(deployment)
    log = device.log_of(deployment)
    for words in ("update to release-2", "verified", "installing release-2", "to standard error", "no \ufffd"):
        assert words in log
    assert "the sub-updater reports failure: no room on B" in log
    assert "release-1" == device.run("show-artifact").stdout.strip()


def test_lock_holds_the_deployment_id(device: Device) -> None:
    """The lock file holds the deployment's id and nothing else, readable for every script."""
    device.write("plan", LEAVE)
    deployment = device.deploy("release-2")
    device.daemon().wait_exit()
    assert deployment == device.lock.read_text().strip()
    assert 0o644 == device.lock.stat().st_mode & 0o777


def test_waits_until_accepted(device: Device) -> None:
    """A device that isn't accepted yet waits, reports that once, and continues by itself when it is accepted."""
    device.server.reject(device.id)
    daemon = device.daemon()
    daemon.wait_for("pending acceptance")
    refused = len(device.server.requests)
    wait_until(lambda: len(device.server.requests) >= refused + 2)
    device.server.accept(device.id)
    daemon.wait_for("authorised by")
    wait_until(lambda: device.server.inventory(device.id))
    assert 1 == daemon.text.count("pending acceptance")


def test_inventory_is_sent(device: Device) -> None:
    """The inventory has the scripts' output and the client's own attributes; a repeated key makes a list."""
    device.daemon().wait_for("inventory sent")
    expected = {
        "artifact_name": "release-1",
        "color": "blue",
        "device_type": DEVICE_TYPE,
        "mender_client_version": __version__,
        "port": ["1", "2"],
    }
    assert expected == device.server.inventory(device.id)
    assert {"mac": MAC} == device.server.devices()[0].identity


def test_one_connection_serves_many_cycles(device: Device) -> None:
    """Polling keeps one connection, and a form of the request that the server doesn't know is tried only once."""
    device.daemon()
    wait_until(lambda: sum(one.kind == "next" for one in device.server.requests) >= 4)
    polls = [one for one in device.server.requests if one.kind == "next"]
    assert 1 == len({one.connection for one in device.server.requests})
    assert [404, 204, 204] == [one.status for one in polls[:3]]


def test_lost_token_is_replaced_once(device: Device) -> None:
    """After a 401 the client authorises again and repeats the request, without a message to the operator."""
    daemon = device.daemon()
    wait_until(lambda: [one.status for one in device.server.requests].count(204) == 1)
    device.server.revoke_tokens(device.id)
    daemon.send(signal.SIGUSR1)
    wait_until(lambda: [one.status for one in device.server.requests].count(204) == 2)
    exchanges = [(one.kind, one.status) for one in device.server.requests]
    lost = exchanges.index(("next", 401))
    assert [("next", 401), ("auth", 200), ("next", 204)] == exchanges[lost : lost + 3]
    assert "WARNING" not in daemon.text


def test_decommissioned_and_accepted_again(device: Device) -> None:
    """A device that was removed and accepted again sends its inventory again, although it hasn't changed."""
    daemon = device.daemon()
    daemon.wait_for("inventory sent")
    device.server.auto_accept = True
    device.server.decommission(device.id)
    wait_until(lambda: any(device.server.inventory(one.id) for one in device.server.devices()))


def test_retry_after_wins(device: Device) -> None:
    """A 429 with Retry-After delays the client for the given time, although it would otherwise poll every second."""
    device.configure(RetryPollIntervalSeconds=1)
    device.server.add_fault(Fault(kind="auth", status=429, headers={"Retry-After": "2"}))
    start = time.monotonic()
    device.daemon().wait_for("authorised by")
    assert time.monotonic() - start >= 2.0


def test_broken_download_resumes(device: Device) -> None:
    """A download that is cut is resumed at that point, and the installed payload is complete."""
    device.server.add_fault(Fault(kind="artifact", drop_after_bytes=7000))
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    assert 0 == daemon.wait_exit()
    device.wait_status(deployment, "success")
    assert "download resumed at byte 7000" in daemon.text
    total = (device.root.parent / "release-2.mender").stat().st_size
    assert [7000, total - 7000] == [one.bytes_sent for one in device.server.requests if one.kind == "artifact"]


def test_known_outcome_is_not_installed_twice(device: Device) -> None:
    """If a deployment is offered again although its outcome is known, the stored outcome is reported."""
    deployment = device.deploy("release-2")
    device.daemon().wait_exit()
    device.wait_status(deployment, "success")
    wait_until(lambda: not device.lock.exists())
    device.write("etc/mender/artifact_info", "artifact_name=release-1\n")
    again = device.server.deploy("release-2", [device.id])
    memory = device.journal
    memory["outcomes"][0]["deployment_id"] = again
    device.write("var/lib/mender/journal.json", json.dumps(memory))
    device.daemon()
    device.wait_status(again, "success")
    assert ["success"] == device.statuses(again)
    assert [deployment] == device.runs


def test_half_a_download_survives_a_kill(device: Device) -> None:
    """Bytes that arrived before a kill are verified on disk, and not downloaded again."""
    device.server.add_fault(Fault(kind="artifact", stall_after_bytes=9000))
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    part = device.data / "artifact.mender.part"
    wait_until(lambda: part.exists() and part.stat().st_size == 9000)
    daemon.kill()
    device.daemon().wait_exit()
    device.wait_status(deployment, "success")
    ranges = [one.headers.get("range") for one in device.server.requests if one.kind == "artifact"]
    assert [None, "bytes=9000-"] == ranges
    assert [deployment] == device.runs


def test_abort_is_seen_before_the_hand_over(device: Device) -> None:
    """A deployment that is aborted during its download is never handed over, and the client continues polling."""
    deployment = device.deploy("release-2")
    device.server.subscribe(lambda event: device.server.abort(deployment) if event.name == "download" else None)
    daemon = device.daemon()
    daemon.wait_for("it was aborted on the server")
    assert not device.lock.exists()
    good = device.deploy("release-3")
    assert 0 == daemon.wait_exit()
    device.wait_status(good, "success")
    assert [good] == device.runs


def test_environment_of_the_identity_script(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The identity script gets nothing of the daemon's environment either."""
    monkeypatch.setenv("SECRET_OF_THE_DAEMON", "x")
    device.write_script("usr/share/mender/identity/mender-device-identity", f"env >{device.root}/seen; echo mac={MAC}")
    device.daemon().wait_for("authorised by")
    assert "SECRET" not in (device.root / "seen").read_text()
