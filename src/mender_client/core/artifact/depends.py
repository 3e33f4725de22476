"""Whether an Artifact fits the device, and what the device provides once it is installed (protocol: Artifact
format, depends and provides)."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping

from mender_client.errors import ArtifactError

from .refusal import shown
from .values import Header

NAME = "artifact_name"
GROUP = "artifact_group"
DEVICE_TYPE = "device_type"

_SHOWN_VALUES = 8


def check_depends(header: Header, *, device_type: str, artifact_name: str, provides: Mapping[str, str]) -> None:
    """Check everything that the Artifact asks of the device.

    The server checks name and device type only, so the rest is for the client.

    Args:
        header: the verified header.
        device_type: what the device is.
        artifact_name: the name of the installed Artifact.
        provides: what else the device provides, ``artifact_group`` included.

    Raises:
        ArtifactError: something isn't met; the message names all that is required and what the device has.
    """
    has = {**provides, DEVICE_TYPE: device_type, NAME: artifact_name}
    fixed = ((DEVICE_TYPE, header.device_types), (NAME, header.depends_names), (GROUP, header.depends_groups))
    required = [(key, values) for key, values in fixed if values] + list(header.payload.depends.items())
    unmet = [_unmet(key, values, has) for key, values in required if has.get(key) not in values]
    if unmet:
        raise ArtifactError(
            "ART07",
            f"cannot accept the Artifact: {shown(header.artifact_name)} doesn't fit this device: "
            + ", and ".join(unmet),
            remedy="deploy one for this device type and for what is installed",
        )


def _unmet(key: str, values: tuple[str, ...], has: Mapping[str, str]) -> str:
    wanted = " or ".join(shown(value) for value in values[:_SHOWN_VALUES]) or "something impossible"
    if len(values) > _SHOWN_VALUES:
        wanted += f" or one of {len(values) - _SHOWN_VALUES} more"
    there = shown(has[key]) if key in has else "none"
    return f"it requires {shown(key)} to be {wanted}, and the device has {there}"


def provides_after(header: Header, stored: Mapping[str, str]) -> dict[str, str]:
    """Say what the device provides after a successful update.

    The stored provides stay but for those that match ``clears_artifact_provides``, then the Artifact's are added.
    An Artifact that says neither leaves only its name and group; one that provides but doesn't clear, clears all.

    Args:
        header: the Artifact's header.
        stored: what the device provides now, ``artifact_name`` and ``artifact_group`` included.

    Returns:
        The new provides, ``artifact_name`` first.
    """
    payload = header.payload
    clears = ("*",) if payload.clears is None else payload.clears
    kept = {key: value for key, value in stored.items() if not any(_matches(key, glob) for glob in clears)}
    after = {**kept, **(payload.provides or {}), NAME: header.artifact_name}
    if header.artifact_group is not None:
        after[GROUP] = header.artifact_group
    return {NAME: after.pop(NAME), **after}


def _matches(key: str, glob: str) -> bool:
    """Match ``*`` and ``?``; a bracket is a bracket, for the format knows no character classes."""
    return fnmatch.fnmatchcase(key, glob.replace("[", "[[]"))
