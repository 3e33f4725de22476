"""``setup --from``: takes over a device of another client of the field, so that the server sees the same device.

What makes it the same: the key, what the identity script prints, and the form in which that is sent. All three stay as
they are. The archived Python client sends each identity value as a list, the Go and C++ clients send a single one as it
is. Those keep the name of what is installed in a database of their own, from which it is read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mender_client.core.lmdb import read_entries
from mender_client.errors import BusyError, DeviceError
from mender_client.system.files import LockFile

from .existing_device import ExistingDevice, content

IDENTITY_FORMATS = {"python": "list", "mender": "plain"}


@dataclass(frozen=True, slots=True)
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
    """See what is there to be taken over.

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
        raise BusyError(
            f"cannot take over: an update is in progress ({paths.update_lock}); let it come to its end first"
        )
    for file, what, remedy in (
        (device.key, "device key", "name its file in Security.AuthPrivateKey"),
        (paths.identity_script, "identity script", "put the script of the other client there"),
    ):
        if file is not None and not file.exists():
            raise DeviceError(
                f"cannot take over: there is no {what} at {file}, and the server would see another device; {remedy}, "
                "or set up without --from"
            )
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
        raise DeviceError(
            f"cannot read what is installed from {store}: {error}; give --artifact-name, as 'mender-update "
            "show-artifact' prints it"
        ) from error
    return {key: value for key, value in provides.items() if value and (key + value).isprintable() and "=" not in key}


def _provides(entries: dict[bytes, bytes]) -> dict[str, str]:
    """What is installed, by the entries of the database; a NUL at the end is no part of a value."""
    name, group, others = (
        entries.get(key, b"").decode().strip("\0")
        for key in (b"artifact-name", b"artifact-group", b"artifact-provides")
    )
    provides = json.loads(others or "{}")
    if not isinstance(provides, dict) or not all(isinstance(value, str) for value in provides.values()):
        raise ValueError("its artifact-provides is no JSON object of texts")
    return {**provides, "artifact_name": name, "artifact_group": group}
