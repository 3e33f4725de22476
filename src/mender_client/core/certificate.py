"""Reads the names and dates in certificates, for messages.

The standard library decodes only trusted CA certificates. Messages also mention those in the operator's files, the
device's own certificate, and those of a server that was refused.
"""

from __future__ import annotations

import base64
import re
from datetime import datetime, timezone

from mender_client.dataclass import dataclass

MAXIMUM_BYTES = 4 * 1024 * 1024
"""More than the size of any bundle of CA certificates."""

_PEM = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END ")
_SEQUENCE, _OBJECT_ID, _UTC_TIME, _GENERALIZED_TIME, _BMP_STRING, _VERSION = 0x30, 0x06, 0x17, 0x18, 0x1E, 0xA0
_COMMON_NAME = b"\x55\x04\x03"


@dataclass(frozen=True)
class Certificate:
    """A certificate, not verified.

    Attributes:
        subject: the common name of its subject, or all parts of the name if it has no common name.
        issuer: the same for its issuer.
        not_before: the beginning of its validity.
        not_after: the end of its validity.
    """

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime

    def fault_at(self, now: datetime) -> str:
        """Why the certificate is invalid at this time (aware, UTC); empty when it is valid."""
        if now > self.not_after:
            return f"expired on {self.not_after:%Y-%m-%d %H:%M} UTC"
        if now < self.not_before:
            return f"is not valid before {self.not_before:%Y-%m-%d %H:%M} UTC"
        return ""


def parse_pem(data: bytes) -> tuple[Certificate, ...]:
    """The certificates in a PEM file, in order; other blocks and text are ignored.

    Raises:
        ValueError: one of them is malformed.
    """
    return tuple(parse_der(body) for body in pem_bodies(data))


def pem_bodies(data: bytes) -> list[bytes]:
    """The certificates in a PEM file as DER, not parsed; empty for one that isn't base64."""
    return [_decoded(body) for body in _PEM.findall(data)]


def _decoded(body: bytes) -> bytes:
    try:
        return base64.b64decode(body)
    except ValueError:
        return b""


def parse_der(data: bytes) -> Certificate:
    """Read a certificate (RFC 5280, 4.1); raises ValueError when it is malformed."""
    try:
        fields = _children(_children(_element(data, 0)[1])[0][1])
        if fields[0][0] == _VERSION:
            fields = fields[1:]
        _, _, issuer, validity, subject = (value for _, value in fields[:5])
        (first, start), (last, end) = _children(validity)[:2]
        return Certificate(_name(subject), _name(issuer), _time(first, start), _time(last, end))
    except (IndexError, ValueError, OverflowError) as error:
        raise ValueError("it contains a malformed certificate") from error


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """The DER element at this offset: its tag, its content, and the offset of the next one."""
    length, start = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4:
            raise ValueError("a length is invalid")
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    if start + length > len(data):
        raise ValueError("it is truncated")
    return data[at], data[start : start + length], start + length


def _children(data: bytes) -> list[tuple[int, bytes]]:
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
        raise ValueError("a time is malformed")
    if tag == _UTC_TIME:
        text = ("20" if text[0] < "5" else "19") + text
    year, rest = int(text[:4]), [int(text[at : at + 2]) for at in range(4, 14, 2)]
    return datetime(year, *rest, tzinfo=timezone.utc)  # type: ignore[misc,arg-type]  # rest holds five numbers
