"""A configuration that is set on the server reaches a device that has a sub-updater."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from waiting import wait_until

from .conftest import MakeDevice
from .stage import Device

MODULE = Path(__file__).parents[2] / "support/modules/v3/mender-configure"
APPLY = "usr/lib/mender-configure/apply-device-config.d"


@pytest.fixture
def device(make_device: MakeDevice) -> Device:
    """A device with a sub-updater and the update module for configurations."""
    device = make_device()
    for name in (APPLY, "usr/share/mender/modules/v3"):
        (device.root / name).mkdir(parents=True)
    shutil.copy(MODULE, device.root / "usr/share/mender/modules/v3")
    device.write_script(f"{APPLY}/10-zone", f'cat "$1" >"{device.root}/zone"\ngrep -qv bad "$1"')
    return device


def test_configuration_arrives(device: Device) -> None:
    """The configuration is applied and reported; the sub-updater isn't started, and the artifact name is kept."""
    device.daemon()
    deployment = device.server.configure(device.id, {"timezone": "UTC"})
    device.wait_over(deployment)
    wait_until(lambda: device.server.devices()[0].reported == {"timezone": "UTC"}, what="the report")
    assert ["downloading", "installing", "installing", "success"] == device.statuses(deployment)
    assert {"timezone": "UTC"} == json.loads((device.root / "zone").read_text())
    assert [] == device.runs
    provides = device.call("show-provides").stdout.splitlines()
    assert "artifact_name=release-1" in provides
    assert f"data-partition.mender-configure.version=configuration-{deployment}" in provides


def test_configuration_that_can_not_be_applied(device: Device) -> None:
    """A program that fails fails the deployment; the previous configuration is applied and reported again."""
    device.daemon()
    for configuration, outcome in (({"a": "good"}, "success"), ({"a": "bad"}, "failure")):
        deployment = device.server.configure(device.id, configuration)
        device.wait_over(deployment)
        assert outcome == device.statuses(deployment)[-1]
    assert "10-zone failed (exit 1)" in device.log_of(deployment)
    assert {"a": "good"} == json.loads((device.root / "zone").read_text())
    wait_until(lambda: device.server.devices()[0].reported == {"a": "good"}, what="the report")


def test_update_goes_to_the_sub_updater(device: Device) -> None:
    """Every other deployment is handed over to the sub-updater as usual."""
    device.daemon()
    deployment = device.deploy("release-2")
    device.wait_over(deployment)
    assert ([deployment], "success") == (device.runs, device.statuses(deployment)[-1])
