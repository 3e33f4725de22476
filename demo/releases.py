"""The releases that the demo deploys: Artifacts that it writes, or one that was brought along."""

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
"""A state script in each Artifact; with a sub-updater none runs."""

IMAGE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Release:
    """An Artifact, and what it will make of the device.

    Args:
        path: the file.
        name: the Artifact's name.
        device_type: a type that it is made for.
        payload_type: the kind of payload.
        image_bytes: length of its only payload file, which goes to the partition.
        image_sha256: digest of that file, lower-case hex.
        needs: what a device must provide to get it.
    """

    path: Path
    name: str
    device_type: str
    payload_type: str
    image_bytes: int
    image_sha256: str
    needs: Mapping[str, str] = field(default_factory=dict)


def read_release(path: Path) -> Release:
    """Verify an Artifact and say what a device must be like to take it.

    Raises:
        ArtifactError: it can't be read, is broken, or holds something that no partition can take.
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
    """One way to meet everything that the Artifact depends on."""
    needs = {key: values[0] for key, values in header.payload.depends.items() if values}
    if header.depends_names:
        needs["artifact_name"] = header.depends_names[0]
    if header.depends_groups:
        needs["artifact_group"] = header.depends_groups[0]
    needs.pop("device_type", None)
    return needs


def make_image(name: str, *, is_healthy: bool) -> bytes:
    """A root file system for the demo: two lines that its health check reads, then bytes that don't compress."""
    service = "working" if is_healthy else "broken"
    head = f"release={name}\nservice={service}\n".encode()
    return head + random.Random(name).randbytes(IMAGE_BYTES - len(head))  # noqa: S311 - no secret is made of it


def write_release(directory: Path, name: str, device_type: str, *, is_healthy: bool) -> Release:
    """Write an Artifact with a root file system of a few MiB."""
    image = make_image(name, is_healthy=is_healthy)
    path = directory / f"{name}.mender"
    source = PayloadSource("rootfs.img", len(image), functools.partial(io.BytesIO, image))
    spec = rootfs_image(name, [device_type], scripts={"ArtifactCommit_Enter_10_health-check": HEALTH_CHECK})
    with path.open("wb") as out:
        write_artifact(out, spec, [source])
    return read_release(path)
