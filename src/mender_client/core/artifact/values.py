"""The metadata of an Artifact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mender_client.dataclass import asdict, dataclass, field

from .codec import Compression

FORMAT_VERSION = 3


@dataclass(frozen=True)
class Script:
    """A state script.

    Args:
        name: its file name, such as ``ArtifactInstall_Enter_10_check``.
        content: its bytes.
        sha256: the digest of the content, lower-case hex.
    """

    name: str
    content: bytes = field(repr=False)
    sha256: str


@dataclass(frozen=True)
class File:
    """A file of the payload.

    Args:
        name: its name.
        sha256: its digest in the manifest, lower-case hex.
        size: its length in bytes; None until it has been read.
        augmented: whether only the unsigned manifest-augment lists it.
    """

    name: str
    sha256: str
    size: int | None = None
    augmented: bool = False


@dataclass(frozen=True, kw_only=True)
class Payload:
    """What is to be installed, and what it requires and provides.

    Args:
        type: the type of the payload, which names the update module; None for an Artifact without payload.
        provides: what the device provides after the update; None if the Artifact doesn't say.
        depends: for each of these keys, the device must provide one of the values.
        clears: globs of the provides that the update removes; None if the Artifact doesn't say.
        meta_data: arbitrary JSON for the update module; None if there is none.
        files: the files, in the manifest's order.
    """

    type: str | None
    provides: Mapping[str, str] | None
    depends: Mapping[str, tuple[str, ...]]
    clears: tuple[str, ...] | None
    meta_data: Mapping[str, Any] | None
    files: tuple[File, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Header:
    """What is known about an Artifact once its header is verified.

    Args:
        artifact_name: the artifact name of the device after the update.
        artifact_group: the group of the device after the update; None if the Artifact doesn't say.
        device_types: the compatible device types, at least one.
        depends_names: one of these Artifacts must be installed; empty for any.
        depends_groups: the device must belong to one of these groups; empty for any.
        compression: how the header is compressed.
        signed: whether there is a signature; it has been verified if the reader was given ``check_signature``.
        augmented: whether there is a manifest-augment, which no signature covers.
        scripts: the state scripts, in the Artifact's order.
        payload: the payload, which may be empty.
        documents: the JSON documents of the header as they are in the Artifact, by file name without directory.
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
    documents: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def describe(self) -> dict[str, Any]:
        """The header as plain JSON values; scripts with their digest instead of their content."""
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
        "files": [asdict(file) for file in payload.files],
    }
