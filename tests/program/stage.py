"""A device that is a directory, in which the real program runs as processes.

The device's scripts are tiny and told what to do by files, so that a test reads as a story: what the device is, what
goes wrong, what must be seen on both sides.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import forking
from calling import call
from mender_client.core.artifact import Compression, PayloadSource, rootfs_image, write_artifact
from mender_devserver import DevServer
from waiting import PATIENCE_S, wait_until

PROGRAM = forking.PROGRAM
MAC = "02:00:00:00:00:01"
DEVICE_TYPE = "testdev"

IDENTITY = f"echo mac={MAC}"
INVENTORY = "echo color=blue\necho port=1\necho port=2"

SUB_UPDATER = """
root=$MENDER_ROOT
echo "$MENDER_DEPLOYMENT_ID" >>"$root/runs"
cp "$1" "$root/installed.mender"
tr '\\0' '\\n' </proc/$$/environ >"$root/environment"
echo "$$ $(cut -d ' ' -f 6 /proc/$$/stat) $1 $(pwd)" >"$root/process"
echo "installing $MENDER_ARTIFACT_NAME"
. "$root/plan"
"""
"""Records each run and how it was started, then follows the file ``plan``."""

REPORT = """
"$MENDER_CLIENT" --root "$root" report {outcome} --timeout 180 && rm -f "$MENDER_DATA_DIR/update.lock"
echo "report ended with $?"
"""
SUCCEED = """
echo "artifact_name=$MENDER_ARTIFACT_NAME" >"$root/etc/mender/artifact_info"
""" + REPORT.format(outcome="--success")
FAIL = REPORT.format(outcome="--failure --reason 'no room on B'")
LEAVE = ":"
"""Ends immediately and leaves the lock: the test acts as the rest of the sub-updater."""
HOLD = """
turns=0
while [ -e "$root/plan" ] && [ ! -e "$root/go" ] && [ "$turns" -lt 20000 ]; do sleep 0.05; turns=$((turns + 1)); done
"""
"""Works until the file ``go`` appears, which a test that ends sees to, or all files of the test are gone."""


def make_artifact(path: Path, name: str, *, device_type: str = DEVICE_TYPE, payload: bytes = b"image" * 4000) -> Path:
    """Write an uncompressed Artifact, whose size follows from the payload's."""
    source = PayloadSource("rootfs.img", len(payload), lambda: io.BytesIO(payload))
    with path.open("wb") as file:
        write_artifact(file, rootfs_image(name, [device_type], compression=Compression.NONE), [source])
    return path


class Process:
    """A running command of the program; its output goes to a file.

    Args:
        argv: the whole command.
        log: where both outputs go.
        environment: changes to the environment.
    """

    def __init__(self, argv: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        with log.open("wb") as file:
            self.process = forking.start(list(argv), {**os.environ, **environment}, file.fileno(), file.fileno())

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def text(self) -> str:
        """Its output so far."""
        return self._log.read_text("utf-8", "replace")

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def wait_for(self, words: str, *, count: int = 1) -> None:
        """Wait until its output contains this the given number of times."""

        def is_said() -> bool:
            said = self.text.count(words)
            assert said >= count or self.is_alive, f"ended without saying {words!r}:\n{self.text}"
            return said >= count

        try:
            wait_until(is_said)
        except AssertionError as error:
            raise AssertionError(f"never said {words!r}: {error}\n{self.text}") from error

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait_exit(self) -> int:
        """Wait until it has ended, and return the exit code."""
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"did not end within {PATIENCE_S:g} s:\n{self.text}") from error

    def kill(self) -> None:
        """Kill this process, as a power cut does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to exit, as a service manager does, and return the exit code."""
        if self.is_alive:
            self.send(signal.SIGTERM)
        return self.wait_exit()


class Device:
    """One device below ``root``, known to the server by a key made here.

    Args:
        root: its directory.
        server: the server that it talks to.
        program: what it has as the installed program.
        is_preauthorized: let the server trust its key from the start; False leaves the device without a key.
    """

    def __init__(
        self, root: Path, server: DevServer, *, program: Path | None = None, is_preauthorized: bool = True
    ) -> None:
        self.root = root
        self.server = server
        self.program = program or forking.program()
        self.processes: list[Process] = []
        for directory in ("etc/mender", "var/lib/mender", "usr/share/mender/identity", "usr/share/mender/inventory"):
            (root / directory).mkdir(parents=True)
        self.write_script("usr/share/mender/identity/mender-device-identity", IDENTITY)
        self.write_script("usr/share/mender/inventory/mender-inventory-test", INVENTORY)
        self.write_script("usr/share/mender/install", SUB_UPDATER)
        self.write("plan", SUCCEED)
        self.write("var/lib/mender/device_type", f"device_type={DEVICE_TYPE}\n")
        self.write("etc/mender/artifact_info", "artifact_name=release-1\n")
        if server.url.startswith("https"):
            self.write("etc/mender/server.crt", server.certificate.read_text())
        self.configure()
        if is_preauthorized:
            self.id = self.preauthorize()

    def preauthorize(self) -> str:
        """Give the device a key that the server trusts: an elliptic one, which is generated instantly."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        self.write("var/lib/mender/mender-agent.pem", key.private_bytes(pem, pkcs8, _PLAIN).decode())
        self.key.chmod(0o600)
        public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        return self.server.preauthorize({"mac": MAC}, public.decode()).id

    # -- its files ------------------------------------------------------------------------------------------

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.root / "var/lib/mender"

    @property
    def key(self) -> Path:
        """The device key."""
        return self.data / "mender-agent.pem"

    @property
    def lock(self) -> Path:
        """The lock file of the contract with the sub-updater."""
        return self.data / "update.lock"

    @property
    def journal(self) -> dict[str, Any]:
        """The state file of the client; empty if there is none."""
        path = self.data / "journal.json"
        document: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return document

    @property
    def runs(self) -> list[str]:
        """The deployments that the sub-updater was started for, in order."""
        path = self.root / "runs"
        return path.read_text().split() if path.exists() else []

    def write(self, name: str, content: str) -> Path:
        """Write a file below the root."""
        path = self.root / name
        path.write_text(content)
        return path

    def write_script(self, name: str, body: str) -> None:
        """Write an executable shell script below the root."""
        self.write(name, f"#!/bin/sh\n{body}\n").chmod(0o755)

    def configure(self, **keys: Any) -> None:
        """Write ``mender.conf``; a key of None is left out."""
        usual: dict[str, Any] = {
            "ServerURL": self.server.url,
            "UpdatePollIntervalSeconds": 1,
            "InventoryPollIntervalSeconds": 3600,
            "RetryPollIntervalSeconds": 1,
        }
        if self.server.url.startswith("https"):
            usual["ServerCertificate"] = "/etc/mender/server.crt"
        wanted = {name: value for name, value in {**usual, **keys}.items() if value is not None}
        self.write("etc/mender/mender.conf", json.dumps(wanted))

    # -- its deployments ------------------------------------------------------------------------------------

    def deploy(self, name: str, *, file: Path | None = None, **how: Any) -> str:
        """Make the server offer an Artifact to this device; returns the deployment's id.

        Args:
            name: the Artifact's name.
            file: any file, offered under that name; default: a good Artifact.
            how: passed on to ``make_artifact``.
        """
        if file is None:
            path = make_artifact(self.root.parent / f"{name}.mender", name, **how)
            self.server.upload(path)
        else:
            self.server.upload(file, artifact_name=name, device_types=[DEVICE_TYPE])
        return self.server.deploy(name, [self.id])

    def statuses(self, deployment_id: str) -> list[str]:
        """The statuses of a deployment that the server received, in order."""
        return self.server.statuses(deployment_id, self.id)

    def log_of(self, deployment_id: str) -> str:
        """The messages of the deployment's log as the server has it."""
        return "\n".join(entry["message"] for entry in self.server.log(deployment_id, self.id) or [])

    def wait_status(self, deployment_id: str, status: str) -> None:
        """Wait until the server has received a status."""
        wait_until(
            lambda: status in self.statuses(deployment_id),
            what=lambda: f"status {status} (so far {self.statuses(deployment_id)}; {self.said})",
        )

    # -- its processes --------------------------------------------------------------------------------------

    def wait_over(self, deployment_id: str) -> None:
        """Wait until the server has received an outcome, and the lock is gone."""
        wait_until(lambda: self.is_over(deployment_id), what=lambda: f"an outcome ({self.said})")

    def is_over(self, deployment_id: str) -> bool:
        """Whether the server has received an outcome, and the lock is gone."""
        return not {"success", "failure"}.isdisjoint(self.statuses(deployment_id)) and not self.lock.exists()

    def start(
        self, *arguments: str, environment: Mapping[str, str] | None = None, before: Sequence[str] = ()
    ) -> Process:
        """Start the program with these arguments behind ``--root``, and others before it."""
        log = self.root.parent / f"process-{self.root.name}-{len(self.processes)}.log"
        argv = [str(self.program), *before, "--root", str(self.root), *arguments]
        process = Process(argv, log, environment or {})
        self.processes.append(process)
        return process

    def daemon(self, *arguments: str, before: Sequence[str] = ()) -> Process:
        """Start the daemon."""
        return self.start("daemon", "--no-syslog", *arguments, before=before)

    def run(self, *arguments: str, root: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the program to its end; it must not print a traceback."""
        argv = [str(self.program), *(["--root", str(self.root)] if root else []), *arguments]
        done = forking.run(argv)
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Do the same in this process, which takes a tenth of the time; not for the daemon."""
        return call("--root", str(self.root), *arguments)

    @property
    def said(self) -> str:
        """The output of all the device's processes, for the message of a failed test."""
        texts = [process.text for process in self.processes]
        log = self.data / "sub-updater.log"
        return "\n--\n".join([*texts, log.read_text("utf-8", "replace") if log.exists() else ""])

    def close(self) -> None:
        """Stop all processes."""
        (self.root / "go").touch()
        for process in self.processes:
            if process.is_alive:
                process.send(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait_exit()
            except AssertionError:
                process.kill()
                raise


_PLAIN = serialization.NoEncryption()
