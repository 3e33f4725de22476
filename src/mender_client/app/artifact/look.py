"""``artifact show``, ``verify``, ``cat`` and ``extract``.

Each verifies the complete Artifact in one pass, from a file or a pipe.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mender_client.app.exitcodes import ExitCode
from mender_client.core.artifact import ArtifactReader, BlockIndex, Header, check_depends
from mender_client.core.artifact.block_index import BLOCK_BYTES, MEMBER_BYTES
from mender_client.core.artifact.repack import IndexNote
from mender_client.dataclass import replace
from mender_client.errors import ConfigError, KeyFileError
from mender_client.system.digest import choose_digest

from . import payload
from .files import FileStream, StandardOutput, emit
from .payload import copy
from .text import as_text, safe


def show(artifact: str, *, is_json_wanted: bool) -> ExitCode:
    """Verify an Artifact and print its content; this includes augmented Artifacts, which a device refuses.

    Raises:
        ArtifactError: the Artifact is broken.
        StorageError: it can't be read.
    """
    note = IndexNote()
    with FileStream(artifact) as stream:
        header = ArtifactReader(stream, accept_augmented=True, new_digest=choose_digest(), expander=note).finish()
    text = _as_json(header, note.index) if is_json_wanted else as_text(header, note.index)
    emit(text.encode() + b"\n")
    return ExitCode.DONE


def _as_json(header: Header, index: BlockIndex | None) -> str:
    description = header.describe()
    description["payloads"][0]["index"] = None if index is None else _describe_index(index)
    return json.dumps(description, indent=2)


def _describe_index(index: BlockIndex) -> dict[str, int]:
    return {
        "block_bytes": BLOCK_BYTES,
        "blocks": index.blocks,
        "member_bytes": MEMBER_BYTES,
        "members": len(index.lengths),
        "stored_bytes": index.stored_bytes,
    }


def verify(artifact: str, *, keys: Sequence[str], device_type: str | None) -> ExitCode:
    """Verify an Artifact as a device does, and print the result in one line.

    Args:
        artifact: the path of the Artifact, or ``-``.
        keys: files of public keys; if there are any, one of them must verify the signature.
        device_type: the device type that it must be compatible with; None for any.

    Raises:
        ArtifactError: the Artifact is broken, unsigned or wrongly signed, or for other devices.
        KeyFileError: a key can't be used.
        StorageError: the Artifact can't be read.
    """
    check = _SignerNote(keys) if keys else None
    with FileStream(artifact) as stream:
        reader = ArtifactReader(stream, check_signature=check, new_digest=choose_digest())
        header = reader.read_header()
        if device_type is not None:
            _check_device_type(header, device_type)
        reader.finish()
    if check is not None:
        signature = f"signed with the key of {check.signer}"
    else:
        signature = "signed, but no key was given to verify that" if header.signed else "not signed"
    emit(safe(f"{header.artifact_name}: verified; {signature}\n").encode())
    return ExitCode.DONE


class _SignerNote:
    """Checks a signature, and records which key has verified it."""

    def __init__(self, files: Sequence[str]) -> None:
        from mender_client.system.crypto import choose_backend
        from mender_client.system.signatures import VerifyKeys

        self._keys = VerifyKeys("--key", [Path(file) for file in files], choose_backend())
        self.signer = Path()
        try:
            if faults := self._keys.load():
                raise ConfigError(faults)
        except ConfigError as error:
            raise KeyFileError("KEY25", f"cannot verify signatures: {error.text}", remedy=error.remedy) from error

    def __call__(self, manifest: bytes, signature: bytes) -> None:
        self.signer = self._keys.signer(manifest, signature)


def _check_device_type(header: Header, device_type: str) -> None:
    """Check only the device type, because what is installed on the device isn't known here."""
    undemanding = replace(header.payload, depends={})
    only_type = replace(header, depends_names=(), depends_groups=(), payload=undemanding)
    check_depends(only_type, device_type=device_type, artifact_name="", provides={})


def cat(artifact: str, name: str | None) -> ExitCode:
    """Write one payload file, by default the only one, to standard output while verifying the whole Artifact.

    The data is written before all of it is verified, because nothing is buffered, and must only be used if the exit
    code is 0.

    Raises:
        ArtifactError: the Artifact is broken or has no such file.
        StorageError: the Artifact can't be read.
    """
    with FileStream(artifact) as stream:
        copy(stream, name, StandardOutput())
    return ExitCode.DONE


def extract(artifact: str, directory: str) -> ExitCode:
    """Write all payload files into a directory, once the whole Artifact is verified.

    Raises:
        ArtifactError: the Artifact is broken.
        StorageError: a file can't be read or written.
    """
    payload.extract(artifact, Path(directory))
    return ExitCode.DONE
