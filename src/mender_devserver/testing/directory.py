"""A device in a directory, in which the real client and the sub-updater under test run as processes.

Only the board is simulated. A sub-updater under test requests a reboot by creating ``run/reboot`` below the root
instead of calling ``reboot``; the device then calls its ``boot`` function and restarts the client.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mender_client.core.artifact import Compression, PayloadSource, rootfs_image, write_artifact
from mender_client.errors import DeviceError
from mender_client.system.locks import LockFile
from mender_client.system.process import SystemProcesses
from mender_devserver import DevServer

from .keys import provide_key

_ENDS = ("success", "failure", "aborted", "noartifact", "already-installed")
_LOOK_SECONDS = 0.05
_GRACE_SECONDS = 2.0
_STOP_SECONDS = 15.0
_KILL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an update.

    Attributes:
        status: the final status on the server; "stuck" if the sub-updater ended without a report and left the lock
            file, "unfinished" after the timeout.
        statuses: every status that the server received, in order.
        log: the deployment log that the server received; it is sent only after a failure.
        sub_updater_log: the output of the sub-updater.
        client_log: the output of the client.
    """

    status: str
    statuses: tuple[str, ...]
    log: str
    sub_updater_log: str
    client_log: str


class DirectoryDevice:
    """A device for tests of sub-updaters.

    Args:
        root: its root file system, an empty directory.
        server: its server, which accepts the device from the start.
        device_type: its device type.
        artifact_name: the name of the Artifact that is installed initially.

    Attributes:
        root: its root file system.
        boot: called before the client is started, for example to run the boot step of a sub-updater.
    """

    def __init__(
        self, root: Path, server: DevServer, *, device_type: str = "test-device", artifact_name: str = "release-1"
    ) -> None:
        self.root = root
        self.device_type = device_type
        self.boot: Callable[[], object] = lambda: None
        self._server = server
        self._log = root / "run/client.log"
        self._daemon: subprocess.Popen[bytes] | None = None
        for directory in ("etc/mender", "run", "usr/bin", "usr/share/mender/identity", "usr/share/mender/inventory"):
            (root / directory).mkdir(parents=True, exist_ok=True)
        (root / "var/lib/mender").mkdir(mode=0o700, parents=True)
        self.write("var/lib/mender/device_type", f"device_type={device_type}\n")
        self.write("etc/mender/artifact_info", f"artifact_name={artifact_name}\n")
        self.write_script("usr/share/mender/identity/mender-device-identity", f"echo 'serial={root}'")
        self.configure()
        provide_key(root / "var/lib/mender/mender-agent.pem")
        self.id = self._register()

    # -- files ----------------------------------------------------------------------------------------------

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file below the root; missing directories are created."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def write_script(self, name: str, body: str) -> Path:
        """Write an executable shell script below the root."""
        path = self.write(name, f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    def read(self, name: str) -> str:
        """The text of a file below the root; empty if there is none."""
        path = self.root / name
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def install_sub_updater(self, program: Path | str) -> Path:
        """Install the sub-updater under test where the client looks for it."""
        target = self.root / "usr/share/mender/install"
        shutil.copy(program, target)
        target.chmod(0o755)
        return target

    def configure(self, **keys: object) -> None:
        """Write ``mender.conf`` with these keys and those that a test needs."""
        usual: dict[str, object] = {
            "ServerURL": self._server.url,
            "UpdatePollIntervalSeconds": 1,
            "RetryPollIntervalSeconds": 1,
        }
        if self._server.url.startswith("https"):
            self.write("etc/mender/server.crt", self._server.certificate.read_bytes())
            usual["ServerCertificate"] = "/etc/mender/server.crt"
        self.write("etc/mender/mender.conf", json.dumps({**usual, **keys}))
        (self.root / "etc/mender/mender.conf").chmod(0o600)

    @property
    def artifact_name(self) -> str:
        """The Artifact name in ``artifact_info``."""
        lines = self.read("etc/mender/artifact_info").splitlines()
        return next((line.partition("=")[2] for line in lines if line.startswith("artifact_name=")), "")

    # -- updates -----------------------------------------------------------------------------------------------

    def update(
        self,
        artifact_name: str,
        payload: bytes | Mapping[str, bytes] = b"payload",
        *,
        artifact: Path | None = None,
        timeout_seconds: float = 60.0,
    ) -> Outcome:
        """Deploy an Artifact, which the client and the sub-updater under test install, and wait for the outcome.

        Args:
            artifact_name: the name of the new Artifact.
            payload: the content of the only file in the Artifact, or a mapping of its name to its content.
            artifact: an Artifact to deploy instead of a new one.
            timeout_seconds: how long to wait.
        """
        self._server.upload(artifact or self._make_artifact(artifact_name, payload))
        deployment_id = self._server.deploy(artifact_name, [self.id], force=True)
        status = self._run_until_it_ends(deployment_id, time.monotonic() + timeout_seconds)
        self.power_off()
        return self._outcome(deployment_id, status)

    def run_client(self, *arguments: str) -> str:
        """Run a command of the client, and return its output.

        Raises:
            DeviceError: the command failed.
        """
        done = subprocess.run(self._client(*arguments), capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise DeviceError(f"cannot run the client's {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def power_on(self) -> None:
        """Boot, and start the client."""
        self.boot()
        if self._daemon is None or self._daemon.poll() is not None:
            with self._log.open("ab") as log:
                self._daemon = subprocess.Popen(
                    self._client("daemon", "--no-syslog"), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )

    def power_off(self) -> None:
        """Kill the client and the sub-updater."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None
        end = time.monotonic() + _STOP_SECONDS
        while (worker := self._sub_updater()) is not None and time.monotonic() < end:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)  # one process at a time: it may have started others
            time.sleep(_KILL_SECONDS)

    def _client(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "mender_client", "--root", str(self.root), *arguments]

    def _register(self) -> str:
        before = {device.id for device in self._server.devices()}
        was_open, self._server.auto_accept = self._server.auto_accept, True
        try:
            self.run_client("send-inventory")
        finally:
            self._server.auto_accept = was_open
        return next(device.id for device in self._server.devices() if device.id not in before)

    def _make_artifact(self, name: str, payload: bytes | Mapping[str, bytes]) -> Path:
        ((file_name, content),) = ({"payload": payload} if isinstance(payload, bytes) else payload).items()
        path = self.root / f"run/{name}.mender"
        source = PayloadSource(file_name, len(content), lambda: io.BytesIO(content))
        with path.open("wb") as file:
            write_artifact(file, rootfs_image(name, [self.device_type], compression=Compression.NONE), [source])
        return path

    def _run_until_it_ends(self, deployment_id: str, end: float) -> str:
        idle_since: float | None = None
        self.power_on()
        while time.monotonic() < end:
            status = self._server.status(deployment_id, self.id)
            if status in _ENDS:
                # after its report the sub-updater removes the lock, and may request a reboot
                _wait_until(lambda: self._sub_updater() is None, min(_STOP_SECONDS, end - time.monotonic()))
                return status
            if (self.root / "run/reboot").exists() and self._sub_updater() is None:
                (self.root / "run/reboot").unlink()
                self.power_off()
                self.power_on()
            elif self._daemon is not None and self._daemon.poll() is not None and self._sub_updater() is None:
                if self._lock() is None:
                    self.power_on()  # as the sub-updater or the service manager would do
                idle_since = idle_since or time.monotonic()
                if time.monotonic() - idle_since > _GRACE_SECONDS:
                    return "stuck"
            else:
                idle_since = None
            time.sleep(_LOOK_SECONDS)
        return "unfinished"

    def _outcome(self, deployment_id: str, status: str) -> Outcome:
        log = self._server.log(deployment_id, self.id) or []
        return Outcome(
            status,
            tuple(self._server.statuses(deployment_id, self.id)),
            "\n".join(str(entry["message"]) for entry in log),
            self.read("var/lib/mender/sub-updater.log"),
            self.read("run/client.log"),
        )

    def _lock(self) -> str | None:
        return LockFile(self.root / "var/lib/mender/update.lock").read()

    def _sub_updater(self) -> int | None:
        """The process id of the sub-updater, if it is running."""
        found = SystemProcesses(Path(os.devnull)).find("MENDER_ROOT", str(self.root))
        return None if found is None else found.pid


def _wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
