"""The releases that the demo deploys: Artifacts that it writes, or one given by the user."""

from __future__ import annotations

import functools
import io
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mender_client.core.artifact import ArtifactReader, Header, PayloadSource, rootfs_image, write_artifact
from mender_client.errors import ArtifactError

HEALTH_CHECK = b'#!/bin/sh\nexec "$MENDER_ROOT/usr/bin/health-check"\n'
"""A state script in each Artifact; state scripts are not run with a sub-updater."""

IMAGE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Release:
    """An Artifact, and its requirements on the device.

    Args:
        path: the path of the file.
        name: the artifact name.
        device_type: one of the compatible device types.
        payload_type: the payload type.
        image_bytes: the length of its only payload file, which is written to the partition.
        image_sha256: the SHA-256 digest of that file, in lower-case hexadecimal.
        needs: what a device must provide in order to install it.
    """

    path: Path
    name: str
    device_type: str
    payload_type: str
    image_bytes: int
    image_sha256: str
    needs: Mapping[str, str] = field(default_factory=dict)


def read_release(path: Path) -> Release:
    """Verify an Artifact, and determine what it requires of a device.

    Raises:
        ArtifactError: it can't be read, is invalid, or has a payload that can't be written to a partition.
    """
    try:
        with path.open("rb") as stream:
            header = ArtifactReader(stream).finish()
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}; check the path") from error
    except ArtifactError as error:
        raise ArtifactError(f"cannot use {path}: {error}") from error
    files = header.payload.files
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise ArtifactError(
            f"cannot use {path}: the sub-updater of this demo writes one image to a partition, and the payload "
            f"({header.payload.type or 'no type'}) has {len(files)} files ({names}); take an Artifact with one file"
        )
    return Release(
        path=path,
        name=header.artifact_name,
        device_type=header.device_types[0],
        payload_type=header.payload.type or "",
        image_bytes=files[0].size or 0,
        image_sha256=files[0].sha256,
        needs=_needs(header),
    )


def _needs(header: Header) -> dict[str, str]:
    """A set of provides that meets everything that the Artifact depends on."""
    needs = {key: values[0] for key, values in header.payload.depends.items() if values}
    if header.depends_names:
        needs["artifact_name"] = header.depends_names[0]
    if header.depends_groups:
        needs["artifact_group"] = header.depends_groups[0]
    needs.pop("device_type", None)
    return needs


def make_image(name: str, *, is_healthy: bool) -> bytes:
    """A root file system for the demo: two lines that its health check reads, then incompressible bytes."""
    service = "working" if is_healthy else "broken"
    head = f"release={name}\nservice={service}\n".encode()
    return head + random.Random(name).randbytes(IMAGE_BYTES - len(head))  # noqa: S311 - not used for secrets


def write_release(directory: Path, name: str, device_type: str, *, is_healthy: bool) -> Release:
    """Write an Artifact with a root file system of a few MiB."""
    image = make_image(name, is_healthy=is_healthy)
    path = directory / f"{name}.mender"
    source = PayloadSource("rootfs.img", len(image), functools.partial(io.BytesIO, image))
    spec = rootfs_image(name, [device_type], scripts={"ArtifactCommit_Enter_10_health-check": HEALTH_CHECK})
    with path.open("wb") as out:
        write_artifact(out, spec, [source])
    return read_release(path)
