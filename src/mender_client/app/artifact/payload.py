"""The Artifact as programs see it, and its payload as files: none of them appears before the whole is verified."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from mender_client.core.artifact import ArtifactReader, PayloadFile
from mender_client.dataclass import dataclass
from mender_client.errors import ArtifactError
from mender_client.system.digest import choose_digest
from mender_client.system.files import storage_errors, sync_directory

from .files import FileStream

_PIECE_BYTES = 256 * 1024


class Writable(Protocol):
    """Something to write to: an open binary file, a raw device."""

    def write(self, data: memoryview, /) -> int | None:
        """Write; returns how many bytes were, None for all."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """An Artifact file, such as ``Client.download`` and the function that installs get.

    Attributes:
        path: the file.
        name: the artifact name.
        group: the group of the device after the update; None when the Artifact doesn't say.
        device_types: the compatible device types.
        payload_type: the kind of payload; None without payload.
        provides: what the device provides after the update, name and group apart.
        clears_provides: globs of the provides that the update removes; None when the Artifact doesn't say.
        meta_data: the meta-data of the payload.
        file_names: the names of the payload's files.
    """

    path: Path
    name: str
    group: str | None
    device_types: tuple[str, ...]
    payload_type: str | None
    provides: Mapping[str, str]
    clears_provides: tuple[str, ...] | None
    meta_data: Mapping[str, Any]
    file_names: tuple[str, ...]

    @classmethod
    def open(cls, path: Path | str) -> Artifact:
        """Read and verify the header. The payload is verified when it is extracted; a signature isn't checked.

        Raises:
            ArtifactError: the Artifact is broken.
            StorageError: the file can't be read.
        """
        with FileStream(os.fspath(path)) as stream:
            header = ArtifactReader(stream).read_header()
        payload = header.payload
        return cls(
            path=Path(path),
            name=header.artifact_name,
            group=header.artifact_group,
            device_types=header.device_types,
            payload_type=payload.type,
            provides=payload.provides or {},
            clears_provides=payload.clears,
            meta_data=payload.meta_data or {},
            file_names=tuple(file.name for file in payload.files),
        )

    def extract(self, directory: Path | str) -> tuple[Path, ...]:
        """Write the payload's files into a directory, which is made if it isn't there.

        They appear there, and replace files of their names, when all of them are verified and on disk. Owner and
        permissions are those of new files of this process.

        Returns:
            Their paths, in the Artifact's order.

        Raises:
            ArtifactError: the Artifact is broken; the directory is as before.
            StorageError: a file can't be read or written.
        """
        return extract(os.fspath(self.path), Path(directory))

    def copy(self, name: str, to: Writable) -> None:
        """Write one file of the payload, an image to a partition for instance, and verify the whole Artifact.

        Bytes are written before the last of them is verified: only when this returns may they be used.

        Args:
            name: one of ``file_names``.
            to: where it goes; it is neither synced nor closed.

        Raises:
            ArtifactError: the Artifact is broken or has no such file.
            StorageError: the Artifact can't be read.
            OSError: the file can't be written.
        """
        with FileStream(os.fspath(self.path)) as stream:
            copy(stream, name, to)


def copy(stream: FileStream, name: str | None, to: Writable) -> None:
    """Write one payload file, by default the only one, and verify the whole Artifact; see ``Artifact.copy``."""
    reader = ArtifactReader(stream, new_digest=choose_digest())
    names = [file.name for file in reader.read_header().payload.files]
    wanted = name if name is not None else _only(names)
    if wanted not in names:
        text = f"cannot find the payload file {wanted!r}: the Artifact has {', '.join(names) or 'none'}"
        raise ArtifactError("ART40", text)
    for file in reader.payload_files():
        if file.name == wanted:
            _pump(file, to)
    reader.finish()


def _only(names: list[str]) -> str:
    if len(names) != 1:
        text = f"cannot choose a payload file: the Artifact has {', '.join(names) or 'none'}"
        raise ArtifactError("ART41", text, remedy="name one")
    return names[0]


def extract(artifact: str, directory: Path) -> tuple[Path, ...]:
    """Write all payload files of an Artifact, or of standard input (``-``); see ``Artifact.extract``."""
    with FileStream(artifact) as stream, storage_errors("write to", directory):
        directory.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=directory, prefix=".", suffix=".tmp") as temporary:
            reader = ArtifactReader(stream, new_digest=choose_digest())
            for file in reader.payload_files():
                with open(Path(temporary, file.name), "xb", buffering=0) as out:
                    _pump(file, out)
                    os.fsync(out.fileno())
            names = [file.name for file in reader.finish().payload.files]
            for name in names:
                os.replace(Path(temporary, name), directory / name)
        sync_directory(directory)
    return tuple(directory / name for name in names)


def _pump(file: PayloadFile, to: Writable) -> None:
    buffer = memoryview(bytearray(_PIECE_BYTES))
    while count := file.readinto(buffer):
        left = buffer[:count]
        while left:
            written = to.write(left)
            left = left[len(left) if written is None else written :]
