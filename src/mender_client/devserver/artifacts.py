"""The Artifacts that the server offers: files in one folder, described by their own headers."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mender_client.devserver.devices import find
from mender_client.devserver.header import read_names
from mender_client.errors import ArtifactError, ServerError

CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Artifact:
    """One Artifact on the server.

    Args:
        id: the server's name for it, also its name in the storage.
        name: the Artifact's name; several Artifacts may share it, each for other device types.
        device_types: the device types that it is for.
        size_bytes: of the whole file.
        etag: changes with the content.
        modified: when it was uploaded.
        path: the file.
    """

    id: str
    name: str
    device_types: tuple[str, ...]
    size_bytes: int
    etag: str
    modified: datetime
    path: Path


def describe(path: Path, artifact_id: str) -> Artifact:
    """Read the header and the digest of a file, in one pass each and never as a whole into memory.

    Raises:
        ServerError: 400 when the file is not an Artifact.
    """
    try:
        name, device_types = read_names(path)
    except ArtifactError as error:
        raise ServerError(f"cannot take {path.name}: {error}", status=400) from error
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    status = path.stat()
    modified = datetime.fromtimestamp(status.st_mtime, timezone.utc)
    return Artifact(artifact_id, name, device_types, status.st_size, digest.hexdigest()[:32], modified, path)


class Artifacts:
    """The collection, kept in a folder that outlives the server.

    Args:
        folder: where the files are; made if it isn't there.
        emit: where events go.
    """

    def __init__(self, folder: Path, emit: Callable[..., None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._emit = emit
        self._artifacts: dict[str, Artifact] = {}

    def __iter__(self) -> Iterator[Artifact]:
        return iter(tuple(self._artifacts.values()))

    def new_path(self) -> Path:
        """A name for a file that is about to be written into the folder; its stem becomes the Artifact's id."""
        return self.folder / f"{uuid.uuid4()}.mender"

    def load(self) -> None:
        """Take in what an earlier server left in the folder; what isn't a whole Artifact is removed."""
        for path in sorted(self.folder.glob("*.mender"), key=lambda one: one.stat().st_mtime):
            try:
                self._artifacts[path.stem] = describe(path, path.stem)
            except ServerError:
                path.unlink()

    def add(self, artifact: Artifact) -> Artifact:
        """Offer an Artifact whose file is in the folder."""
        self._artifacts[artifact.id] = artifact
        self._emit("artifact", **as_json(artifact))
        return artifact

    def get(self, artifact_id: str) -> Artifact:
        """The Artifact with this id or its only prefix.

        Raises:
            ServerError: 404, 409.
        """
        return find("Artifact", self._artifacts, artifact_id)

    def exact(self, artifact_id: str) -> Artifact | None:
        """The Artifact with exactly this id, for the storage."""
        return self._artifacts.get(artifact_id)

    def named(self, name: str) -> list[Artifact]:
        """All Artifacts of this name."""
        return [one for one in self._artifacts.values() if one.name == name]

    def delete(self, artifact_id: str) -> Artifact:
        """Remove an Artifact and its file; links to it end in 404."""
        artifact = self.get(artifact_id)
        del self._artifacts[artifact.id]
        artifact.path.unlink(missing_ok=True)
        self._emit("artifact-deleted", artifact_id=artifact.id, artifact_name=artifact.name)
        return artifact


def as_json(artifact: Artifact) -> dict[str, Any]:
    """The Artifact as JSON values, without the place on disk."""
    return {
        "artifact_id": artifact.id,
        "artifact_name": artifact.name,
        "device_types": list(artifact.device_types),
        "size_bytes": artifact.size_bytes,
    }
