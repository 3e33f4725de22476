"""Reads ``.mender`` files as a stream, verifies them in one pass, and writes them.

Pure, like all of the core: bytes come from a readable object and go to a writable one. No Artifact is trusted until it
is verified. The rules are those of the protocol (Artifact format, version 3), the limits are ``Limits``, and the only
error is ``ArtifactError``.
"""

from .block_index import BlockIndex
from .codec import Compression
from .depends import check_depends
from .limits import Limits, limits_for
from .reader import ArtifactReader, Digest, Expander, NewDigest, PayloadFile, SignatureCheck
from .stream import Readable
from .values import File, Header, Payload, Script
from .writer import (
    ArtifactSpec,
    PayloadSource,
    Sign,
    module_image,
    rootfs_image,
    sign_artifact,
    write_artifact,
)

__all__ = [
    "ArtifactReader",
    "ArtifactSpec",
    "BlockIndex",
    "Compression",
    "Digest",
    "Expander",
    "File",
    "Header",
    "Limits",
    "NewDigest",
    "Payload",
    "PayloadFile",
    "PayloadSource",
    "Readable",
    "Script",
    "Sign",
    "SignatureCheck",
    "check_depends",
    "limits_for",
    "module_image",
    "rootfs_image",
    "sign_artifact",
    "write_artifact",
]
