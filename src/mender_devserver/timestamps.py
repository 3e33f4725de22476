"""Checks whether the real server can parse a timestamp: RFC 3339 as implemented by Go's ``time.Parse``."""

from __future__ import annotations

import calendar
import re

from mender_client.errors import ServerError
from mender_devserver.messages import json_kind

_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d?):(\d\d):(\d\d)(?:[.,]\d+)?(?:Z|[+-](\d\d):(\d\d))",
    re.ASCII,
)


def check_timestamp(value: object, prefix: str = "") -> str:
    """Return a timestamp if Go can parse it: with upper-case ``T`` and ``Z``, a zone, and a time that exists.

    Args:
        value: the value of a JSON field.
        prefix: the prefix that the service adds to its decoder's error message.

    Raises:
        ServerError: 400.
    """
    if not isinstance(value, str):
        raise ServerError(f"{prefix}json: cannot unmarshal {json_kind(value)} into a time", status=400)
    match = _FORM.fullmatch(value)
    if match is None or not _exists(*(int(one or 0) for one in match.groups())):
        raise ServerError(f'{prefix}parsing time "{value}" as "2006-01-02T15:04:05Z07:00": cannot parse', status=400)
    return value


def _exists(year: int, month: int, day: int, hour: int, minute: int, second: int, zone: int, minutes: int) -> bool:
    """Whether Go accepts the values: offsets up to 24 hours and 60 minutes, and no leap seconds."""
    if not 1 <= month <= 12:
        return False
    last_day = calendar.monthrange(year or 2000, month)[1]  # calendar has no year 0, which is a leap year too
    return 1 <= day <= last_day and hour < 24 and minute < 60 and second < 60 and zone <= 24 and minutes <= 60
