"""Updates that wait at a gate: decisions in other processes than the daemon, and the queries of a sub-updater."""

from __future__ import annotations

import json
import os
import signal

import pytest

from mender_client.app.decide import person
from mender_client.app.exitcodes import ExitCode
from program.stage import FAIL, SUCCEED, Device
from waiting import wait_until

GATE = '"$MENDER_CLIENT" --root "$root" gate {point} --wait\ncode=$?\necho "gate: $code"\n'
OR_FAIL = f'if [ "$code" -ne 0 ]; then {FAIL}\nexit; fi\n'


def wait_for_gate(device: Device, *words: str) -> None:
    """Wait until ``status`` says this."""
    wait_until(
        lambda: all(word in device.call("status").stdout for word in words),
        what=lambda: f"{words} in {device.call('status').stdout} ({device.said})",
    )


def test_approval(device: Device) -> None:
    """An update waits for approval, also over a restart of the client, is shown as paused, and continues at once."""
    device.configure(UpdateGates={"Install": "ask"}, UpdatePollIntervalSeconds=3600)
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    device.wait_status(deployment, "pause_before_installing")
    wait_for_gate(device, "waiting before the installation", f"'mender-python-client --root {device.root} approve'")
    assert 0 == daemon.stop()
    daemon = device.daemon()
    daemon.wait_for("before the installation", count=1)
    assert [] == device.runs
    assert ExitCode.DONE == device.run("approve", "--reason", "looks good").returncode
    assert 0 == daemon.wait_exit()
    device.wait_over(deployment)
    assert ("success", [deployment]) == (device.statuses(deployment)[-1], device.runs)


def test_pause_and_continue(device: Device) -> None:
    """A pause of all updates holds the next one before its download; ``continue --all`` releases it immediately."""
    device.configure(UpdatePollIntervalSeconds=3600)
    assert ExitCode.DONE == device.run("pause", "--all", "--reason", "exhibition").returncode
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    wait_for_gate(device, "before the download", "exhibition", f"--root {device.root} continue --all'")
    assert [] == [one for one in device.server.requests if one.kind == "artifact"]
    document = json.loads(device.run("status", "--json").stdout)
    assert ("download", "pause") == (document["update"]["gate"]["point"], document["hold_of_all"]["kind"])
    assert ExitCode.DONE == device.run("continue", "--all").returncode
    assert 0 == daemon.wait_exit()
    device.wait_over(deployment)


@pytest.mark.parametrize("is_running", [True, False], ids=["daemon", "stopped"])
def test_refusal(device: Device, is_running: bool) -> None:
    """A refused update fails, with who and why in the log that the server gets, with and without a running daemon."""
    device.configure(UpdateGates={"Install": "ask"}, UpdatePollIntervalSeconds=3600)
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    device.wait_status(deployment, "pause_before_installing")
    if not is_running:
        daemon.stop()
    assert ExitCode.DONE == device.run("refuse", "--reason", "wrong machine").returncode
    if not is_running:
        daemon = device.daemon()
    device.wait_status(deployment, "failure")
    wait_until(lambda: f"refused by {person(os.environ)}: wrong machine" in device.log_of(deployment))
    assert [] == device.runs
    daemon.stop()


def test_aborted_while_it_waits(device: Device) -> None:
    """A waiting deployment that is aborted ends with the next poll, and the device is free for the next one."""
    device.configure(UpdateGates={"Install": "ask"}, UpdatePollIntervalSeconds=3600)
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    device.wait_status(deployment, "pause_before_installing")
    wait_for_gate(device, "waiting before the installation")
    device.server.abort(deployment)
    daemon.send(signal.SIGUSR1)
    daemon.wait_for("aborted")
    wait_until(lambda: device.journal["update"] is None)
    following = device.deploy("release-3")
    daemon.send(signal.SIGUSR1)
    device.wait_status(following, "pause_before_installing")
    daemon.stop()
    assert [] == device.runs


def test_sub_updater_waits_for_the_reboot(device: Device) -> None:
    """A sub-updater asks before it reboots; it waits without a daemon, and continues when the reboot is approved."""
    device.configure(UpdateGates={"Reboot": "ask"}, UpdatePollIntervalSeconds=3600)
    device.write("plan", GATE.format(point="reboot") + OR_FAIL + SUCCEED)
    deployment = device.deploy("release-2")
    assert 0 == device.daemon().wait_exit()
    device.wait_status(deployment, "pause_before_rebooting")
    wait_for_gate(device, "before the reboot, closed since", "nobody has approved it yet")
    asked = device.run("gate", "reboot")
    assert (ExitCode.LATER, "not yet: the update is waiting before the reboot: nobody has approved it yet\n") == (
        asked.returncode,
        asked.stdout,
    )
    assert ExitCode.DONE == device.run("gate", "commit").returncode
    assert ExitCode.DONE == device.run("approve").returncode
    device.wait_over(deployment)
    assert ["downloading", "installing", "pause_before_rebooting", "success"] == device.statuses(deployment)


@pytest.mark.parametrize("how", ["refused", "aborted"])
def test_sub_updater_may_not_go_on(device: Device, how: str) -> None:
    """A waiting sub-updater ends with another exit code if the update is refused, or aborted on the server."""
    device.configure(UpdateGates={"Reboot": "ask"})
    device.write("plan", GATE.format(point="reboot") + OR_FAIL + SUCCEED)
    deployment = device.deploy("release-2")
    assert 0 == device.daemon().wait_exit()
    device.wait_status(deployment, "pause_before_rebooting")
    if how == "refused":
        assert ExitCode.DONE == device.run("refuse").returncode
    else:
        device.server.abort(deployment)
    wait_until(lambda: "gate: 1" in device.said and not device.lock.exists(), what=device.said)
    assert ("failure" if how == "refused" else "pause_before_rebooting") == device.statuses(deployment)[-1]


def test_gate_that_is_open(device: Device) -> None:
    """If no gate is configured and no updates are paused, a sub-updater continues."""
    for point in ("reboot", "commit"):
        asked = device.run("gate", point)
        assert (ExitCode.DONE, "") == (asked.returncode, asked.stdout)


def test_gate_that_is_asked_by_hand(device: Device) -> None:
    """If no sub-updater is at work, the answer is the same, and a waiting update isn't affected."""
    device.configure(UpdateGates={"Install": "ask", "Reboot": "ask"}, UpdatePollIntervalSeconds=3600)
    assert ExitCode.LATER == device.run("gate", "reboot").returncode
    device.deploy("release-2")
    daemon = device.daemon()
    wait_for_gate(device, "waiting before the installation")
    wait_until(lambda: device.journal["update"]["waiting"]["is_told"])
    before = device.journal["update"]["waiting"]
    asked = device.run("gate", "reboot")
    assert (ExitCode.LATER, "not yet: nobody has approved it yet\n") == (asked.returncode, asked.stdout)
    assert before == device.journal["update"]["waiting"]
    assert ExitCode.DONE == device.run("pause", "--all").returncode
    assert "paused by" in device.run("gate", "commit").stdout
    daemon.stop()


def test_gate_that_cannot_be_asked(device: Device) -> None:
    """If the configuration is wrong, the answer is "not yet", and why."""
    device.write("etc/mender/mender.conf", "{")
    asked = device.run("gate", "reboot")
    assert ExitCode.LATER == asked.returncode
    assert "not yet" in asked.stderr
