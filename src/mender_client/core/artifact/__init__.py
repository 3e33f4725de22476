"""The ``.mender`` container: read as a stream, verified in one pass, and written.

Pure, like all of the core: bytes come from a readable object and go to a writable one. Every Artifact is a stranger's
until it is verified; the reader's rules are those of the protocol (Artifact format, version 3), its bounds are
``Limits``, and its only complaint is ``ArtifactError``.
"""

from .codec import Compression
from .depends import check_depends, provides_after
from .limits import Limits
from .reader import ArtifactReader, Digest, NewDigest, PayloadFile, SignatureCheck, verify_artifact
from .stream import Readable
from .values import File, Header, Payload, Script
from .writer import (
    ArtifactSpec,
    PayloadSource,
    SeekableWritable,
    Sign,
    Writable,
    module_image,
    rootfs_image,
    sign_artifact,
    write_artifact,
)

__all__ = [
    "ArtifactReader",
    "ArtifactSpec",
    "Compression",
    "Digest",
    "File",
    "Header",
    "Limits",
    "NewDigest",
    "Payload",
    "PayloadFile",
    "PayloadSource",
    "Readable",
    "Script",
    "SeekableWritable",
    "Sign",
    "SignatureCheck",
    "Writable",
    "check_depends",
    "module_image",
    "provides_after",
    "rootfs_image",
    "sign_artifact",
    "verify_artifact",
    "write_artifact",
]
