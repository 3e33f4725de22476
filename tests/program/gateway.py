"""A gateway as a process, with its devices described in a directory."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from calling import call
from mender_client.core.artifact import Compression, PayloadSource, module_image, write_artifact
from mender_devserver import DevServer
from waiting import wait_until

from .stage import PROGRAM, Process

MakeStage = Callable[..., "GatewayStage"]
DEVICE_TYPE = "pump"
MODULE = """
echo "$1" >>"$MENDER_DATA_DIR/calls"
case $1 in
    SupportsRollback) echo Yes ;;
    ArtifactInstall)
        echo "begin $MENDER_DEVICE" >>"$MENDER_DEVICES/order"
        [ ! -e "$MENDER_DEVICES/plan-$MENDER_DEVICE" ] || . "$MENDER_DEVICES/plan-$MENDER_DEVICE"
        cp files/* "$MENDER_DATA_DIR/installed"
        echo "end $MENDER_DEVICE" >>"$MENDER_DEVICES/order"
        ;;
esac
"""
"""Records its calls and the order of the devices, follows the plan of its device, and installs."""


class GatewayStage:
    """A gateway and the descriptions of its devices.

    Args:
        directory: where everything is.
        server: the server, which accepts every device.
        settings: of the gateway.
    """

    def __init__(self, directory: Path, server: DevServer, **settings: object) -> None:
        server.auto_accept = True
        self.server = server
        self.directory = directory
        self.devices = directory / "devices"
        self.data = directory / "data"
        self.config = directory / "mender.conf"
        self.processes: list[Process] = []
        self.devices.mkdir(parents=True)
        usual = {
            "ServerURL": server.url,
            "ServerCertificate": str(server.certificate),
            "UpdatePollIntervalSeconds": 1,
            "RetryPollIntervalSeconds": 1,
        }
        self.write("mender.conf", json.dumps({**usual, **settings})).chmod(0o600)
        self.write_script("devices/modules/pump", MODULE)

    def write(self, name: str, text: str) -> Path:
        """Write a file; missing directories are created."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def write_script(self, name: str, body: str) -> Path:
        """Write an executable shell script."""
        path = self.write(name, f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    def describe(self, devices: Mapping[str, Mapping[str, Any]], groups: Mapping[str, int] | None = None) -> None:
        """Write ``devices.json``; a device without an identity has its name as serial number."""
        usual = {
            name: {"Identity": {"serial": name}, "DeviceType": DEVICE_TYPE, **keys} for name, keys in devices.items()
        }
        document = {"Devices": usual, "Groups": groups or {}}
        new = self.write("devices/.new", json.dumps(document))
        new.replace(self.devices / "devices.json")

    def describe_folder(self, name: str, *, modules: str = "../modules") -> Path:
        """Describe a device with its own directory."""
        self.write_script(f"devices/.{name}/identity", f"echo serial={name}")
        self.write(f"devices/.{name}/device_type", f"device_type={DEVICE_TYPE}\n")
        self.write(f"devices/.{name}/device.json", json.dumps({"Modules": modules}))
        return (self.devices / f".{name}").rename(self.devices / name)

    # -- processes ----------------------------------------------------------------------------------------------

    def argv(self, *arguments: str) -> list[str]:
        """A command of the program for this gateway."""
        common = ["-c", str(self.config), "-d", str(self.data), "--devices", str(self.devices)]
        return [str(PROGRAM), *common, *arguments]

    def start(self, *arguments: str) -> Process:
        """Start the gateway."""
        log = self.directory / f"gateway-{len(self.processes)}.log"
        process = Process(self.argv("gateway", "--no-syslog", *arguments), log, {})
        self.processes.append(process)
        return process

    def run(self, *arguments: str) -> str:
        """Run a command to its end, and return its output."""
        return call(*self.argv(*arguments)[1:]).stdout

    @property
    def said(self) -> str:
        """All output of the gateway."""
        return "".join(process.text for process in self.processes)

    def close(self) -> None:
        """Stop all processes."""
        for process in self.processes:
            if process.is_alive:
                process.send(signal.SIGKILL)
                process.wait_exit()

    # -- observations ---------------------------------------------------------------------------------------------

    def id_of(self, name: str) -> str:
        """The id of a device on the server, as soon as the server knows it."""

        def found() -> list[str]:
            return [one.id for one in self.server.devices() if one.identity.get("serial") == name]

        wait_until(found, what=f"device {name} on the server")
        return found()[0]

    def polls(self, name: str) -> int:
        """How often a device has asked for a deployment."""
        device = self.id_of(name)
        return sum((one.kind, one.device_id) == ("next", device) for one in self.server.requests)

    def deploy(self, artifact: str, *names: str, payload: bytes = b"firmware") -> str:
        """Upload an Artifact and deploy it to these devices."""
        path = self.directory / f"{artifact}.mender"
        write_module_artifact(path, artifact, payload)
        self.server.upload(path)
        return self.server.deploy(artifact, [self.id_of(name) for name in names])

    def wait_for(self, deployment: str, *names: str, status: str = "success") -> None:
        """Wait until a deployment has ended with the given status on these devices."""
        for name in names:
            device = self.id_of(name)
            wait_until(
                lambda device=device: self.server.status(deployment, device) == status,  # type: ignore[misc]
                what=f"{status} of {name}",
            )

    def own(self, name: str, file: str) -> str:
        """A file in the data directory of a device; empty if it doesn't exist."""
        path = self.data / "devices" / name / file
        return path.read_text() if path.exists() else ""

    @property
    def order(self) -> list[str]:
        """When installations have started and ended."""
        path = self.devices / "order"
        return path.read_text().splitlines() if path.exists() else []


def write_module_artifact(path: Path, name: str, payload: bytes) -> None:
    """Write an Artifact for an update module."""
    spec = module_image(name, [DEVICE_TYPE], DEVICE_TYPE, compression=Compression.NONE)
    with path.open("wb") as file:
        write_artifact(file, spec, [PayloadSource("firmware", len(payload), lambda: io.BytesIO(payload))])
