"""What the client remembers across restarts, and its form as one JSON document.

The document carries a schema number. Fields that this version does not know are kept as they are, so that a newer
version finds them again after a step back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from .resume import Promise

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class PartialDownload:
    """Which Artifact the partial file belongs to.

    Attributes:
        deployment_id: the deployment that it is fetched for.
        artifact_name: the Artifact's name, as the server gave it.
        promise: what the storage said about the whole object.
    """

    deployment_id: str
    artifact_name: str
    promise: Promise = field(default_factory=Promise)


@dataclass(frozen=True, slots=True)
class Record:
    """The client's memory.

    Attributes:
        download: the download that is under way, if any.
        unknown: fields of another version, kept for it.
    """

    download: PartialDownload | None = None
    unknown: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def with_download(self, download: PartialDownload | None) -> Record:
        """The record with this download under way."""
        return replace(self, download=download)


def encode_record(record: Record) -> dict[str, Any]:
    """The record as a JSON object."""
    download = record.download
    return {
        **record.unknown,
        "schema": SCHEMA,
        "download": None
        if download is None
        else {
            "deployment_id": download.deployment_id,
            "artifact_name": download.artifact_name,
            "total": download.promise.total,
            "etag": download.promise.etag,
        },
    }


def decode_record(document: object) -> Record:
    """Read a record.

    Raises:
        ValueError: it is no record of this or a compatible version.
    """
    if not isinstance(document, dict) or not isinstance(document.get("schema"), int):
        raise ValueError("it is no record of this client")
    if document["schema"] != SCHEMA:
        raise ValueError(f"its schema {document['schema']} is not {SCHEMA}")
    unknown = {key: value for key, value in document.items() if key not in ("schema", "download")}
    return Record(_decode_download(document.get("download")), MappingProxyType(unknown))


def _decode_download(value: object) -> PartialDownload | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError('"download" is no JSON object')
    texts = (value.get("deployment_id"), value.get("artifact_name"))
    total, etag = value.get("total"), value.get("etag")
    is_total_right = total is None or (isinstance(total, int) and total >= 0)
    if not all(isinstance(text, str) for text in texts) or not is_total_right or not isinstance(etag, str | None):
        raise ValueError('"download" has a field of the wrong type')
    return PartialDownload(str(texts[0]), str(texts[1]), Promise(total, etag))
