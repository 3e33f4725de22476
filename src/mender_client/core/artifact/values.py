"""What an Artifact says about itself, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .codec import Compression

FORMAT_VERSION = 3


@dataclass(frozen=True, slots=True)
class Script:
    """A state script that the Artifact brings.

    Args:
        name: its file name, such as ``ArtifactInstall_Enter_10_check``.
        content: what it says.
        sha256: the digest of the content, lower-case hex.
    """

    name: str
    content: bytes = field(repr=False)
    sha256: str


@dataclass(frozen=True, slots=True)
class File:
    """A file of the payload.

    Args:
        name: its name.
        sha256: its digest, lower-case hex, as the manifest has it.
        size: its length in bytes; None until it has passed by.
        augmented: only the unsigned manifest-augment lists it.
    """

    name: str
    sha256: str
    size: int | None = None
    augmented: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What is to be installed, and what it asks of and leaves on the device.

    Args:
        type: the kind of payload, which names the update module; None for an Artifact without payload.
        provides: what the device provides after the update; None when the Artifact doesn't say.
        depends: by key of the device's provides, the values of which one must be there.
        clears: globs of provides that the update drops; None when the Artifact doesn't say.
        meta_data: free JSON for the update module; None when there is none.
        files: the files, in the manifest's order.
    """

    type: str | None
    provides: Mapping[str, str] | None
    depends: Mapping[str, tuple[str, ...]]
    clears: tuple[str, ...] | None
    meta_data: Mapping[str, Any] | None
    files: tuple[File, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Everything that is known of an Artifact once its header is verified.

    Args:
        artifact_name: the name that the device has after the update.
        artifact_group: the group that it belongs to then; None when the Artifact doesn't say.
        device_types: the device types that it is made for, at least one.
        depends_names: the Artifact names of which one must be installed; empty: any.
        depends_groups: the groups of which the device must be in one; empty: any.
        compression: how header and payload are stored.
        signed: there is a signature; whether it was checked is up to whoever made the reader.
        augmented: there is a manifest-augment, which no signature covers.
        scripts: the state scripts, in the Artifact's order.
        payload: the payload; there is one, be it empty.
    """

    artifact_name: str
    artifact_group: str | None
    device_types: tuple[str, ...]
    depends_names: tuple[str, ...]
    depends_groups: tuple[str, ...]
    compression: Compression
    signed: bool
    augmented: bool
    scripts: tuple[Script, ...]
    payload: Payload

    def describe(self) -> dict[str, Any]:
        """Say everything in plain JSON values, for people and programs; scripts by their digest."""
        return {
            "format_version": FORMAT_VERSION,
            "artifact_name": self.artifact_name,
            "artifact_group": self.artifact_group,
            "compression": self.compression.value,
            "signed": self.signed,
            "augmented": self.augmented,
            "depends": {
                "device_type": list(self.device_types),
                "artifact_name": list(self.depends_names),
                "artifact_group": list(self.depends_groups),
            },
            "scripts": [
                {"name": script.name, "size": len(script.content), "sha256": script.sha256} for script in self.scripts
            ],
            "payloads": [_describe_payload(self.payload)],
        }


def _describe_payload(payload: Payload) -> dict[str, Any]:
    return {
        "type": payload.type,
        "provides": None if payload.provides is None else dict(payload.provides),
        "depends": {key: list(values) for key, values in payload.depends.items()},
        "clears": None if payload.clears is None else list(payload.clears),
        "meta_data": None if payload.meta_data is None else dict(payload.meta_data),
        "files": [
            {"name": file.name, "size": file.size, "sha256": file.sha256, "augmented": file.augmented}
            for file in payload.files
        ],
    }
