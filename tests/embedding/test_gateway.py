"""Many devices in one program."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from mender_client import BusyError, Deployment, DeviceDescription, Gateway, UsageError
from mender_devserver import DevServer
from waiting import wait_until


def described(serial: str) -> DeviceDescription:
    """A device with the given serial number."""
    return DeviceDescription(identity={"serial": serial}, device_type="testdev", artifact_name="release-1")


@contextmanager
def running(gateway: Gateway) -> Iterator[None]:
    """Run the gateway in a thread."""
    thread = threading.Thread(target=gateway.run)
    thread.start()
    try:
        yield
    finally:
        gateway.stop()
        thread.join()


def make(server: DevServer, directory: Path) -> Gateway:
    """A gateway that polls every second."""
    settings = {"ServerURL": server.url, "UpdatePollIntervalSeconds": 1, "RetryPollIntervalSeconds": 1}
    return Gateway(settings, data=directory / "data")


def has_reported(gateway: Gateway, name: str) -> bool:
    """Report success as soon as the client waits for the report."""
    try:
        gateway.report(name, success=True)
    except UsageError:
        return False
    return True


def test_updates_of_several_devices(server: DevServer, tmp_path: Path) -> None:
    """Each device is updated by its own function, once; devices can be added and removed while the gateway runs."""
    installed: list[str] = []
    devices = {name: described(name) for name in ("one", "two", "three")}

    def add(name: str) -> None:
        def install(_: Path, deployment: Deployment) -> bool | None:
            installed.append(name)
            devices[name].artifact_name = deployment.artifact_name
            return None if name == "three" else True

        gateway.add(name, devices[name], install=install, group="line")

    def ids() -> dict[str, str]:
        return {str(one.identity["serial"]): one.id for one in server.devices()}

    with make(server, tmp_path) as gateway:
        add("one")
        add("two")
        with running(gateway):
            wait_until(lambda: {"one", "two"} == set(ids()), what="two devices")
            gateway.remove("two")
            add("three")
            wait_until(lambda: "three" in ids(), what="the third device")
            deployment = server.deploy("release-2", [ids()["one"], ids()["three"]])
            gateway.poll_now()
            wait_until(lambda: "three" in installed, what="the third device's installation")
            wait_until(lambda: has_reported(gateway, "three"), what="the moment when its report is waited for")
            ended = {ids()["one"], ids()["three"]}
            wait_until(lambda: all(server.status(deployment, one) == "success" for one in ended), what="both updates")
    assert ["one", "three"] == sorted(installed)


def test_misuse(server: DevServer, tmp_path: Path) -> None:
    """An invalid, used or unknown name, a device without an installer, and a second gateway are refused."""
    with make(server, tmp_path) as gateway:
        gateway.add("one", described("1"), modules={})
        for name in ("one", "../up"):
            with pytest.raises(UsageError):
                gateway.add(name, described("2"), modules={})
        with pytest.raises(UsageError, match="there must be exactly one way to install"):
            gateway.add("two", described("2"))
        with pytest.raises(UsageError, match="does not exist"):
            gateway.remove("two")
        with pytest.raises(BusyError):
            make(server, tmp_path)


def test_example_of_the_guide(server: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program in docs/guide/embed.md adds devices, which get in touch with the server, and runs until stopped."""
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs/guide/embed.md").read_text("utf-8")
    code = page.partition("## Many devices")[2].partition("```python\n")[2].partition("```")[0]
    pumps = [
        SimpleNamespace(name=f"pump-{serial}", description=described(serial), install=lambda *_: True, line="line")
        for serial in ("1", "2")
    ]
    names: dict[str, object] = {"pumps": pumps}
    code = code.replace("https://mender.example.com", server.url)
    program = threading.Thread(target=exec, args=(code, names), daemon=True)
    program.start()
    while not isinstance(gateway := names.get("gateway"), Gateway):
        assert program.is_alive()
        program.join(0.01)
    ids = {"1", "2"}
    wait_until(lambda: not program.is_alive() or ids == {one.identity["serial"] for one in server.devices()})
    assert program.is_alive()
    gateway.stop()
    program.join(60)
    assert not program.is_alive()
