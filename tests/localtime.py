"""What time it is where a device is: a test sets its time zone, since nobody sets the clock of the machine."""

from __future__ import annotations

import struct
from datetime import datetime, timezone
from pathlib import Path


def set_local_time(root: Path, hour: int, minute: int) -> None:
    """Let it be this time now, by the time zone file (RFC 8536) of a device in a directory."""
    now = datetime.now(timezone.utc)
    offset = (hour - now.hour) * 3600 + (minute - now.minute) * 60
    offset = (offset + 43200) % 86400 - 43200
    content = b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + struct.pack(">lBB", offset, 0, 0) + b"TST\0"
    new = root / "etc/localtime.new"
    new.write_bytes(content)
    new.replace(new.with_name("localtime"))
