"""The locations of all files, with and without --root."""

from __future__ import annotations

from pathlib import Path

import pytest

from mender_client.app.paths import Paths

DEVICE = {
    "config": "/etc/mender/mender.conf",
    "fallback_config": "/var/lib/mender/mender.conf",
    "data": "/var/lib/mender",
    "key": "/var/lib/mender/mender-agent.pem",
    "device_type": "/var/lib/mender/device_type",
    "artifact": "/var/lib/mender/artifact.mender",
    "update_lock": "/var/lib/mender/update.lock",
    "daemon_lock": "/var/lib/mender/daemon.lock",
    "sub_updater_log": "/var/lib/mender/sub-updater.log",
    "artifact_info": "/etc/mender/artifact_info",
    "identity_script": "/usr/share/mender/identity/mender-device-identity",
    "inventory_directory": "/usr/share/mender/inventory",
    "sub_updater": "/usr/share/mender/install",
    "modules_directory": "/usr/share/mender/modules/v3",
    "module_tree": "/var/lib/mender/modules/v3/payloads/0000/tree",
    "root_scripts": "/etc/mender/scripts",
    "artifact_scripts": "/var/lib/mender/scripts",
}


@pytest.mark.parametrize("name", DEVICE)
def test_defaults(name: str) -> None:
    """The default paths are those of the contract, and --root applies to each of them."""
    assert Path(DEVICE[name]) == getattr(Paths.locate(), name)
    assert Path("/image" + DEVICE[name]) == getattr(Paths.locate(root="/image"), name)


def test_moved_directories() -> None:
    """Programs get an environment variable for each directory that isn't at its default location, and for no other."""
    assert {} == Paths.locate().moved()
    assert {"MENDER_CONF_DIR": "/c"} == Paths.locate(config="/c/mender.conf").moved()
    assert {"MENDER_DATASTORE_DIR": "/d"} == Paths.locate(data="/d").moved()
    below = {"MENDER_CONF_DIR": "/image/etc/mender", "MENDER_DATASTORE_DIR": "/image/var/lib/mender"}
    assert {**below, "MENDER_ROOT": "/image"} == Paths.locate(root="/image").moved()


def test_data_moves_the_fallback() -> None:
    """By default, the fallback configuration is in the data directory, wherever that is."""
    assert Path("/data/mender.conf") == Paths.locate(data="/data").fallback_config
    assert Path("/f") == Paths.locate(data="/data", fallback_config="/f").fallback_config


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("/data", "/image/data"),
        ("data", "/image/data"),
        ("/image/data", "/image/data"),
        ("//data", "/image/data"),
        ("/../data", "/image/data"),
        ("../../data", "/image/data"),
        ("/data/../x", "/image/x"),
    ],
)
def test_below_the_root(given: str, found: str) -> None:
    """A path is moved below the root unless it is already there, and can't lead out of it."""
    assert Path(found) == Paths.locate(root="/image", data=given).data
    assert Path(found) == Paths.locate(root="/image").below_root(given)


@pytest.mark.parametrize("root", ["/", "//", "/.", ""])
def test_root_of_the_device(root: str) -> None:
    """If the root is the device's own, however it is written, paths are unchanged."""
    assert Path("/var/lib/mender") == Paths.locate(root=root).data
