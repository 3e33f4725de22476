"""The examples in the guide to embedding are working programs."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import forking
from mender_client import Client, DeviceDescription
from mender_client.core.artifact import PayloadSource, module_image, write_artifact
from mender_devserver import DevServer
from program.stage import make_artifact
from waiting import PATIENCE_S

from .pages import examples

PAGE = Path(__file__).parents[2] / "docs/guide/embed.md"
HEADINGS = dict(re.findall(r"^##+ (.+?)\n.*?```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevServer]:
    """A server that accepts all devices and has release-2 for the device type of the examples."""
    with DevServer(tmp_path / "server", tls=False, auto_accept=True) as server:
        server.upload(make_artifact(tmp_path / "release-2.mender", "release-2", device_type="board-1"))
        yield server


def program(heading: str, server: DevServer) -> list[str]:
    """The command that runs an example unchanged, against our server."""
    return [sys.executable, "-c", HEADINGS[heading].replace("https://mender.example.com", server.url)]


def run(heading: str, server: DevServer, directory: Path) -> str:
    """The output of an example."""
    done = forking.run(program(heading, server), directory=directory)
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


@contextmanager
def running(heading: str, server: DevServer, directory: Path) -> Iterator[None]:
    """An example that runs until it is stopped."""
    process = forking.start(program(heading, server), os.environ, 1, 2, directory)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def test_the_examples_work(server: DevServer, tmp_path: Path) -> None:
    """The examples share a data directory one after the other: accepted, updated, and updated by a function."""
    server.auto_accept = False
    assert "accept this device" in run("Register the device and send its inventory", server, tmp_path)
    device_id = server.devices()[0].id
    server.accept(device_id)
    assert "" == run("Register the device and send its inventory", server, tmp_path)
    assert "north" == server.inventory(device_id)["site"]

    first = server.deploy("release-2")
    assert "verified" in run("Poll, download, and report", server, tmp_path)
    assert "success" == server.status(first, device_id)

    shown = server.deploy("release-2", force=True)
    printed = run("Show progress and state", server, tmp_path).splitlines()
    assert "success" == server.status(shown, device_id)
    assert ["release-2: downloading", "release-2: succeeded"] == [printed[0], printed[-1]]
    assert any(line.endswith(" bytes") for line in printed)

    second = server.deploy("release-2", force=True)
    with running("Install with a function", server, tmp_path):
        server.wait_until(lambda: server.status(second, device_id) == "success", timeout_seconds=PATIENCE_S)


def test_people_decide(server: DevServer, tmp_path: Path) -> None:
    """A program lets an operator approve the update that waits for it."""
    settings = {"ServerURL": server.url, "UpdateGates": {"Install": "ask"}}
    device = DeviceDescription(identity={"serial": "1"}, device_type="board-1", artifact_name="release-1")
    with Client(settings, data=tmp_path / "data", device=device, install=lambda artifact, deployment: True) as client:
        client.step()
        (known,) = server.devices()
        deployment = server.deploy("release-2", [known.id])
        client.poll_now()
        client.step()
        assert client.waiting is not None
        exec(HEADINGS["Let people decide"], {"client": client})
        client.step()
        assert "success" == server.status(deployment, known.id)


def upload_model(server: DevServer, place: Path, content: str = "weights") -> None:
    """Run the commands of the example that makes an Artifact."""
    place.mkdir()
    heading = "Install with update modules"
    (commands,) = (block.text for where, block in examples(PAGE) if where == heading and block.language == "sh")
    environment = {**os.environ, "PATH": forking.path()}
    subprocess.run(["sh", "-ec", commands.replace("weights", content)], cwd=place, env=environment, check=True)
    server.upload(place / "model-2.mender")


def install(server: DevServer, directory: Path) -> str:
    """Run the example with update modules until its deployment is over; return its status."""
    run("Register the device and send its inventory", server, directory)
    device_id, deployment_id = server.devices()[0].id, server.deploy("model-2", force=True)
    with running("Install with update modules", server, directory):
        ends = ("success", "failure")
        server.wait_until(lambda: server.status(deployment_id, device_id) in ends, timeout_seconds=PATIENCE_S)
    return server.status(deployment_id, device_id)


@pytest.mark.parametrize(
    ("content", "status", "installed"), [("weights", "success", "weights\n"), ("junk", "failure", "old\n")]
)
def test_an_update_module(server: DevServer, tmp_path: Path, content: str, status: str, installed: str) -> None:
    """The module of the example installs the model; the old one stays if the new one isn't valid."""
    (tmp_path / "model.bin").write_text("old\n")
    upload_model(server, tmp_path / "host", content)
    assert (status, installed) == (install(server, tmp_path), (tmp_path / "model.bin").read_text())


def test_a_reboot(server: DevServer, tmp_path: Path) -> None:
    """The example reboots, exits, and has its update committed when it is started again."""
    (tmp_path / "systemctl").write_text('#!/bin/sh\necho "$1" >>reboots\n')
    (tmp_path / "systemctl").chmod(0o755)
    source = PayloadSource("image", 1, lambda: io.BytesIO(b"1"))
    with (tmp_path / "image-2.mender").open("wb") as file:
        write_artifact(file, module_image("image-2", ["board-1"], "image"), [source])
    server.upload(tmp_path / "image-2.mender")
    run("Register the device and send its inventory", server, tmp_path)
    device_id, deployment_id = server.devices()[0].id, server.deploy("image-2")
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert 0 == forking.run(program("Reboots", server), environment, tmp_path).returncode
    assert ("rebooting", "reboot\n") == (server.status(deployment_id, device_id), (tmp_path / "reboots").read_text())
    with running("Reboots", server, tmp_path):
        server.wait_until(lambda: server.status(deployment_id, device_id) == "success", timeout_seconds=PATIENCE_S)


def test_the_artifact_is_read(server: DevServer, tmp_path: Path) -> None:
    """The payload that the example copies to a partition is the one that the command extracts."""
    (tmp_path / "partition").touch()
    code = HEADINGS["Read the Artifact"].replace("/dev/mmcblk0p3", "partition")
    assert 0 == forking.run([sys.executable, "-c", code], directory=tmp_path).returncode
    argv = [sys.executable, "-m", "mender_client", "artifact", "cat", "release-2.mender"]
    assert forking.run(argv, directory=tmp_path).stdout == (tmp_path / "partition").read_text()
