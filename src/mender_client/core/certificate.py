"""Certificates as far as people need them: whose they are and how long they hold, read without any library.

The standard library shows only certificates of authorities, and only the ones that a server was believed for; a
message has to name the operator's own file, the device's certificate, and the ones of a server that was refused.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

MAXIMUM_BYTES = 4 * 1024 * 1024
"""More than any bundle of authorities has."""

_PEM = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END ")
_SEQUENCE, _OBJECT_ID, _UTC_TIME, _GENERALIZED_TIME, _BMP_STRING, _VERSION = 0x30, 0x06, 0x17, 0x18, 0x1E, 0xA0
_COMMON_NAME = b"\x55\x04\x03"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says of itself; nothing here is verified.

    Attributes:
        subject: its common name, or all that its name holds.
        issuer: the same of whoever signed it.
        not_before: the beginning of its validity.
        not_after: the end of its validity.
    """

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime

    def fault_at(self, now: datetime) -> str:
        """Why it can't be used at this time; empty when it can.

        Args:
            now: aware, UTC.
        """
        if now > self.not_after:
            return f"has expired on {self.not_after:%Y-%m-%d %H:%M} UTC"
        if now < self.not_before:
            return f"is not valid before {self.not_before:%Y-%m-%d %H:%M} UTC"
        return ""


def parse_pem(data: bytes) -> tuple[Certificate, ...]:
    """The certificates of a PEM text, in order; whatever else it holds is left out.

    Raises:
        ValueError: one of them can't be read.
    """
    try:
        bodies = [base64.b64decode(body) for body in _PEM.findall(data)]
    except ValueError as error:
        raise ValueError("a certificate in it can't be read") from error
    return tuple(parse_der(body) for body in bodies)


def parse_der(data: bytes) -> Certificate:
    """Read one certificate (RFC 5280, 4.1).

    Raises:
        ValueError: it is none.
    """
    try:
        fields = _children(_children(_element(data, 0)[1])[0][1])
        if fields[0][0] == _VERSION:
            fields = fields[1:]
        _, _, issuer, validity, subject = (value for _, value in fields[:5])
        (first, start), (last, end) = _children(validity)[:2]
        return Certificate(_name(subject), _name(issuer), _time(first, start), _time(last, end))
    except (IndexError, ValueError, OverflowError) as error:
        raise ValueError("a certificate in it can't be read") from error


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """The element at this place: its tag, its content, and where the next one begins."""
    length, start = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4:
            raise ValueError("a length is out of range")
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    if start + length > len(data):
        raise ValueError("it is cut off")
    return data[at], data[start : start + length], start + length


def _children(data: bytes) -> Sequence[tuple[int, bytes]]:
    children, at = [], 0
    while at < len(data):
        tag, content, at = _element(data, at)
        children.append((tag, content))
    return children


def _name(data: bytes) -> str:
    values: list[str] = []
    for _, part in _children(data):
        for _, pair in _children(part):
            (_, kind), (tag, value) = _children(pair)[:2]
            text = value.decode("utf-16-be" if tag == _BMP_STRING else "utf-8", "replace")
            if kind == _COMMON_NAME:
                return text
            values.append(text)
    return ", ".join(values)


def _time(tag: int, data: bytes) -> datetime:
    text = data.decode("ascii")
    if not re.fullmatch(r"\d{12}Z" if tag == _UTC_TIME else r"\d{14}Z", text, re.ASCII):
        raise ValueError("a time has another form")
    if tag == _UTC_TIME:
        text = ("20" if text[0] < "5" else "19") + text
    year, rest = int(text[:4]), [int(text[at : at + 2]) for at in range(4, 14, 2)]
    return datetime(year, *rest, tzinfo=timezone.utc)  # type: ignore[misc,arg-type]  # five numbers, counted above
