"""kill -9 at every change of the journal and at random instants: nothing lost, nothing doubled, nothing stuck."""

from __future__ import annotations

import random

import pytest

from program.kill import Reaper, Tally, every_change
from program.stage import Device

RANDOM_KILLS = 12
SEED = 4


def _verdict(tally: Tally) -> tuple[int, int, int, int]:
    return tally.lost, tally.doubled, tally.not_begun, tally.stuck


@pytest.mark.nightly
def test_killed_at_every_change_of_the_journal(device: Device) -> None:
    """Killed right after any change of the journal, the client goes on to one true outcome and leaves nothing over."""
    reaper = Reaper(device, random.Random(SEED))
    changes = every_change(reaper)
    assert changes >= 8
    assert (0, 0, 0, 0) == _verdict(reaper.tally), device.said


def test_killed_at_random_instants(device: Device, is_nightly: bool) -> None:
    """Killed at any instant, and again in its next life, the client goes on to one true outcome."""
    reaper = Reaper(device, random.Random(SEED))
    while reaper.tally.kills < (RANDOM_KILLS if is_nightly else 3):
        reaper.kill_at_random()
    assert (0, 0, 0, 0) == _verdict(reaper.tally), device.said
