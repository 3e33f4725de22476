"""Whether an Artifact fits the device (protocol: Artifact format, depends)."""

from __future__ import annotations

from collections.abc import Mapping

from mender_client.errors import ArtifactError

from .refusal import shown
from .values import Header

_SHOWN_VALUES = 8


def check_depends(header: Header, *, device_type: str, artifact_name: str, provides: Mapping[str, str]) -> None:
    """Check all requirements of the Artifact; the server checks only name and device type.

    Args:
        header: the verified header.
        device_type: the device's type.
        artifact_name: the name of the installed Artifact.
        provides: what else the device provides, ``artifact_group`` included.

    Raises:
        ArtifactError: a requirement isn't met; the message lists all unmet ones, and what the device has instead.
    """
    has = {**provides, "device_type": device_type, "artifact_name": artifact_name}
    fixed = {
        "device_type": header.device_types,
        "artifact_name": header.depends_names,
        "artifact_group": header.depends_groups,
    }
    required = [*((key, values) for key, values in fixed.items() if values), *header.payload.depends.items()]
    unmet = [_unmet(key, values, has) for key, values in required if has.get(key) not in values]
    if unmet:
        raise ArtifactError(
            "ART07",
            f"cannot accept the Artifact: {shown(header.artifact_name)} doesn't fit this device: "
            + ", and ".join(unmet),
            remedy="deploy one for this device type and the installed software",
        )


def _unmet(key: str, values: tuple[str, ...], has: Mapping[str, str]) -> str:
    wanted = " or ".join(shown(value) for value in values[:_SHOWN_VALUES]) or "something impossible"
    if len(values) > _SHOWN_VALUES:
        wanted += f" or one of {len(values) - _SHOWN_VALUES} more"
    there = shown(has[key]) if key in has else "none"
    return f"it requires {shown(key)} to be {wanted}, and the device has {there}"
