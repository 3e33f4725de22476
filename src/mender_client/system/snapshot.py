"""Read-only access to the files that a client has written: the state file and the client status.

It is all that commands such as ``status`` need; nothing here logs or changes a file.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path

from mender_client.core.client_status import ClientStatus, decode_client_status
from mender_client.core.record import Record
from mender_client.core.state_document import decode_record
from mender_client.core.text import json_fault, printable

from .files import open_own, storage_errors

_MOST_RECORD_BYTES = 1024 * 1024
_MOST_STATUS_BYTES = 64 * 1024


def read_state_file(path: Path) -> tuple[bytes, os.stat_result] | None:
    """The undecoded content of the state file, and its ``fstat`` result; None if there is no such file.

    Raises:
        StorageError: the disk can't be read.
    """
    with storage_errors("read", path):
        try:
            with open_own(path) as file:
                return file.read(_MOST_RECORD_BYTES + 1), os.fstat(file.fileno())
        except FileNotFoundError:
            return None


def decode_state_file(data: bytes) -> Record:
    """The content of the state file.

    Raises:
        ValueError: it is not a JSON object.
    """
    if len(data) > _MOST_RECORD_BYTES:
        raise ValueError(f"it is larger than {_MOST_RECORD_BYTES} bytes")
    try:
        return decode_record(json.loads(data))
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not valid JSON: {json_fault(error)}") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def peek_record(path: Path) -> tuple[Record, str]:
    """The content of the state file, empty if there is no usable one, and what is wrong with it.

    Raises:
        StorageError: the disk can't be read.
    """
    found = read_state_file(path)
    try:
        return (Record() if found is None else decode_state_file(found[0])), ""
    except ValueError as error:
        return Record(), printable(str(error))


def damaged_files(path: Path) -> list[Path]:
    """The state files that could not be used and were set aside."""
    return sorted(path.parent.glob(f"{path.name}.damaged-*"))


def read_client_status(path: Path) -> tuple[ClientStatus, str] | None:
    """The client status on disk, and when it was written (RFC 3339); None if there is no usable one."""
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
