"""The daemon with a service manager: notifications, a watchdog that detects a hang, and reloading the configuration."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mender_devserver import Event, Fault
from program.stage import Device, Process
from waiting import NEVER_S, wait_until

WATCHDOG_SECONDS = 0.6


BEAT = "WATCHDOG=1"


class Manager:
    """A service manager's end of the notification socket; it reads all the time, since the system's queue is short."""

    def __init__(self) -> None:
        self.address = f"@mender-manager-{os.getpid()}-{id(self)}"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + self.address[1:])
        self.heard: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while said := self.socket.recv(4096):
            self.heard.append(said.decode())

    def _send(self, text: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(text.encode(), "\0" + self.address[1:])

    def close(self) -> None:
        """Stop reading."""
        self._send("")
        self._reader.join()
        self.socket.close()

    def forget(self) -> None:
        """Read all messages so far, and start again."""
        self._send("mark")
        self.wait("mark")
        del self.heard[: self.heard.index("mark") + 1]

    def wait(self, words: str, *, count: int = 1) -> None:
        """Wait until the message was received the given number of times."""
        wait_until(lambda: sum(words in one for one in self.heard) >= count, what=words)

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a service."""
        return {"NOTIFY_SOCKET": self.address, **more}

    @property
    def watchdog(self) -> dict[str, str]:
        """The environment of a service with a watchdog."""
        return self.environment(WATCHDOG_USEC=str(int(WATCHDOG_SECONDS * 1e6)))


@pytest.fixture
def manager() -> Iterator[Manager]:
    """A service manager."""
    manager = Manager()
    yield manager
    manager.close()


def started(device: Device, environment: dict[str, str]) -> Process:
    """A daemon with this environment."""
    return device.start("daemon", "--no-syslog", environment=environment)


def test_notifications(device: Device, manager: Manager) -> None:
    """The manager is notified of readiness, activity and stop; without a watchdog of nothing else."""
    daemon = started(device, manager.environment())
    manager.wait("STATUS=waiting for the next poll")
    assert 0 == daemon.stop()
    manager.wait("STOPPING=1")
    assert ["READY=1", "STATUS=waiting for the next poll", "STATUS=stopped", "STOPPING=1"] == manager.heard


def test_not_ready_without_a_configuration(device: Device, manager: Manager) -> None:
    """A client that can't start never reports that it is ready."""
    device.write("etc/mender/mender.conf", "{")
    assert 78 == started(device, manager.environment()).wait_exit()
    manager.forget()
    assert [] == manager.heard


def test_watchdog_of_an_idle_client(device: Device, manager: Manager) -> None:
    """A client that waits on purpose keeps feeding the watchdog."""
    device.configure(UpdatePollIntervalSeconds=3600)
    started(device, manager.watchdog)
    manager.wait("waiting for the next poll")
    manager.forget()
    manager.wait(BEAT, count=4)
    assert {BEAT} == set(manager.heard)


def test_watchdog_finds_a_hang(device: Device, manager: Manager) -> None:
    """A client that waits for a response that never comes doesn't feed the watchdog, so the manager detects it."""
    device.server.add_fault(Fault(kind="next", delay_seconds=NEVER_S, times=None))
    started(device, manager.watchdog)
    wait_until(lambda: any(one.kind == "next" for one in device.server.requests))
    manager.forget()
    time.sleep(2 * WATCHDOG_SECONDS)
    assert [] == manager.heard


def test_watchdog_during_a_script(device: Device, manager: Manager) -> None:
    """A script that runs within its time limit is no hang."""
    device.write_script("usr/share/mender/inventory/mender-inventory-slow", f'echo >"{device.root}/slow"; sleep 30')
    daemon = started(device, manager.watchdog)
    wait_until((device.root / "slow").exists)
    manager.forget()
    manager.wait(BEAT, count=3)
    daemon.kill()


def test_watchdog_of_another_process(device: Device, manager: Manager) -> None:
    """A watchdog that is meant for another process is ignored."""
    started(device, manager.watchdog | {"WATCHDOG_PID": "1"})
    manager.wait("waiting for the next poll")
    time.sleep(WATCHDOG_SECONDS)
    assert not [one for one in manager.heard if "WATCHDOG" in one]


def test_watchdog_that_is_too_short(device: Device, manager: Manager) -> None:
    """A watchdog interval that would mistake a slow server for a hang causes a warning."""
    daemon = started(device, manager.watchdog)
    daemon.wait_for("WatchdogSec")
    assert "a request may take 120 s" in daemon.text


def test_sub_updater_is_not_the_managers(device: Device, manager: Manager) -> None:
    """The sub-updater gets neither the socket nor the watchdog, and the manager is notified of the hand-over."""
    device.deploy("release-2")
    assert 0 == started(device, manager.watchdog).wait_exit()
    manager.wait("STOPPING=1")
    assert "being installed by the sub-updater" in "\n".join(manager.heard)
    wait_until((device.root / "environment").exists)
    environment = (device.root / "environment").read_text()
    assert "NOTIFY_SOCKET" not in environment
    assert "WATCHDOG" not in environment


def test_sub_updater_that_cannot_be_started(device: Device, manager: Manager) -> None:
    """A client that has announced its stop to the manager exits with an error, so that it is restarted at once."""
    sub_updater = device.root / "usr/share/mender/install"
    sub_updater.write_text("#!/no/such/interpreter\n")
    deployment = device.deploy("release-2")
    daemon = started(device, manager.environment())
    assert 1 == daemon.wait_exit()
    assert "[DMN04]" in daemon.text
    device.wait_status(deployment, "failure")
    manager.wait("STOPPING=1")
    manager.forget()
    again = started(device, manager.environment())
    manager.wait("STATUS=waiting for the next poll")
    assert 0 == again.stop()


def test_sub_updater_that_cannot_be_started_without_a_manager(device: Device) -> None:
    """Without a manager that would restart it, the client continues."""
    sub_updater = device.root / "usr/share/mender/install"
    sub_updater.write_text("#!/no/such/interpreter\n")
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    device.wait_status(deployment, "failure")
    daemon.send(signal.SIGUSR1)
    wait_until(lambda: [one.status for one in device.server.requests].count(204) >= 2)
    assert 0 == daemon.stop()


# -- the configuration read again ------------------------------------------------------------------------------


def test_reload(device: Device, manager: Manager) -> None:
    """SIGHUP reloads the configuration, and the manager is notified; the counters continue."""
    device.configure(UpdatePollIntervalSeconds=3600)
    daemon = started(device, manager.environment())
    daemon.wait_for("inventory sent")
    manager.wait("waiting for the next poll")
    device.configure(UpdatePollIntervalSeconds=3600, DaemonLogLevel="debug")
    daemon.send(signal.SIGHUP)
    daemon.wait_for("configuration reloaded")
    daemon.wait_for("no deployment")  # a line of the level debug, at the end of the second poll
    manager.wait("RELOADING=1\nMONOTONIC_USEC=")
    manager.wait("READY=1", count=2)
    assert ["RELOADING=1", "READY=1"] == [one.partition("\n")[0] for one in manager.heard][-2:]
    assert 0 == daemon.stop()
    status = json.loads((device.data / "status.json").read_text())
    assert 2 == status["counts"]["polls"]


def test_bad_configuration_is_refused(device: Device) -> None:
    """A bad configuration is refused with all its errors, and the old one stays in effect."""
    device.configure(UpdatePollIntervalSeconds=3600)
    daemon = device.daemon()
    daemon.wait_for("inventory sent")
    device.write("etc/mender/mender.conf", '{"ServerURL": 1, "UpdatePollIntervalSeconds": 0}')
    daemon.send(signal.SIGHUP)
    daemon.wait_for("configuration not reloaded; the old one stays in effect")
    assert "ServerURL: must be" in daemon.text
    assert "UpdatePollIntervalSeconds: must be" in daemon.text
    daemon.send(signal.SIGUSR1)
    wait_until(lambda: 2 == [one.status for one in device.server.requests].count(204))
    assert 0 == daemon.stop()


def test_reload_in_a_download(device: Device) -> None:
    """SIGHUP during a download loses nothing: the download is finished first."""
    deployment = device.deploy("release-2", payload=b"image" * 8000)
    daemon = device.daemon()
    sent = list[Event]()

    def reload(event: Event) -> None:
        if event.name == "download":
            daemon.send(signal.SIGHUP)
            sent.append(event)

    device.server.subscribe(reload)
    assert 0 == daemon.wait_exit()
    device.wait_status(deployment, "success")
    assert ([deployment], 1) == (device.runs, len(sent))
    assert "interrupted" not in daemon.text


def test_log_file_is_opened_anew(device: Device, tmp_path: Path) -> None:
    """After SIGHUP the log is written to the file with the current name, even if the configuration is now invalid."""
    log = tmp_path / "mender.log"
    daemon = device.daemon("--log-file", str(log))
    wait_until(lambda: log.exists() and "inventory sent" in log.read_text())
    log.rename(tmp_path / "mender.log.1")
    daemon.send(signal.SIGHUP)
    wait_until(lambda: log.exists() and "configuration reloaded" in log.read_text())
    device.write("etc/mender/mender.conf", "{")
    log.rename(tmp_path / "mender.log.2")
    daemon.send(signal.SIGHUP)
    wait_until(lambda: log.exists() and "the old one stays in effect" in log.read_text())
    assert 0 == daemon.stop()
    assert "the old one stays in effect" not in (tmp_path / "mender.log.2").read_text()


def test_json_lines_name_the_deployment(device: Device) -> None:
    """With --log-format json each line is an object, and each line about a deployment has its id."""
    deployment = device.deploy("release-2")
    daemon = device.daemon("--log-format", "json")
    assert 0 == daemon.wait_exit()
    lines = [json.loads(line) for line in daemon.text.splitlines()]
    about = [line for line in lines if "verified" in line["message"]]
    assert [(deployment, "info")] == [(line["deployment_id"], line["level"]) for line in about]
    assert "deployment_id" not in lines[0]


def test_text_lines_name_the_deployment_once(device: Device) -> None:
    """In the text format a line about a deployment has its id, and only once."""
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    assert 0 == daemon.wait_exit()
    assert f"deployment {deployment}: Artifact release-2 verified" in daemon.text
    assert {1} == {line.count(deployment) for line in daemon.text.splitlines() if deployment in line}


def test_modules_in_a_directory(device: Device) -> None:
    """With ``--root``, the daemon warns at its start about update modules, but not about a sub-updater or scripts."""
    daemon = device.daemon()
    daemon.wait_for("inventory sent")
    assert (0, False) == (daemon.stop(), "FIL23" in daemon.text)
    (device.root / "usr/share/mender/modules/v3").mkdir(parents=True)
    device.write_script("usr/share/mender/modules/v3/single-file", "exit 0")
    again = device.daemon()
    again.wait_for("inventory sent")
    assert (0, 1) == (again.stop(), again.text.count("[FIL23]"))


def test_metrics_file(device: Device) -> None:
    """The daemon writes its metrics to the given file, below the root directory."""
    file = device.root / "mender.prom"
    daemon = device.daemon("--metrics-file", "/mender.prom")
    wait_until(lambda: file.exists() and "mender_client_polls_total 1" in file.read_text())
    assert 0 == daemon.stop()
    assert 'mender_client_state{state="stopped"} 1' in file.read_text()


def test_metrics_file_without_a_directory(device: Device) -> None:
    """If the directory of the metrics file is missing, a warning says so, and names no deployment, even during one."""
    deployment = device.deploy("release-2")
    daemon = device.daemon("--metrics-file", "/no/mender.prom")
    assert 0 == daemon.wait_exit()
    (line,) = [one for one in daemon.text.splitlines() if "mender.prom" in one]
    assert f"cannot write {device.root}/no/mender.prom: No such file or directory; make its directory [STO10]" in line
    assert deployment not in line


def test_status_of_a_killed_daemon(device: Device) -> None:
    """After a daemon was killed, status reports that and the last known state; the next one continues the counters."""
    daemon = device.daemon()
    daemon.wait_for("inventory sent")
    status = device.data / "status.json"
    wait_until(lambda: status.exists() and '"polls": 1' in status.read_text())
    daemon.kill()
    done = device.run("status")
    assert "not running; it was killed, crashed or lost power after" in done.stdout
    assert f"{device.server.url}, last answer at" in done.stdout
    again = device.daemon()
    wait_until(lambda: '"polls": 2' in (device.data / "status.json").read_text())
    assert f"pid {again.pid}, since" in device.run("status").stdout


def test_status_after_a_quick_sub_updater(device: Device) -> None:
    """If the sub-updater has removed the lock before the daemon exits, status says that the daemon stopped."""
    body = 'read pid <"$MENDER_ROOT/pid"\nkill -STOP $pid\nrm -f "$MENDER_DATA_DIR/update.lock"\nkill -CONT $pid'
    device.write_script("usr/share/mender/install", body)
    daemon = device.daemon()
    device.write("pid", f"{daemon.pid}\n")
    device.deploy("release-2")
    assert 0 == daemon.wait_exit()
    said = device.run("status").stdout
    assert "killed" not in said
    assert "not running; it st" in said  # it stopped, or it started the sub-updater


def test_follow_ends_with_ctrl_c(device: Device) -> None:
    """Following the status ends with Ctrl-C, without an error message."""
    follower = device.start("status", "--follow")
    follower.wait_for("the daemon is not running")
    follower.send(signal.SIGINT)
    assert 0 == follower.wait_exit()
    assert "Traceback" not in follower.text
