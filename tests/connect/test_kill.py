"""Kills, cuts, stalls and restarts during user sessions."""

from __future__ import annotations

import os
import random

import pytest

from connect.kill import BLOWS, Ring
from program.stage import Device

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the user of the shells is root")

SEED = 15
BLOWS_AT_NIGHT = 50


def test_blows(device: Device, is_nightly: bool) -> None:
    """After any blow no orphan or partial file is left, the device reconnects; terminals end only with the program."""
    rng = random.Random(SEED)
    ring = Ring(device, rng)
    kinds = [*BLOWS, "long_stall", *rng.choices(BLOWS, k=BLOWS_AT_NIGHT)] if is_nightly else ["kill", "cut", "restart"]
    for kind in kinds:
        ring.strike(kind)
    ring.close()
    assert [] == ring.tally.problems
