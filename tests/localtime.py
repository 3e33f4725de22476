"""The local time of a device: a test sets its time zone, since the clock of the machine can't be set."""

from __future__ import annotations

import struct
from datetime import datetime, timezone
from pathlib import Path


def set_local_time(root: Path, hour: int, minute: int) -> None:
    """Make this the current local time of a device in a directory, with a time zone file (RFC 8536)."""
    now = datetime.now(timezone.utc)
    offset = (hour - now.hour) * 3600 + (minute - now.minute) * 60
    offset = (offset + 43200) % 86400 - 43200
    content = b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + struct.pack(">lBB", offset, 0, 0) + b"TST\0"
    new = root / "etc/localtime.new"
    new.write_bytes(content)
    new.replace(new.with_name("localtime"))
