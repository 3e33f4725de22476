"""``artifact write``, ``index`` and ``sign``: the same bytes for the same input, and never a partial Artifact.

The result is read back and verified before it gets its final name, so that no file is left that a device rejects.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from io import BufferedRandom
from pathlib import Path
from typing import Any

from mender_client.app.exitcodes import ExitCode
from mender_client.app.passphrase import passphrase_of
from mender_client.commandline import Options
from mender_client.core.artifact import (
    ArtifactReader,
    ArtifactSpec,
    Compression,
    Limits,
    PayloadSource,
    sign_artifact,
    write_artifact,
)
from mender_client.core.artifact.repack import index_artifact
from mender_client.core.keyvalue import group_by_key
from mender_client.core.text import json_fault
from mender_client.errors import ArtifactError, StorageError
from mender_client.system.crypto import choose_backend
from mender_client.system.digest import choose_digest
from mender_client.system.files import read_text
from mender_client.system.keys import Passphrase
from mender_client.system.signatures import SigningKey

from .files import FileStream, regular_size, replaced
from .indexing import indexing_for

_ROOTFS = "rootfs-image"
_OLD_ROOTFS_CLEARS = ("artifact_group", "rootfs_image_checksum")
"""Provides that root file system Artifacts of older formats have left on the device."""
_LEAST_INDEXED_BYTES = 8 * 1024 * 1024
"""A smaller image is downloaded in less time than a device takes to search its partitions for blocks."""
_MOST_INDEXED_BYTES = 8 * 1024**3
"""A device reserves no memory for the index of a larger image."""
_REFERENCE_NAMES = {"lzma": "xz"}
"""The compressions that have another name in mender-artifact."""


def write_rootfs(options: Options) -> ExitCode:
    """Write an Artifact of one root file system image; arguments and errors as for ``write_module``."""
    clears = _default_clears(options)
    if clears == (f"{_ROOTFS}.*",):
        clears = (*_OLD_ROOTFS_CLEARS, *clears)
    checksum_key = None if options.no_checksum_provide else f"{_ROOTFS}.checksum"
    provides = _default_provides(options)
    return _write(options, _ROOTFS, provides, clears, checksum_key, is_index_wanted=not options.no_index)


def write_module(options: Options) -> ExitCode:
    """Write an Artifact for an update module.

    Args:
        options: the options of the command, see ``options.COMMANDS``.

    Raises:
        ArtifactError: a device would refuse the Artifact, or a file changes while it is read.
        KeyFileError: the key can't sign.
        StorageError: a file can't be read, or the Artifact can't be written; an existing one is unchanged.
    """
    name = options.software_name or options.payload_type
    return _write(options, options.payload_type, _default_provides(options, name), _default_clears(options, name), None)


def write_bootstrap(options: Options) -> ExitCode:
    """Write an Artifact without payload, which only states what a device provides; as ``write_module``."""
    return _write(options, None, {}, (), None)


def _default_provides(options: Options, name: str | None = None) -> dict[str, str]:
    if options.software_version is None and options.no_default_software_version:
        return {}
    return {f"{_software(options, name)}.version": options.software_version or options.artifact_name}


def _default_clears(options: Options, name: str | None = None) -> tuple[str, ...]:
    is_left_out = options.no_default_clears_provides or options.no_default_software_version
    return () if is_left_out else (f"{_software(options, name)}.*",)


def _software(options: Options, name: str | None) -> str:
    """The key for the version of the software: the file system that contains it, then its name."""
    base = options.software_filesystem or _ROOTFS
    name = name or options.software_name
    return f"{base}.{name}" if name else base


def _write(
    options: Options,
    payload_type: str | None,
    provides: Mapping[str, str],
    clears: Sequence[str],
    checksum_key: str | None,
    *,
    is_index_wanted: bool = False,
) -> ExitCode:
    spec = ArtifactSpec(
        artifact_name=options.artifact_name,
        device_types=options.device_type,
        payload_type=payload_type,
        artifact_group=options.provides_group,
        depends_names=options.artifact_name_depends,
        depends_groups=options.depends_groups,
        provides={**provides, **dict(options.provides)} or None,
        depends=group_by_key(options.depends),
        clears=tuple(dict.fromkeys((*options.clears_provides, *clears))) or None,
        meta_data=_meta_data(options.meta_data),
        scripts=_scripts(options.script),
        compression=Compression(_REFERENCE_NAMES.get(options.compression, options.compression)),
        checksum_key=checksum_key,
    )
    sources = _sources(options.file)
    output = Path(options.output_path)
    _refuse_overwriting(output, [*options.file, *options.script, options.meta_data, options.key])
    passphrase = passphrase_of(options.passphrase_file)
    key = SigningKey(Path(options.key), choose_backend(), passphrase) if options.key else None
    is_index_wanted &= spec.compression is Compression.GZIP
    is_index_wanted &= all(_LEAST_INDEXED_BYTES <= source.size <= _MOST_INDEXED_BYTES for source in sources)
    with replaced(output) as out, indexing_for(output) if is_index_wanted else nullcontext() as indexing:
        write_artifact(out, spec, sources, sign=key.sign if key else None, indexing=indexing)
        _verify(out, key)
    return ExitCode.DONE


def _meta_data(file: str | None) -> Mapping[str, Any] | None:
    if file is None:
        return None
    try:
        value = json.loads(read_text(Path(file), limit=Limits().json_bytes))
    except json.JSONDecodeError as error:
        text = f"cannot use {file} as meta-data: it is not valid JSON: {json_fault(error)}"
        raise ArtifactError("ART46", text) from error
    except (ValueError, RecursionError) as error:
        text = f"cannot use {file} as meta-data: a number is too long, or it is nested too deeply"
        raise ArtifactError("ART47", text) from error
    if not isinstance(value, dict):
        text = f"cannot use {file} as meta-data: it isn't a JSON object"
        raise ArtifactError("ART48", text, remedy="put braces around it")
    return value


def _scripts(files: Sequence[str]) -> dict[str, bytes]:
    scripts: dict[str, bytes] = {}
    for file in files:
        name = os.path.basename(file)
        if name in scripts:
            text = f"cannot write the Artifact: there are two scripts named {name}"
            raise ArtifactError("ART51", text, remedy="rename one")
        regular_size(file)
        try:
            with open(file, "rb") as stream:
                scripts[name] = stream.read(Limits().header_bytes + 1)
        except OSError as error:
            text = f"cannot read {file}: {error.strerror}"
            raise StorageError("ART49", text, remedy="check its path, owner and mode") from error
    return scripts


def _sources(files: Sequence[str]) -> list[PayloadSource]:
    sources = [PayloadSource(os.path.basename(file), regular_size(file), partial(FileStream, file)) for file in files]
    names = [source.name for source in sources]
    if twice := next((name for name in names if names.count(name) > 1), None):
        text = f"cannot write the Artifact: there are two files named {twice}, and a payload has no directories"
        raise ArtifactError("ART50", text, remedy="rename one")
    return sources


def _refuse_overwriting(output: Path, inputs: Sequence[str | None]) -> None:
    if any(file is not None and os.path.exists(output) and os.path.samefile(file, output) for file in inputs):
        text = f"cannot write {output}: it is one of the files to read"
        raise StorageError("ART52", text, remedy="specify another path")


def index(options: Options) -> ExitCode:
    """Copy an Artifact and add an index to its payload; its signature stays valid.

    Raises:
        ArtifactError: it is broken, already has an index, or has nothing to index.
        StorageError: a file can't be read or written; an existing one is unchanged.
    """
    artifact, output = options.artifact, Path(options.output_path)
    regular_size(artifact)
    _refuse_overwriting(output, [artifact])
    with replaced(output) as out, indexing_for(output) as indexing:
        index_artifact(partial(FileStream, artifact), out, indexing, choose_digest())
        _verify(out, None, accept_augmented=True)
    return ExitCode.DONE


def sign(artifact: str, *, key: str, output: str | None, passphrase: Passphrase) -> ExitCode:
    """Sign an Artifact, in place unless an output is given; an old signature is replaced, and nothing else changes.

    The result is verified, including its signature, before it gets its final name, so that a broken Artifact is never
    signed.

    Raises:
        ArtifactError: the Artifact is broken.
        KeyFileError: the key can't sign.
        StorageError: a file can't be read or written; an existing one is unchanged.
    """
    signing = SigningKey(Path(key), choose_backend(), passphrase)
    regular_size(artifact)
    if output is not None:
        _refuse_overwriting(Path(output), [key])
    with FileStream(artifact) as source, replaced(Path(output or artifact)) as out:
        sign_artifact(source, out, signing.sign)
        _verify(out, signing, accept_augmented=True)
    return ExitCode.DONE


def _verify(out: BufferedRandom, key: SigningKey | None, *, accept_augmented: bool = False) -> None:
    """Read the result as a device does, within the default limits, and refuse what a device would refuse."""
    out.seek(0)
    ArtifactReader(out, check_signature=key.check if key else None, accept_augmented=accept_augmented).finish()
