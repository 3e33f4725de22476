"""Kills and power cuts at every change of the state file and at random instants leave a consistent device."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from mender_devserver import DevServer

from .kill import Reaper, TwoPartitions

RANDOM_KILLS = 12
SEED = 4


@pytest.fixture
def device(tmp_path: Path) -> Iterator[TwoPartitions]:
    """A device with two partitions."""
    with DevServer(tmp_path / "server", tls=False) as server:
        device = TwoPartitions(tmp_path / "device", server)
        yield device
        device.close()


@pytest.mark.nightly
def test_killed_at_every_change_of_the_journal(device: TwoPartitions) -> None:
    """After a kill or a power cut at any change of the state file, the device reaches one true outcome."""
    reaper = Reaper(device, random.Random(SEED))
    assert reaper.every_change() >= 8
    assert {} == reaper.tally.faults, reaper.tally.said


def test_killed_at_random_instants(device: TwoPartitions, is_nightly: bool) -> None:
    """After kills or power cuts at any instant and in the next life, image, boot loader and name are consistent."""
    reaper = Reaper(device, random.Random(SEED))
    while reaper.tally.kills < (RANDOM_KILLS if is_nightly else 2):
        reaper.kill_at_random()
    assert {} == reaper.tally.faults, reaper.tally.said
