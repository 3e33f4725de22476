"""Why a call of the operating system failed, for messages."""

from __future__ import annotations

import os
import ssl


def reason_of(error: Exception) -> str:
    """The reason in words; ``str`` of an OSError begins with a number, and asyncio repeats the address."""
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)
    return str(getattr(error, "strerror", None) or error)
