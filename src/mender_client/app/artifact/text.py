"""The content of an Artifact as aligned text for people.

Its content is untrusted, so unprintable characters are escaped: no name can move the cursor or change the direction of
the text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from mender_client.core.artifact import BlockIndex, File, Header
from mender_client.core.artifact.values import FORMAT_VERSION

_NOTE = "yes: parts of it are listed only in manifest-augment, which no signature covers; devices refuse it"


def as_text(header: Header, index: BlockIndex | None) -> str:
    """Describe an Artifact and the index of its payload, if it has one; there is no line end after the last line."""
    rows = [(label, line) for label, value in _rows(header, index) for line in _lines(value)]
    width = max(len(label) for label, _ in rows)
    result, last = [], ""
    for label, line in rows:
        result.append(safe(f"{'' if label == last else label:{width}}  {line}".rstrip()))
        last = label
    return "\n".join(result)


def safe(text: str) -> str:
    """Escape characters that a terminal could interpret, but not line ends."""
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode("ascii") for char in text
    )


def _lines(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value or ["none"]


def _rows(header: Header, index: BlockIndex | None) -> Iterator[tuple[str, str | list[str]]]:
    payload = header.payload
    yield "Artifact", header.artifact_name
    if header.artifact_group is not None:
        yield "Group", header.artifact_group
    yield "Device types", list(header.device_types)
    if header.depends_names:
        yield "Needs Artifact", _either(header.depends_names)
    if header.depends_groups:
        yield "Needs group", _either(header.depends_groups)
    yield "Format", f"version {FORMAT_VERSION}, compression {header.compression.value}"
    yield "Signed", "yes; 'artifact verify --key FILE' checks by whom" if header.signed else "no"
    if header.augmented:
        yield "Augmented", _NOTE
    yield "Payload type", "none" if payload.type is None else payload.type
    yield "Provides", [f"{key} = {value}" for key, value in (payload.provides or {}).items()]
    yield "Depends", [f"{key} = {_either(values)}" for key, values in payload.depends.items()]
    yield "Clears", list(payload.clears or ())
    yield "Scripts", [f"{script.name}  {_bytes(len(script.content))}" for script in header.scripts]
    yield "Files", _files(payload.files)
    if index is not None:
        yield "Index", _index(index)
    meta_data = json.dumps(payload.meta_data, indent=2, ensure_ascii=False) if payload.meta_data else "none"
    yield "Meta-data", meta_data.split("\n")


def _either(values: tuple[str, ...]) -> str:
    return " or ".join(values)


def _files(files: tuple[File, ...]) -> list[str]:
    width = max((len(file.name) for file in files), default=0)
    lines = []
    for file in files:
        note = "  augmented" if file.augmented else ""
        lines += [f"{file.name:{width}}  {_bytes(file.size or 0)}{note}", f"  SHA-256 {file.sha256}"]
    return lines


def _index(index: BlockIndex) -> str:
    return f"{index.blocks:,} blocks in {len(index.lengths):,} gzip members; {_bytes(index.stored_bytes)}"


def _bytes(size: int) -> str:
    return "1 byte" if size == 1 else f"{size:,} bytes"
