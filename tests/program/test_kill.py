"""kill -9 at every change of the state file and at random instants: nothing lost, nothing doubled, nothing stuck."""

from __future__ import annotations

import random

import pytest

from program.kill import Reaper
from program.stage import Device

RANDOM_KILLS = 12
SEED = 4


@pytest.mark.nightly
def test_killed_at_every_change_of_the_journal(device: Device) -> None:
    """After a kill right after any change of the state file, the client reaches one true outcome without leftovers."""
    reaper = Reaper(device, random.Random(SEED))
    assert reaper.every_change() >= 8
    assert {} == reaper.tally.faults, reaper.tally.said


def test_killed_at_random_instants(device: Device, is_nightly: bool) -> None:
    """After kills at any instant, and again in the next life, the client reaches one true outcome."""
    reaper = Reaper(device, random.Random(SEED))
    while reaper.tally.kills < (RANDOM_KILLS if is_nightly else 3):
        reaper.kill_at_random()
    assert {} == reaper.tally.faults, reaper.tally.said
