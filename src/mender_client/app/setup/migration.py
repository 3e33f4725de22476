"""``setup --migrate-from``: migrates a device from another Mender client, so that the server sees the same device.

The server recognises the device by its key, by the output of the identity script, and by the format in which that is
sent. All three are preserved. The archived Python client sends each identity value as a list, the Go and C++ clients
send a single value as a string. The latter store the name of the installed Artifact in a database, from which it is
read.
"""

from __future__ import annotations

import json
from pathlib import Path

from mender_client.core.lmdb import read_entries
from mender_client.dataclass import dataclass
from mender_client.errors import BusyError, DeviceError
from mender_client.system.locks import LockFile

from .existing_device import ExistingDevice, content

IDENTITY_FORMATS = {"python": "list", "mender": "plain"}


@dataclass(frozen=True)
class Migration:
    """The data taken over from the other client.

    Attributes:
        identity_format: the format in which it has sent the identity.
        provides: what the device provides according to its database, including the artifact name; empty without one.
        notes: notes for the operator on keys that have no effect in this client.
    """

    identity_format: str
    provides: dict[str, str]
    notes: tuple[str, ...]


def look(origin: str, device: ExistingDevice, *, is_name_given: bool) -> Migration:
    """Read the data of the other client, and check that the server will recognise the device.

    Args:
        origin: the other client, ``python`` or ``mender``.
        device: the device before setup.
        is_name_given: whether the artifact name is given, so that no database is read.

    Raises:
        BusyError: an update is in progress.
        DeviceError: the device key or the identity script is missing, or the database can't be used.
    """
    paths = device.paths
    if LockFile(paths.update_lock).read() is not None:
        text = f"cannot migrate: an update is in progress ({paths.update_lock})"
        raise BusyError("SET11", text, remedy="wait until it has finished")
    for file, what, remedy in (
        (device.key, "device key", "specify its file in Security.AuthPrivateKey"),
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
    """The provides according to the entries of the database; a NUL at the end is not part of a value."""
    name, group, others = (
        entries.get(key, b"").decode().strip("\0")
        for key in (b"artifact-name", b"artifact-group", b"artifact-provides")
    )
    provides = json.loads(others or "{}")
    if not isinstance(provides, dict) or not all(isinstance(value, str) for value in provides.values()):
        raise ValueError("its artifact-provides is not a JSON object of strings")
    return {**provides, "artifact_name": name, "artifact_group": group}
