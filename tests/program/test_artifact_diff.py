"""``artifact diff`` and the device agree."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from program.stage import Device
from program.test_adaptive import served, with_partitions


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param([700], marks=pytest.mark.nightly),
        [700, 701, 1500, 2040],
        pytest.param([2047], marks=pytest.mark.nightly),
        pytest.param(range(0, 2048, 30), marks=pytest.mark.nightly),
        range(500, 2048),
    ],
)
def test_what_diff_says_is_what_the_device_fetches(device: Device, changed: Sequence[int]) -> None:
    """The number of requests agrees, and the number of bytes but for a kibibyte of the request for the index."""
    artifact = with_partitions(device, blocks=2048, changed=changed)
    done = device.run("artifact", "diff", "--json", str(device.root.parent / "a.img"), str(artifact), root=False)
    assert (0, "") == (done.returncode, done.stderr)
    said = json.loads(done.stdout)
    deployment = device.deploy("release-2", file=artifact)
    assert 0 == device.daemon().wait_exit()
    device.wait_status(deployment, "success")
    fetched, requests = served(device)
    if said["is_adaptive"]:
        assert said["requests"] == requests
    assert abs(said["fetched_bytes"] - fetched) <= 1024
