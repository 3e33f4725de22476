"""The device's storage fails temporarily, at any call: the daemon recovers, and the deployment has an outcome."""

from __future__ import annotations

import errno
import random
import sys
from pathlib import Path

import pytest

from program import faulty_storage
from program.stage import Device
from waiting import wait_until

_SAMPLE = 2
_SEED = 5


@pytest.mark.parametrize(("number", "seconds"), [(errno.EIO, 0.0), (errno.ENOSPC, 1.5)], ids=["EIO", "ENOSPC"])
def test_storage_fails_at_any_call(device: Device, number: int, seconds: float, is_nightly: bool) -> None:
    """Whichever call fails, and whatever fails in the next moment, the deployment has one true outcome."""
    calls = _update(device, 0, seconds, number)
    places = range(1, calls + 1)
    for first in places if is_nightly else random.Random(_SEED).sample(places, _SAMPLE):
        _update(device, first, seconds, number)


def _update(device: Device, first: int, seconds: float, number: int) -> int:
    """Let a device update while its storage fails from one call on; return the number of calls."""
    count_file = device.root.with_suffix(".count")
    device.program = Path(sys.executable)
    name = f"release-at-{first}"
    deployment_id = device.deploy(name)
    script = [faulty_storage.__file__, str(device.data), str(count_file), str(first), str(seconds), str(number)]
    daemon = device.daemon(before=script)
    wait_until(lambda: device.is_over(deployment_id) or not (daemon.is_alive or device.lock.exists()))
    if not device.is_over(deployment_id):  # it could not start: its service manager starts it again
        daemon = device.daemon(before=["-m", "mender_client"])
    device.wait_over(deployment_id)
    daemon.stop()
    is_installed = name in (device.root / "etc/mender/artifact_info").read_text()
    assert ("success" if is_installed else "failure") == device.statuses(deployment_id)[-1], device.said
    assert device.runs.count(deployment_id) <= 1
    return int(count_file.read_text())
