"""Parses ``header.tar``: what the Artifact is, requires and provides. Its digest has been verified before."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from typing import TypeVar

from mender_client.dataclass import dataclass, replace

from .codec import Compression, open_decoder
from .json_fields import Document, parse_document
from .limits import Limits
from .names import NameSet, check_file_name
from .refusal import malformed, over_limit, shown
from .tar import TarReader
from .values import Header, Payload, Script

INFO = "header-info"
SCRIPTS_DIRECTORY = "scripts/"
TYPE_INFO = "headers/0000/type-info"
META_DATA = "headers/0000/meta-data"

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class _Parts:
    """The parsed files of a header."""

    title: str
    info: Document
    type_info: Document
    meta_data: Document | None
    scripts: tuple[Script, ...]
    contents: Mapping[str, bytes]


def parse_header(stored: bytes, name: str, compression: Compression, limits: Limits) -> Header:
    """Parse a header whose digest the caller has verified.

    Args:
        stored: the member's bytes.
        name: the member's name, for messages.
        compression: how the member is compressed.
        limits: the limits.

    Returns:
        The header; ``signed``, ``augmented`` and the payload's files are left to the caller.

    Raises:
        ArtifactError: the header is broken or incomplete, or exceeds a limit.
    """
    parts = _read_parts(stored, name, compression, limits)
    payload_type = _payload_type(parts)
    provides = parts.info.child("artifact_provides")
    depends = parts.info.child("artifact_depends")
    if provides is None or depends is None:
        raise malformed(f"{INFO} lacks artifact_provides or artifact_depends")
    provides.only("artifact_name", "artifact_group")
    depends.only("device_type", "artifact_name", "artifact_group")
    artifact_name = provides.text("artifact_name")
    device_types = depends.texts("device_type")
    if artifact_name is None or not device_types:
        raise malformed(f"{INFO} names no Artifact or no device type")
    return Header(
        artifact_name=artifact_name,
        artifact_group=provides.text("artifact_group"),
        device_types=device_types,
        depends_names=depends.texts("artifact_name") or (),
        depends_groups=depends.texts("artifact_group") or (),
        compression=compression,
        signed=False,
        augmented=False,
        scripts=parts.scripts,
        payload=_parse_payload(parts, payload_type),
        documents={member.rpartition("/")[2]: content for member, content in parts.contents.items()},
    )


def apply_augment(header: Header, stored: bytes, name: str, compression: Compression, limits: Limits) -> Header:
    """Add the keys of ``header-augment``, which may neither change nor clear any key of the header.

    The arguments are the verified header and those of ``parse_header``.

    Raises:
        ArtifactError: it is broken, repeats a key of the header, or contains scripts or clears_artifact_provides.
    """
    parts = _read_parts(stored, name, compression, limits)
    payload = _parse_payload(parts, _payload_type(parts))
    base = header.payload
    if payload.type != base.type:
        raise malformed(f"{name} is for another payload type than the header")
    if parts.scripts or payload.clears is not None:
        raise malformed(f"{name} contains scripts or clears_artifact_provides, which it must not")
    provides = payload.provides and _joined(base.provides or {}, payload.provides, name)
    depends = _joined(base.depends, payload.depends, name)
    meta_data = payload.meta_data and _joined(base.meta_data or {}, payload.meta_data, name)
    merged = replace(base, provides=provides or base.provides, depends=depends, meta_data=meta_data or base.meta_data)
    return replace(header, payload=merged)


def _joined(base: Mapping[str, _Value], added: Mapping[str, _Value], name: str) -> dict[str, _Value]:
    for key in added:
        if key in base:
            raise malformed(f"{name} contains {shown(key)}, which the header contains already")
    return {**base, **added}


def _read_parts(stored: bytes, name: str, compression: Compression, limits: Limits) -> _Parts:
    contents: dict[str, bytes] = {}
    scripts: list[Script] = []
    for member, content in _read_members(stored, name, compression, limits):
        if member.startswith(SCRIPTS_DIRECTORY):
            script = member[len(SCRIPTS_DIRECTORY) :]
            check_file_name(script, name)
            scripts.append(Script(script, content, hashlib.sha256(content).hexdigest()))
        else:
            contents[member] = content
    for due in (INFO, TYPE_INFO):
        if due not in contents:
            raise malformed(f"{name} lacks {due}")
    meta_data = contents.get(META_DATA)
    return _Parts(
        name,
        parse_document(contents[INFO], INFO),
        parse_document(contents[TYPE_INFO], TYPE_INFO),
        parse_document(meta_data, META_DATA) if meta_data else None,
        tuple(scripts),
        contents,
    )


def _read_members(stored: bytes, name: str, compression: Compression, limits: Limits) -> Iterator[tuple[str, bytes]]:
    """The files of a header, which must be in this order: header-info, scripts, type-info, meta-data."""
    tar = TarReader(open_decoder(io.BytesIO(stored), compression, name, limits), name, limits)
    names = NameSet(name)
    last, left = -1, limits.header_bytes
    while member := tar.next_member():
        names.add(member.name)
        rank = _rank(member.name, name)
        if rank < last or (last < 0) != (rank == 0):
            raise malformed(f"{name} contains {shown(member.name)} out of order")
        last = rank
        if len(names) > limits.header_members:
            raise over_limit(f"{name} contains more than the limit of {limits.header_members} files")
        left -= member.size
        if left < 0:
            raise over_limit(f"{name} contains files of more than the limit of {limits.header_bytes} bytes")
        most = limits.header_bytes if member.name.startswith(SCRIPTS_DIRECTORY) else limits.json_bytes
        yield member.name, tar.read_member(member, most)


def _rank(member: str, title: str) -> int:
    if member.startswith(SCRIPTS_DIRECTORY):
        return 1
    try:
        return {INFO: 0, TYPE_INFO: 2, META_DATA: 3}[member]
    except KeyError:
        raise malformed(f"{title} contains {shown(member)}, which has no place there") from None


def _payload_type(parts: _Parts) -> str | None:
    """The type of the only payload, on which header-info and type-info must agree.

    mender-artifact 3.3 to 4.3 writes an empty type into the type-info of ``rootfs-image``, which is ignored.
    """
    payloads = parts.info.values.get("payloads")
    if not isinstance(payloads, list) or not all(isinstance(entry, dict) for entry in payloads):
        raise malformed(f"{INFO} doesn't list its payloads")
    if len(payloads) != 1:
        raise malformed(f"{INFO} lists {len(payloads)} payloads, and this client takes one")
    declared = Document(payloads[0], f"payloads in {INFO}").text("type")
    is_said_again = parts.type_info.values.get("type") != "" or declared is None
    if is_said_again and declared != parts.type_info.text("type"):
        raise malformed(f"{INFO} and {TYPE_INFO} name different payload types")
    return declared


def _parse_payload(parts: _Parts, payload_type: str | None) -> Payload:
    provides = parts.type_info.child("artifact_provides")
    return Payload(
        type=payload_type,
        provides=None if provides is None else _parse_provides(provides),
        depends=_parse_depends(parts.type_info.child("artifact_depends")),
        clears=parts.type_info.texts("clears_artifact_provides"),
        meta_data=None if parts.meta_data is None else parts.meta_data.values,
    )


def _parse_provides(provides: Document) -> dict[str, str]:
    for key in provides.values:
        _check_key(key, provides)
    return {key: provides.line(key) for key in provides.values}


def _parse_depends(depends: Document | None) -> dict[str, tuple[str, ...]]:
    """Parse the payload's depends: each value is a string, or a list of alternatives."""
    result: dict[str, tuple[str, ...]] = {}
    if depends is not None:
        for key, value in depends.values.items():
            _check_key(key, depends)
            many = depends.texts(key) if isinstance(value, list) else None
            result[key] = (depends.line(key),) if many is None else many
    return result


def _check_key(key: str, document: Document) -> None:
    """Refuse a key that can't be stored in a ``key=value`` line."""
    if key.strip() != key or not key or "=" in key or not key.isprintable():
        raise malformed(f"{document.title} contains {shown(key)}, which can't be the key of a key=value line")
