"""The Artifacts that the server offers: files in one directory, described by their own headers.

Only the header is verified here; detecting a broken payload is left to the device.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mender_client.core.artifact import ArtifactReader
from mender_client.errors import ArtifactError, ServerError
from mender_devserver.devices import Emit, find

CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Names:
    """The name of an Artifact and the device types it is compatible with.

    Args:
        artifact_name: several Artifacts may share a name, for different device types.
        device_types: the compatible device types.
    """

    artifact_name: str
    device_types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Artifact:
    """One Artifact on the server.

    Args:
        id: assigned by the server; also its name in the storage.
        name: the Artifact name.
        device_types: the compatible device types.
        size_bytes: size of the whole file.
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


def read_names(path: Path) -> Names:
    """Read a file's header.

    Raises:
        ServerError: 400 when the file is not an Artifact.
    """
    try:
        with path.open("rb") as file:
            header = ArtifactReader(file, accept_augmented=True).read_header()
    except ArtifactError as error:
        raise ServerError(str(error), status=400) from error
    return Names(header.artifact_name, header.device_types)


def describe(path: Path, names: Names) -> Artifact:
    """Describe a file, reading it once in pieces; the stem of its name is the id."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    status = path.stat()
    modified = datetime.fromtimestamp(status.st_mtime, timezone.utc)
    etag = digest.hexdigest()[:32]
    return Artifact(path.stem, names.artifact_name, names.device_types, status.st_size, etag, modified, path)


class Artifacts:
    """All Artifacts, kept in a directory that persists when the server ends.

    Args:
        directory: where the files are; created if missing.
        emit: where events go.
    """

    def __init__(self, directory: Path, emit: Emit) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._emit = emit
        self._artifacts: dict[str, Artifact] = {}

    def __iter__(self) -> Iterator[Artifact]:
        return iter(tuple(self._artifacts.values()))

    def load(self) -> None:
        """Load the Artifacts of an earlier run, and remove its incomplete uploads."""
        for path in self.directory.glob("*.part"):
            path.unlink()
        for path in sorted(self.directory.glob("*.mender"), key=lambda one: one.stat().st_mtime):
            if path.stem in self._artifacts:
                continue  # the server was restarted; the Artifact may have been uploaded under another name
            try:
                self._artifacts[path.stem] = describe(path, read_names(path))
            except ServerError:
                continue  # uploaded under another name, which was not saved

    def new_part(self) -> Path:
        """The path of a new file for an upload; ``keep`` turns the file into an Artifact."""
        return self.directory / f"{uuid.uuid4()}.part"

    def keep(self, part: Path, names: Names | None = None) -> Artifact:
        """Describe an uploaded file and give it its final name. Slow for large files, so call it without the lock.

        Args:
            part: the file.
            names: the name and device types to use; ``None`` reads them from the header.

        Raises:
            ServerError: 400 if it isn't an Artifact.
        """
        described = describe(part, names or read_names(part))
        return replace(described, path=part.rename(part.with_suffix(".mender")))

    def add(self, artifact: Artifact) -> Artifact:
        """Add an Artifact that ``keep`` returned."""
        self._artifacts[artifact.id] = artifact
        self._emit("artifact", **as_json(artifact))
        return artifact

    def get(self, artifact_id: str) -> Artifact:
        """The Artifact with this id, or with the only id that starts with it.

        Raises:
            ServerError: 404 if there is none, 409 if there are several.
        """
        return find("Artifact", self._artifacts, artifact_id)

    def exact(self, artifact_id: str) -> Artifact | None:
        """The Artifact with exactly this id, for the storage."""
        return self._artifacts.get(artifact_id)

    def named(self, name: str) -> list[Artifact]:
        """All Artifacts with this name."""
        return [one for one in self._artifacts.values() if one.name == name]

    def delete(self, artifact_id: str) -> Artifact:
        """Remove an Artifact and its file; requests for its links are then answered with 404."""
        artifact = self.get(artifact_id)
        del self._artifacts[artifact.id]
        artifact.path.unlink(missing_ok=True)
        self._emit("artifact-deleted", artifact_id=artifact.id, artifact_name=artifact.name)
        return artifact


def as_json(artifact: Artifact) -> dict[str, Any]:
    """The Artifact as JSON values, without its path."""
    return {
        "artifact_id": artifact.id,
        "artifact_name": artifact.name,
        "device_types": list(artifact.device_types),
        "size_bytes": artifact.size_bytes,
    }
