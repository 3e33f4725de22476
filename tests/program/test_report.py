"""``report``: stored first, sent second, never lost, never contradicted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mender_devserver import Event, Fault
from program.stage import HOLD, IDENTITY, LEAVE, Device
from waiting import wait_until


@pytest.fixture
def handed(device: Device) -> str:
    """The id of a deployment that was handed over to a sub-updater, which leaves the report to the test."""
    device.write("plan", 'echo "half done"; ' + LEAVE)
    deployment = device.deploy("release-2")
    assert 0 == device.daemon().wait_exit()
    wait_until(lambda: device.runs)
    return deployment


def test_report_without_a_lock(device: Device) -> None:
    """Without a lock there is nothing to report: exit code 2, and no request to the server."""
    done = device.call("report", "--success")
    assert (2, "") == (done.returncode, done.stdout)
    assert f"nothing to report: no update is in progress ({device.lock} does not exist)" in done.stderr
    assert [] == device.server.requests


@pytest.mark.parametrize("outcome", ["success", "failure"])
def test_report(device: Device, handed: str, outcome: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server receives a report; repeating it changes nothing; the sub-updater removes the lock."""
    monkeypatch.setenv("MENDER_DEPLOYMENT_ID", handed)
    assert 0 == device.run("report", f"--{outcome}").returncode
    assert 0 == device.call("report", f"--{outcome}").returncode
    assert ["downloading", "installing", outcome] == device.statuses(handed)
    assert device.lock.exists()


@pytest.mark.parametrize("content", ["", "two words\n", "../release-2\n"])
def test_report_with_a_lock_that_names_no_deployment(device: Device, handed: str, content: str) -> None:
    """A lock without a valid id is refused with the remedy and kept; once the id is back, the report is sent."""
    device.lock.write_text(content)
    done = device.call("report", "--success")
    remedy = "write the deployment's id back, or remove the file"
    assert (1, content) == (done.returncode, device.lock.read_text())
    assert f"cannot report: {device.lock} names no deployment; {remedy} [REP02]" in done.stderr
    assert ["downloading", "installing"] == device.statuses(handed)
    device.lock.write_text(f"{handed}\n")
    assert 0 == device.call("report", "--success").returncode
    assert ["downloading", "installing", "success"] == device.statuses(handed)


def test_one_command_ends_the_deployment_of_a_dead_sub_updater(device: Device, handed: str) -> None:
    """A failure that is reported by hand ends everything: outcome sent, lock removed, no more advice.

    Until then daemon, ``status`` and ``doctor`` say the same.
    """
    died = "the sub-updater died without reporting, or is waiting for a reboot"
    what_to_do = f"run 'mender-python-client --root {device.root} report --failure'"
    daemon = device.daemon()
    daemon.wait_for("[UPD12]")
    assert 0 == daemon.stop()
    said = (daemon.text, device.call("status").stdout, device.call("doctor").stdout)
    assert [True] * 3 == [died in one and what_to_do in one for one in said], said
    assert "at work" not in said[2]
    done = device.call("report", "--failure", "--reason", "it died")
    assert (0, "") == (done.returncode, done.stdout)
    assert f"removed {device.lock}; start the client" in done.stderr
    assert ["downloading", "installing", "failure"] == device.statuses(handed)
    assert not device.lock.exists()
    assert [False] * 2 == [what_to_do in device.call(one).stdout for one in ("status", "doctor")]
    assert 2 == device.call("report", "--failure").returncode


def test_failure_reported_by_hand_beside_a_sub_updater(device: Device) -> None:
    """As long as the sub-updater runs, the lock is left to it."""
    device.write("plan", HOLD)
    deployment = device.deploy("release-2")
    assert 0 == device.daemon().wait_exit()
    done = device.call("report", "--failure")
    assert (0, True) == (done.returncode, device.lock.exists())
    assert "is still running: " in done.stderr
    assert ["downloading", "installing", "failure"] == device.statuses(deployment)


def test_report_rebooting(device: Device, handed: str) -> None:
    """A reboot can be reported before the outcome, but not after it."""
    assert 0 == device.run("report", "--rebooting").returncode
    assert handed == device.lock.read_text().strip()
    assert 0 == device.call("report", "--success").returncode
    done = device.call("report", "--rebooting")
    assert 1 == done.returncode
    assert f"cannot report rebooting: deployment {handed} was already reported as success" in done.stderr
    assert ["downloading", "installing", "rebooting", "success"] == device.statuses(handed)


def test_report_rebooting_while_the_server_is_down(device: Device, handed: str) -> None:
    """Without the server the status is stored, and is replaced by an outcome that is known before it is sent."""
    device.server.stop()
    done = device.call("report", "--rebooting", "--timeout", "0")
    assert 75 == done.returncode
    assert "; the status is stored, and the daemon will report it" in done.stderr
    device.server.start()
    assert 0 == device.call("report", "--success").returncode
    assert ["downloading", "installing", "success"] == device.statuses(handed)


def test_contradicting_report_is_refused(device: Device, handed: str) -> None:
    """The first report is final: a second, contradicting one exits with 1 and is not sent."""
    assert 0 == device.call("report", "--success").returncode
    done = device.call("report", "--failure")
    assert 1 == done.returncode
    assert f"cannot report failure: deployment {handed} was already reported as success" in done.stderr
    assert ["downloading", "installing", "success"] == device.statuses(handed)


@pytest.mark.parametrize("option", ["--success", "--failure"])
def test_report_of_another_deployment(
    device: Device, handed: str, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """A sub-updater whose deployment is over can't report for the next one."""
    monkeypatch.setenv("MENDER_DEPLOYMENT_ID", "an-earlier-deployment")
    done = device.call("report", option)
    assert (1, "") == (done.returncode, done.stdout)
    assert "cannot report: this is the sub-updater of deployment an-earlier-deployment, which is over" in done.stderr
    assert ["downloading", "installing"] == device.statuses(handed)
    monkeypatch.setenv("MENDER_DEPLOYMENT_ID", handed)
    assert 0 == device.call("report", option).returncode


def test_report_while_the_server_is_down(device: Device, handed: str) -> None:
    """If the server is down ``report`` exits with 75 after --timeout; the daemon sends it later, and the lock goes."""
    device.server.stop()
    done = device.run("report", "--failure", "--reason", "no room", "--timeout", "1")
    assert 75 == done.returncode
    assert "the outcome is stored, and the daemon will report it" in done.stderr
    daemon = device.daemon()
    daemon.wait_for("the sub-updater has reported")
    device.server.start()
    device.wait_status(handed, "failure")
    wait_until(lambda: not device.lock.exists())
    assert ["downloading", "installing", "failure"] == device.statuses(handed)
    assert "reports failure: no room" in device.log_of(handed)
    assert "half done" in device.log_of(handed)
    assert [handed] == device.runs[:1]


def _without_a_key(device: Device) -> str:
    device.key.unlink()
    return "cannot find the device key"


def _with_a_broken_key(device: Device) -> str:
    device.key.write_text("x")
    return "cannot use the device key"


def _without_the_identity_script(device: Device) -> str:
    (device.root / "usr/share/mender/identity/mender-device-identity").unlink()
    return "mender-device-identity: No such file or directory"


def _without_a_client_certificate(device: Device) -> str:
    device.configure(HttpsClient={"Certificate": "/none", "Key": "/none"})
    return "HttpsClient.Certificate: cannot load"


def _with_a_broken_configuration(device: Device) -> str:
    device.write("etc/mender/mender.conf", "{")
    return "is not valid JSON"


def _with_a_broken_key_address(device: Device) -> str:
    device.configure(Security={"AuthPrivateKey": "pkcs11:"})
    return "Security.AuthPrivateKey: it names no key"


SPOILERS: tuple[Callable[[Device], str], ...] = (
    _without_a_key,
    _with_a_broken_key,
    _without_the_identity_script,
    _without_a_client_certificate,
    _with_a_broken_configuration,
    _with_a_broken_key_address,
)


def test_report_with_a_fault_that_waiting_does_not_mend(device: Device, handed: str) -> None:
    """A fault of the device itself is reported immediately, with 75, and the outcome is kept until it is corrected."""
    key = device.key.read_text()
    for spoil in SPOILERS:
        fault = spoil(device)
        done = device.call("report", "--failure", "--reason", "no room", "--timeout", "86400")
        assert (75, "") == (done.returncode, done.stdout)
        assert fault in done.stderr
        assert "; the outcome is stored, and the daemon will report it" in done.stderr
        device.key.write_text(key)
        device.write_script("usr/share/mender/identity/mender-device-identity", IDENTITY)
        device.configure()
    assert 0 == device.call("report", "--failure").returncode
    assert ["downloading", "installing", "failure"] == device.statuses(handed)
    assert "reports failure: no room" in device.log_of(handed)


def test_report_beside_a_daemon(device: Device, handed: str) -> None:
    """``report`` next to a waiting daemon is received once, and the daemon continues when update.lock is removed."""
    daemon = device.daemon()
    daemon.wait_for("for update.lock to be removed")
    device.write("etc/mender/artifact_info", "artifact_name=release-2\n")
    assert 0 == device.call("report", "--success").returncode
    device.lock.unlink()
    daemon.wait_for("update.lock removed")
    assert ["downloading", "installing", "success"] == device.statuses(handed)
    assert daemon.is_alive


def test_report_while_the_daemon_looks(device: Device, handed: str) -> None:
    """A daemon that checks while ``report`` is sending sends nothing itself, and has nothing to warn about."""
    daemon = device.daemon()
    daemon.wait_for("for update.lock to be removed")
    device.server.add_fault(Fault(kind="status", delay_seconds=6.0))  # the daemon checks every four seconds
    assert 0 == device.start("report", "--success").wait_exit()
    device.lock.unlink()
    daemon.wait_for("update.lock removed")
    assert ["downloading", "installing", "success"] == device.statuses(handed)
    assert [] == [words for words in ("another process", "works again") if words in daemon.text]


def test_report_tries_again(device: Device, handed: str) -> None:
    """``report`` tries again after a failure of the server, and loses neither log nor outcome."""
    device.server.add_fault(Fault(kind="log", status=502, body="Bad Gateway"))
    device.server.add_fault(Fault(kind="status", status=500))
    assert 0 == device.call("report", "--failure").returncode
    assert ["downloading", "installing", "failure"] == device.statuses(handed)
    assert "half done" in device.log_of(handed)


def test_report_of_a_lost_answer(device: Device, handed: str) -> None:
    """After a lost response ``report`` repeats its request: the final status is followed only by itself."""
    device.server.add_fault(Fault(kind="status", drop_after_bytes=0, times=2))
    assert 0 == device.call("report", "--success").returncode
    assert {"success"} == set(device.statuses(handed)[2:])


def test_report_after_an_abort(device: Device, handed: str) -> None:
    """If the server has aborted the deployment the report is discarded: exit code 0, and nothing is blocked."""
    device.server.abort(handed)
    done = device.call("report", "--success")
    assert 0 == done.returncode
    assert "it was aborted on the server" in done.stderr
    assert [] == device.journal["outbox"]
    assert "aborted" == device.server.status(handed, device.id)


def test_sub_updater_that_says_nothing(device: Device, handed: str) -> None:
    """If a sub-updater removes the lock without a report, the installed software determines the outcome."""
    device.lock.unlink()
    device.daemon()
    device.wait_status(handed, "failure")
    assert (
        "failed: the sub-updater removed the lock without a report, and artifact_info says 'release-1'"
        in device.log_of(handed)
    )


def test_dead_sub_updater_is_given_up(device: Device) -> None:
    """If a sub-updater dies and leaves the lock, the client gives up after SubUpdaterTimeoutSeconds."""
    device.configure(SubUpdaterTimeoutSeconds=1)
    device.write("plan", LEAVE)
    deployment = device.deploy("release-2")
    device.daemon().wait_exit()
    daemon = device.daemon()
    device.wait_status(deployment, "failure")
    wait_until(lambda: not device.lock.exists())
    assert "the sub-updater has not reported for" in device.log_of(deployment)
    assert daemon.is_alive


def test_child_of_a_dead_sub_updater_is_stopped(device: Device) -> None:
    """Processes that a dead sub-updater has left are killed before its deployment fails and the next one begins."""
    device.configure(SubUpdaterTimeoutSeconds=1)
    device.write("plan", 'sleep 3600 & echo $! >"$root/child"')
    deployment = device.deploy("release-2")
    device.daemon().wait_exit()
    wait_until(lambda: (device.root / "child").exists() and (device.root / "child").read_text().endswith("\n"))
    environment = Path("/proc", (device.root / "child").read_text().strip(), "environ")
    assert deployment in environment.read_text()
    device.daemon()
    device.wait_status(deployment, "failure")
    assert not environment.exists() or not environment.read_text()  # gone, or a zombie


def test_journal_damaged_while_it_is_reported(device: Device, handed: str) -> None:
    """A state file that is damaged between the log and the outcome doesn't lose the outcome."""
    device.server.add_fault(Fault(kind="log", delay_seconds=0.1, times=1))

    def spoil(event: Event) -> None:
        if event.name == "fault":  # the log has arrived and is not acknowledged yet; the outcome is next
            device.write("var/lib/mender/journal.json", "no longer a journal")

    device.server.subscribe(spoil)
    assert 0 == device.start("report", "--failure").wait_exit()
    assert ["no longer a journal"] == [path.read_text() for path in device.data.glob("journal.json.damaged-*")]
    assert "failure" == device.statuses(handed)[-1]
