"""The power fails at every change to the disk in turn, and the device is booted until it is quiet."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from support.device import NEW, OLD, Device, Shell, find_dash

LAST_EFFECT = 15
"""Each scenario has more effects than that."""

BOOTS = 12
"""More boots than any update needs, with a power cut in between."""

SCENARIOS = ("healthy", "moody", "unhealthy", "panic", "unverified")
"""Moody: the health check passes once and fails ever after; it must not be asked again after the commit."""


def make_device(directory: Path, shell: Shell, scenario: str) -> Device:
    """Builds a device to which one of the SCENARIOS will happen."""
    device = Device(directory / "a device", shell)
    if scenario == "unhealthy":
        device.configure("HEALTH_CHECK=false")
    if scenario == "moody":
        device.configure("""HEALTH_CHECK='mkdir "$MENDER_ROOT/fake/checked"'""")
    if scenario == "unverified":
        device.write("fake/cat-code", "1\n")
    return device


def boots_new_system(device: Device) -> bool:
    """The partition that the boot loader is about to choose."""
    variables = device.boot_variables
    goes_back = variables["upgrade_available"] == "1" and int(variables["bootcount"]) >= 1
    return (variables["mender_boot_part"] == "B") != goes_back


def live(device: Device, scenario: str) -> Iterator[int]:
    """Hands over and boots until the device is quiet; yields each end of the scripts, for a further power cut."""
    code = device.hand_over()
    for _ in range(BOOTS):
        yield code
        if device.is_quiet and code >= 0 and not (device.root / "fake/reboot").exists():
            return
        panics = scenario == "panic" and boots_new_system(device)
        code = device.boot(*(["--panic"] if panics else []))
    raise AssertionError(f"the device never becomes quiet:\n{device.log}")


def check_truth(device: Device, scenario: str) -> None:
    """Asserts that the report matches what runs, what boots, and the device's artifact name."""
    variables = device.boot_variables
    outcomes = set(device.reports)
    if variables["running"] == "B":
        assert (outcomes, scenario) == ({"success"}, scenario), device.log
        assert scenario in ("healthy", "moody")
        assert device.lines("etc/mender/artifact_info") == ["artifact_name=new-2", "artifact_group=lab"]
        assert (device.root / "dev/part-b").read_bytes() == NEW
    else:
        assert outcomes == {"failure"}, device.log
        assert device.lines("etc/mender/artifact_info") == ["artifact_group=lab", "artifact_name=old-1"]
    assert (device.root / "dev/part-a").read_bytes() == OLD
    assert variables["mender_boot_part"] == variables["running"]
    assert variables["upgrade_available"] == "0"
    assert variables["other"] == "kept"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_one_power_cut(tmp_path: Path, shell: Shell, scenario: str, is_nightly: bool) -> None:
    """Wherever the power fails, one true outcome is reported, and neither lock nor state is left."""
    # The whole roads see every point, others every second; every third shows that busybox's commands do the same.
    step = 3 if shell.is_busybox else 1 if scenario in ("healthy", "unhealthy") else 2
    points = count(step, step) if is_nightly else random.Random(scenario).sample(range(1, LAST_EFFECT), 2)
    for effect in points:
        device = make_device(tmp_path / str(effect), shell, scenario)
        device.cut_power_at(effect)
        was_cut = min(live(device, scenario)) < 0
        check_truth(device, scenario)
        if not was_cut:
            break
    assert not is_nightly or effect > LAST_EFFECT


@pytest.mark.parametrize(
    "scenario",
    [one if one in ("healthy", "moody") else pytest.param(one, marks=pytest.mark.nightly) for one in SCENARIOS],
)
def test_two_power_cuts(tmp_path: Path, scenario: str, is_nightly: bool) -> None:
    """The same holds if the power fails a second time, during the recovery."""
    shell = find_dash(tmp_path / "bin")
    if shell is None:
        pytest.skip("dash isn't installed")
    chance = random.Random(2)
    for run in range(6 if is_nightly else 1):
        device = make_device(tmp_path / str(run), shell, scenario)
        device.cut_power_at(chance.randint(1, 30))
        has_second = True
        for code in live(device, scenario):
            if code < 0 and has_second:
                has_second = False
                device.cut_power_at(chance.randint(1, 12))
        check_truth(device, scenario)
