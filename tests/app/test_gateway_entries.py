"""The descriptions of the devices of a gateway."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from calling import call
from mender_client.app.gateway.entries import Found, read_entries


def read(directory: Path) -> Found:
    """Read the descriptions in a directory."""
    return read_entries(directory, Path("/"))


def folder(directory: Path, name: str) -> Path:
    """Create a directory that describes a device, and return it."""
    (directory / name).mkdir()
    (directory / name / "device.json").write_text("{}")
    return directory / name


@pytest.mark.parametrize(
    "name",
    ["a b", "a\nb", "a\x1b[31m", "-a", "_a", "\u00e4", "\udcff", "a" * 65, "a:b", "..."],
    ids=ascii,
)
def test_odd_names(tmp_path: Path, name: str) -> None:
    """A name that can't be used for a directory of the gateway is refused, both as a directory and as an entry."""
    try:
        folder(tmp_path, name)
    except OSError:
        pytest.skip("no such name here")
    (tmp_path / "devices.json").write_text(json.dumps({"Devices": {name: {}, "good": {}}}))
    found = read(tmp_path)
    assert ["good"] == list(found.entries)
    faults = "".join(map(str, found.faults.values()))
    assert name.startswith(".") or "GTW05" in faults
    assert faults.isprintable()


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "/etc", "a\0b"], ids=ascii)
def test_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    """An entry whose name is a path or empty is refused."""
    (tmp_path / "devices.json").write_text(json.dumps({"Devices": {name: {}}}))
    found = read(tmp_path)
    assert [] == list(found.entries)
    assert "GTW05" in str(next(iter(found.faults.values())))


def test_hidden_directories(tmp_path: Path) -> None:
    """A hidden directory isn't a device; it can be renamed once it is complete."""
    folder(tmp_path, ".pump-1")
    assert ({}, {}) == (read(tmp_path).entries, read(tmp_path).faults)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "3",
        '{"Devices": []}',
        '{"Device": {}}',
        "\udcff",
        "[" * 100_000,
        '{"Groups": {"a": 0}}',
        '{"Devices": {"a": {}, "a": {}}}',
    ],
    ids=lambda text: ascii(text)[:20],
)
def test_bad_files(tmp_path: Path, text: str) -> None:
    """An invalid file is reported as a fault of what it describes, and doesn't affect other devices."""
    folder(tmp_path, "good")
    (tmp_path / "devices.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    found = read(tmp_path)
    assert (["good"], [""]) == (list(found.entries), list(found.faults))


@pytest.mark.parametrize(
    "keys",
    [
        {"Identity": {}},
        {"Identity": {"a": 1}},
        {"Identity": ["a"]},
        {"DeviceType": ""},
        {"Group": 1},
        {"Variables": {"A-B": "x"}},
        {"Variables": {"A": "x\0"}},
        {"Typo": "x"},
        [],
    ],
    ids=str,
)
def test_bad_entries(tmp_path: Path, keys: object) -> None:
    """An invalid entry is reported as a fault of its device."""
    (tmp_path / "devices.json").write_text(json.dumps({"Devices": {"bad": keys, "good": {}}}))
    found = read(tmp_path)
    assert (["good"], ["bad"]) == (list(found.entries), list(found.faults))


def test_special_files(tmp_path: Path) -> None:
    """A FIFO or a directory in place of a file is a fault; reading it doesn't block."""
    folder(tmp_path, "pipe").joinpath("device.json").unlink()
    os.mkfifo(tmp_path / "pipe/device.json")
    (tmp_path / "directory/device.json").mkdir(parents=True)
    assert {"pipe", "directory"} == set(read(tmp_path).faults)


def test_config_check(tmp_path: Path) -> None:
    """``config check --devices`` reports faults in each description and in each device's own settings."""
    devices = tmp_path / "devices"
    devices.mkdir()
    config = tmp_path / "mender.conf"
    config.write_text('{"ServerURL": "https://localhost"}')
    words = ("-c", str(config), "-d", str(tmp_path / "data"), "--devices", str(devices), "config", "check")
    folder(devices, "good")
    done = call(*words)
    assert (0, f"{devices}: 1 device, no errors, no warnings\n") == (done.returncode, done.stdout)
    folder(devices, "odd").joinpath("mender.conf").write_text('{"UpdatePollIntervalSeconds": "often", "Odd": 1}')
    folder(devices, "bad").joinpath("device.json").write_text("{")
    done = call(*words)
    assert 78 == done.returncode
    assert "error: bad: cannot use" in done.stdout
    assert re.search("^error: odd: .*UpdatePollIntervalSeconds", done.stdout, re.MULTILINE)
    assert "warning: odd: " in done.stdout
    assert "2 errors, 1 warning\n" in done.stdout
    said = json.loads(call(*words, "--json").stdout)
    assert (2, 1) == (len(said["problems"]), len(said["warnings"]))
    devices.joinpath("odd/mender.conf").write_text('{"ArtifactVerifyKey": "/none.pem"}')
    devices.joinpath("bad/device.json").unlink()
    folder(devices, "open").joinpath("mender.conf").write_text("{}")
    devices.joinpath("open/mender.conf").chmod(0o666)
    problems = json.loads(call(*words, "--json").stdout)["problems"]
    assert ["odd: ArtifactVerifyKey", f"open: {devices}/open/mender.conf"] == [
        re.sub(": (cannot|another) .*", "", one) for one in problems
    ]
