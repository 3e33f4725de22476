"""``setup --migrate-from``: migrates a device from another Mender client, so that the server sees the same device.

It stays the same device by its key, by what the identity script prints, and by the format in which that is sent. All
three stay as they are. The archived Python client sends each identity value as a list, the Go and C++ clients send a
single one as a string. The latter keep the name of the installed Artifact in a database, from which it is read.
"""

from __future__ import annotations

import json
from pathlib import Path

from mender_client.core.lmdb import read_entries
from mender_client.dataclass import dataclass
from mender_client.errors import BusyError, DeviceError
from mender_client.system.files import LockFile

from .existing_device import ExistingDevice, content

IDENTITY_FORMATS = {"python": "list", "mender": "plain"}


@dataclass(frozen=True)
class Migration:
    """What the other client leaves.

    Attributes:
        identity_format: how it has sent the identity.
        provides: what it says is installed, artifact name included; empty when it says nothing.
        notes: what works differently from now on.
    """

    identity_format: str
    provides: dict[str, str]
    notes: tuple[str, ...]


def look(origin: str, device: ExistingDevice, *, is_name_given: bool) -> Migration:
    """Read what the other client left, and check that the device can stay the same one.

    Args:
        origin: ``python`` or ``mender``.
        device: the device of the other client.
        is_name_given: the artifact name is known; what a database says is not asked for.

    Raises:
        BusyError: an update is in progress.
        DeviceError: what makes the device the same one is not there.
    """
    paths = device.paths
    if LockFile(paths.update_lock).read() is not None:
        text = f"cannot migrate: an update is in progress ({paths.update_lock})"
        raise BusyError("SET11", text, remedy="wait until it has finished")
    for file, what, remedy in (
        (device.key, "device key", "name its file in Security.AuthPrivateKey"),
        (paths.identity_script, "identity script", "put the script of the other client there"),
    ):
        if file is not None and not file.exists():
            text = f"cannot migrate: there is no {what} at {file}, and without it the server would see another device"
            raise DeviceError("SET12", text, remedy=f"{remedy}, or run setup without --migrate-from")
    notes = tuple(f"{name}: has no effect in this client" for name in device.findings.ignored)
    is_stored = origin == "mender" and not is_name_given
    provides = _stored_provides(paths.data / "mender-store") if is_stored else {}
    return Migration(IDENTITY_FORMATS[origin], provides, notes)


def _stored_provides(store: Path) -> dict[str, str]:
    data = content(store)
    if data is None:
        return {}
    try:
        provides = _provides(read_entries(data))
    except ValueError as error:
        text = f"cannot read what is installed from {store}: {error}"
        remedy = "pass --artifact-name, as 'mender-update show-artifact' prints it"
        raise DeviceError("SET13", text, remedy=remedy) from error
    return {key: value for key, value in provides.items() if value and (key + value).isprintable() and "=" not in key}


def _provides(entries: dict[bytes, bytes]) -> dict[str, str]:
    """What is installed, by the entries of the database; a NUL at the end is no part of a value."""
    name, group, others = (
        entries.get(key, b"").decode().strip("\0")
        for key in (b"artifact-name", b"artifact-group", b"artifact-provides")
    )
    provides = json.loads(others or "{}")
    if not isinstance(provides, dict) or not all(isinstance(value, str) for value in provides.values()):
        raise ValueError("its artifact-provides is not a JSON object of strings")
    return {**provides, "artifact_name": name, "artifact_group": group}
