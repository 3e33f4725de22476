"""The Python API for Artifacts, and the extraction of payloads: no file appears before the Artifact is verified."""

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
    """An object to write to, such as an open binary file or a raw device."""

    def write(self, data: memoryview, /) -> int | None:
        """Write data; returns how many bytes were written, None for all."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """An Artifact file, such as that whose path ``Client.download`` returns and an ``InstallFunction`` receives.

    Attributes:
        path: the path of the file.
        name: the artifact name.
        group: the group of the device after the update; None if the Artifact doesn't set it.
        device_types: the compatible device types.
        payload_type: the type of the payload; None without a payload.
        provides: what the device provides after the update, except name and group.
        clears_provides: globs of the provides that the update removes; None if the Artifact doesn't set them.
        meta_data: the meta-data of the payload.
        file_names: the names of the payload files.
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
        """Read and verify the header. The payload is verified when it is extracted; a signature is not checked.

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
        """Write the payload files into a directory, which is created if it doesn't exist.

        They appear there, and replace files with the same names, once all of them are verified and on disk. They have
        the owner and permissions of new files of this process.

        Returns:
            The paths of the files, in the order of the Artifact.

        Raises:
            ArtifactError: the Artifact is broken; the files in the directory are unchanged.
            StorageError: a file can't be read or written.
        """
        return extract(os.fspath(self.path), Path(directory))

    def copy(self, name: str, to: Writable) -> None:
        """Write one payload file, for instance an image to a partition, and verify the whole Artifact.

        The data is written before all of it is verified, and must not be used before this returns.

        Args:
            name: one of ``file_names``.
            to: the object to write to; it is neither synced nor closed.

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
        raise ArtifactError("ART41", text, remedy="specify one")
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
