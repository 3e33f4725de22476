"""A program that uses the whole public API, as its author's type checker sees it. Checked, never run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from typing_extensions import assert_type

import mender_client
from mender_client import (
    Artifact,
    ArtifactError,
    AttributeValue,
    BusyError,
    Client,
    ConfigError,
    Deployment,
    DeviceDescription,
    DeviceError,
    Diagnostic,
    ErrorKind,
    GatePoint,
    Gateway,
    InstallFunction,
    Interrupted,
    KeyFileError,
    MenderError,
    NetworkError,
    NotAcceptedError,
    NothingToDecideError,
    ProgressFunction,
    ServerError,
    State,
    StateFunction,
    StorageError,
    StreamedFile,
    UpdateModule,
    UsageError,
    Waiting,
)


def install(artifact: Path, deployment: Deployment) -> bool | None:
    """An installing function in its most general form."""
    assert_type(deployment.id, str)
    assert_type(deployment.artifact_name, str)
    assert_type(deployment.device_types, tuple[str, ...])
    return artifact.exists() or None


def install_image(path: Path, deployment: Deployment) -> bool:
    """A function that reads the Artifact."""
    artifact = Artifact.open(path)
    assert_type(artifact, Artifact)
    assert_type(artifact.name, str)
    assert_type(artifact.group, str | None)
    assert_type(artifact.device_types, tuple[str, ...])
    assert_type(artifact.payload_type, str | None)
    assert_type(artifact.provides, Mapping[str, str])
    assert_type(artifact.clears_provides, tuple[str, ...] | None)
    assert_type(artifact.meta_data, Mapping[str, Any])
    assert_type(artifact.extract("directory"), tuple[Path, ...])
    with open("/dev/partition", "wb", buffering=0) as partition:
        artifact.copy(artifact.file_names[0], partition)
    with open("image", "wb") as image:
        artifact.copy(artifact.file_names[0], image)
    return artifact.name == deployment.artifact_name


def install_now(artifact: Path, deployment: Deployment) -> bool:
    """A function that always knows the installed version."""
    return bool(artifact and deployment)


def show_progress(done_bytes: int, total_bytes: int | None) -> None:
    """A function that displays a download."""
    print(100 * done_bytes // total_bytes if total_bytes else done_bytes)


def show_state(state: State, deployment: Deployment, reason: str) -> None:
    """A function that displays a deployment."""
    print(deployment.artifact_name, state.value, state is State.SUCCEEDED, reason)


def measure() -> dict[str, AttributeValue]:
    """Attributes of every kind."""
    return {"text": "a", "whole": 1, "number": 0.5, "list": ["a", "b"], "numbers": [1, 2.5], "mixed": (1, "a")}


def use(settings: Mapping[str, object]) -> None:
    """Everything that a client can do."""
    device = DeviceDescription(identity={"mac": "02:00"}, device_type="board", artifact_name="one")
    device.inventory = {"one": "value", "several": ["a", "b"]}
    device.provides = {"rootfs-image.version": "one"}
    device.inventory = measure()
    device.inventory = {"only": 1}
    progress: list[ProgressFunction] = [show_progress, lambda done, total: print(done, total)]
    states: list[StateFunction] = [show_state, lambda state, deployment, reason: print(state, reason)]
    functions: list[InstallFunction] = [install, install_image, install_now]
    with Client(settings, data="data", device=device, install=functions[0]) as client:
        assert_type(client, Client)
        client.authorise()
        client.send_inventory()
        assert_type(client.check(), Deployment | None)
        assert_type(client.download(), Path | None)
        client.report(success=False, reason="why")
        assert_type(client.step(), float)
        client.run()
        client.poll_now()
        decide(client)
        client.stop()
    Client({"ServerURL": "https://x"}, data=Path("data"), device=device, passphrase="secret").close()
    Client(settings, data="data", device=device, modules={"a": Module, "b": make_module}, reboot=client.stop).run()
    Client("mender.conf", data="data", device=device, on_progress=progress[0], on_state=states[0]).close()
    Client(Path("mender.conf"), data="data", device=device, on_progress=None, on_state=None, passphrase=None).close()
    assert_type(mender_client.__version__, str)


def decide(client: Client) -> None:
    """Decisions of operators."""
    assert_type(client.waiting, Waiting | None)
    assert_type(client.pause("anna", "why", is_all=True), str)
    client.postpone(datetime.now(timezone.utc), "anna")
    client.approve("anna", point=GatePoint.INSTALL)
    client.unpause("anna", is_all=True)
    try:
        client.refuse("anna")
    except NothingToDecideError as error:
        print(error)


class Module(UpdateModule):
    """An update module."""

    def download(self, files: Iterator[StreamedFile]) -> None:
        """Read everything."""
        for file in files:
            print(file.name, file.size, assert_type(file.read(1), bytes), file.readinto(bytearray(1)))

    def needs_reboot(self) -> Literal["No", "Yes", "Automatic"]:
        """Leave the decision to the client."""
        return "Automatic"


def run_many(device: DeviceDescription) -> None:
    """Many devices in one process."""
    with Gateway({"ServerURL": "https://mender.example.com"}, data="data", workers=4, groups={"line": 1}) as gateway:
        gateway.add("pump", device, modules={"model": Module}, group="line")
        gateway.run()


def make_module(tree: str) -> UpdateModule:
    """A factory for modules that need more than their directory."""
    return Module(tree)


def explain(error: MenderError) -> str | int | tuple[Diagnostic, ...]:
    """What the errors report."""
    if isinstance(error, ConfigError):
        return assert_type(error.problems, tuple[Diagnostic, ...])
    assert_type(error.kind, ErrorKind)
    assert_type(error.diagnostic, Diagnostic)
    if isinstance(error, ServerError):
        return assert_type(error.status, int)
    assert issubclass(NotAcceptedError, ServerError)
    assert issubclass(StorageError, DeviceError)
    assert issubclass(KeyFileError, DeviceError)
    assert issubclass(UsageError, ValueError)
    return str((ArtifactError, BusyError, Interrupted, NetworkError))
