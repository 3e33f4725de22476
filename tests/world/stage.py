"""Artifacts that the worlds share: written once, never changed."""

from __future__ import annotations

import io
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from mender_client.core.artifact import ArtifactSpec, Compression, PayloadSource, rootfs_image, write_artifact


def build_artifact(spec: ArtifactSpec, payload: bytes) -> bytes:
    """The bytes of an Artifact."""
    out = io.BytesIO()
    source = PayloadSource("image", len(payload), lambda: closing(io.BytesIO(payload)))
    write_artifact(out, replace(spec, compression=Compression.NONE), [source])
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class Stage:
    """A directory of Artifacts, each named after its release."""

    directory: Path

    def add(self, name: str, content: bytes) -> Path:
        """Add an Artifact."""
        path = self.directory / f"{name}.mender"
        path.write_bytes(content)
        return path

    def path(self, name: str) -> Path:
        """The path of a release's Artifact."""
        return self.directory / f"{name}.mender"

    def content(self, name: str) -> bytes:
        """A release's Artifact."""
        return self.path(name).read_bytes()

    def contents(self, name: str) -> list[bytes]:
        """A release's Artifact, and the variant with an expanded payload if this stage has one."""
        return [path.read_bytes() for path in (self.path(name), self.path(f"{name}.plain")) if path.exists()]


def make_stage(directory: Path) -> Stage:
    """A stage with the release that most worlds install."""
    stage = Stage(directory)
    stage.add("release-2", build_artifact(rootfs_image("release-2", ("board",)), b"an image " * 100))
    return stage
