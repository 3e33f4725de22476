"""``artifact …``: look into Artifact files without a server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mender_client.core.artifact import ArtifactReader, PayloadFile, Readable
from mender_client.errors import ArtifactError, StorageError

from .exitcodes import ExitCode

_PIECE_BYTES = 256 * 1024


def cat(artifact: str, name: str | None) -> ExitCode:
    """Write one payload file to standard output and prove the whole Artifact on the way.

    Bytes are written before the last of them is proven, because nothing is held back in memory: only when the exit
    code is 0 may they be used.

    Args:
        artifact: the path of the Artifact.
        name: the payload file; None takes the only one.

    Raises:
        ArtifactError: the Artifact is broken or has no such file.
        StorageError: the Artifact can't be opened.
    """
    with _opened(artifact) as stream:
        reader = ArtifactReader(stream)
        names = [file.name for file in reader.read_header().payload.files]
        wanted = name if name is not None else _only(names)
        is_found = False
        for file in reader.payload_files():
            if file.name == wanted:
                is_found = True
                _copy(file)
        reader.finish()
    if not is_found:
        raise ArtifactError(f"cannot find the payload file {wanted!r}; the Artifact has {', '.join(names) or 'none'}")
    return ExitCode.DONE


@contextmanager
def _opened(artifact: str) -> Iterator[Readable]:
    try:
        stream = open(artifact, "rb", buffering=0)  # noqa: SIM115 - the with below closes it
    except OSError as error:
        raise StorageError(f"cannot read {artifact}: {error.strerror}; check the path") from error
    with stream:
        yield stream


def _only(names: list[str]) -> str:
    if len(names) != 1:
        raise ArtifactError(f"cannot choose a payload file: the Artifact has {', '.join(names) or 'none'}; name one")
    return names[0]


def _copy(file: PayloadFile) -> None:
    buffer = memoryview(bytearray(_PIECE_BYTES))
    while count := file.readinto(buffer):
        sys.stdout.buffer.write(buffer[:count])
    sys.stdout.buffer.flush()
