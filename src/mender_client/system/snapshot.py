"""What a client has left on disk, for whoever only looks at it: the state file, and the client status.

Commands such as ``status`` load no more than this, so nothing here logs or changes a file.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path

from mender_client.core.client_status import ClientStatus, decode_client_status
from mender_client.core.record import Record
from mender_client.core.state_document import decode_record
from mender_client.core.text import printable

from .files import open_own, storage_errors

_MOST_RECORD_BYTES = 1024 * 1024
_MOST_STATUS_BYTES = 64 * 1024


def read_record(path: Path) -> tuple[Record, os.stat_result] | None:
    """The content of the state file, and what the file system says of that file; None without one.

    Raises:
        StorageError: the disk can't be read.
        ValueError: it is no JSON object.
    """
    with storage_errors("read", path):
        try:
            with open_own(path) as file:
                state = os.fstat(file.fileno())
                data = file.read(_MOST_RECORD_BYTES + 1)
        except FileNotFoundError:
            return None
    if len(data) > _MOST_RECORD_BYTES:
        raise ValueError(f"it is larger than {_MOST_RECORD_BYTES} bytes")
    try:
        return decode_record(json.loads(data)), state
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def peek_record(path: Path) -> tuple[Record, str]:
    """The content of the state file, empty without a usable one, and what is wrong with it.

    Raises:
        StorageError: the disk can't be read.
    """
    try:
        found = read_record(path)
    except ValueError as error:
        return Record(), printable(str(error))
    return (Record() if found is None else found[0]), ""


def damaged_files(path: Path) -> list[Path]:
    """The state files that could not be used and were set aside."""
    return sorted(path.parent.glob(f"{path.name}.damaged-*"))


def read_client_status(path: Path) -> tuple[ClientStatus, str] | None:
    """The client status that a client has left, and when it was written (RFC 3339); None without a usable one."""
    try:
        with open_own(path) as file:
            data = file.read(_MOST_STATUS_BYTES + 1)
            written = os.fstat(file.fileno()).st_mtime
        document = json.loads(data)
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or len(data) > _MOST_STATUS_BYTES:
        return None
    moment = datetime.fromtimestamp(written, timezone.utc)
    return decode_client_status(document), moment.isoformat(timespec="seconds")
