"""The words for what goes wrong between the device and a server: each case with its name and its remedy.

What urllib3, http.client and OpenSSL raise is turned into a ``NetworkError`` here. Foreign texts may hold the address
with its query, so none of them is repeated but OpenSSL's own.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from http.client import BadStatusLine, HTTPException, IncompleteRead
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import urllib3.exceptions

from mender_client.core.text import printable
from mender_client.errors import ErrorKind, NetworkError

ClockProblem = Callable[[], str]
"""Says why the device's clock is evidently wrong; empty when it isn't."""


class Fault(NamedTuple):
    """A case: the short word of ``NetworkError.kind``, and what to tell people."""

    kind: ErrorKind
    text: str


class StaleConnectionError(NetworkError):
    """A kept-alive connection was closed by the server before our request reached it."""


def origin(url: str) -> str:
    """Scheme, host and port of an address: what may be said of it, since its query may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


class translate_errors:
    """Turns what urllib3 and http.client raise into a NetworkError that names the host and the case.

    Args:
        url: who is asked.
        doubt: asked when a certificate seems out of date.
        is_stale: told about a fault: whether it only means that a kept-alive connection had gone meanwhile.
    """

    def __init__(self, url: str, clock_problem: ClockProblem, is_stale: Callable[[], bool] | None = None) -> None:
        self._url = url
        self._clock_problem = clock_problem
        self._is_stale = is_stale

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, urllib3.exceptions.HTTPError | HTTPException | OSError | ValueError):
            return
        if self._is_stale is not None and _may_be_stale(error) and self._is_stale():
            raise StaleConnectionError(f"cannot reach {origin(self._url)}: the connection was closed") from error
        fault = describe(error, self._clock_problem)
        raise NetworkError(f"cannot reach {origin(self._url)}: {fault.text}", kind=fault.kind) from error


_UNKNOWN_ISSUER = frozenset({2, 7, 18, 19, 20, 21})
"""OpenSSL's verification errors that say: the chain ends at nobody whom we trust."""
_SELF_SIGNED, _EARLY, _EXPIRED = 18, 9, 10
_WRONG_HOST = frozenset({62, 63, 64})


def is_issuer_unknown(error: BaseException) -> bool:
    """Whether the server's chain ended at nobody whom we trust; more authorities may help."""
    return any(
        isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code in _UNKNOWN_ISSUER
        for cause in _causes(error)
    )


def _may_be_stale(error: BaseException) -> bool:
    return isinstance(error, urllib3.exceptions.ProtocolError | ssl.SSLError | urllib3.exceptions.SSLError)


def describe(error: BaseException, clock_problem: ClockProblem) -> Fault:
    """Say what happened, in words of our own where the case is known.

    Args:
        error: what was raised.
        doubt: asked when a certificate seems out of date.
    """
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _describe_certificate(cause, clock_problem)
    for kind, case in _CASES:
        for cause in chain:
            if isinstance(cause, kind) and (fault := case(cause)):
                return fault
    return Fault(ErrorKind.PROTOCOL, f"the answer is no HTTP, or broke off ({type(chain[-1]).__name__})")


def _describe_certificate(error: ssl.SSLCertVerificationError, clock_problem: ClockProblem) -> Fault:
    code, said = error.verify_code, f"its certificate is not trusted ({printable(error.verify_message)})"
    if code in (_EARLY, _EXPIRED):
        return _describe_date(code, said, clock_problem())
    if code == _SELF_SIGNED:
        return Fault(
            ErrorKind.CERTIFICATE_SELF_SIGNED,
            f"{said}: it signed itself; if it is the right one, name it in ServerCertificate",
        )
    if code in _UNKNOWN_ISSUER:
        return Fault(
            ErrorKind.CERTIFICATE_UNKNOWN,
            f"{said}: nobody whom this device trusts has issued it; name the authority's certificate in "
            "ServerCertificate",
        )
    if code in _WRONG_HOST:
        return Fault(
            ErrorKind.CERTIFICATE_HOST,
            f"{said}: it is another host's; check the host name in the address, or renew the certificate for it",
        )
    return Fault(ErrorKind.CERTIFICATE, f"{said}; check the server's certificate and ServerCertificate")


def _describe_date(code: int, said: str, clock_problem: str) -> Fault:
    if clock_problem:
        return Fault(ErrorKind.CLOCK, f"{said}: this device's clock is wrong: {clock_problem}; set the clock")
    if code == _EARLY:
        return Fault(ErrorKind.CERTIFICATE_EARLY, f"{said}: check this device's clock, then the server's certificate")
    return Fault(
        ErrorKind.CERTIFICATE_EXPIRED,
        f"{said}: renew the server's certificate, or the authority's in ServerCertificate; check this device's clock",
    )


_REFUSED_CERTIFICATE = (
    "ALERT_CERTIFICATE_REQUIRED",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_UNSUPPORTED_CERTIFICATE",
    "ALERT_CERTIFICATE_REVOKED",
    "ALERT_CERTIFICATE_EXPIRED",
    "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_UNKNOWN_CA",
    "ALERT_ACCESS_DENIED",
    "ALERT_DECRYPT_ERROR",
)
_OTHER_VERSION = ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "WRONG_SSL_VERSION")
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH")


def _describe_tls(error: ssl.SSLError) -> Fault | None:
    reason = error.reason or "unknown reason"
    said = f"TLS failed ({printable(reason)})"
    if any(part in reason for part in _REFUSED_CERTIFICATE):
        return Fault(
            ErrorKind.CLIENT_CERTIFICATE,
            f"the server refuses this device's client certificate, or misses one ({printable(reason)}); check "
            "HttpsClient.Certificate: that it is set, has not expired, and is of an authority that the server trusts",
        )
    if any(part in reason for part in _OTHER_VERSION):
        return Fault(ErrorKind.TLS_VERSION, f"{said}: it speaks neither TLS 1.2 nor newer; update the server's TLS")
    if any(part in reason for part in _NO_TLS):
        return Fault(ErrorKind.NO_TLS, f"{said}: does it speak plain http on this port? check scheme and port")
    if "HANDSHAKE_FAILURE" in reason:
        return Fault(
            ErrorKind.TLS,
            f"{said}: the server found no common cipher, or wants a client certificate (HttpsClient.Certificate)",
        )
    if isinstance(error, ssl.SSLEOFError):
        return Fault(ErrorKind.RESET, f"{said}: the connection was closed")
    return Fault(ErrorKind.TLS, said)


def _describe_os(error: OSError) -> Fault | None:
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL):
        return Fault(ErrorKind.UNREACHABLE, f"{error.strerror}; check the network")
    return Fault(ErrorKind.OTHER, error.strerror) if error.strerror else None


def _describe_status_line(error: BadStatusLine) -> Fault | None:
    if str(error).startswith("\x15\x03"):  # a TLS alert
        return Fault(ErrorKind.NO_TLS, "it speaks TLS on this port; write https instead of http")
    return None


_TIMEOUT = Fault(ErrorKind.TIMEOUT, "it did not answer in time")
_RESET = Fault(ErrorKind.RESET, "the connection was reset")
_BROKEN_OFF = Fault(ErrorKind.BROKEN_OFF, "the answer broke off")

_CASES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Callable[[Any], Fault | None]], ...] = (
    (
        (socket.gaierror, UnicodeError, urllib3.exceptions.LocationParseError),
        lambda _: Fault(ErrorKind.DNS, "its name can't be resolved; check the name and DNS"),
    ),
    (
        ConnectionRefusedError,
        lambda _: Fault(ErrorKind.REFUSED, "the connection was refused; check the port, and that the server runs"),
    ),
    ((ConnectionResetError, BrokenPipeError), lambda _: _RESET),
    (ssl.SSLError, _describe_tls),
    (TimeoutError, lambda _: _TIMEOUT),
    (BadStatusLine, _describe_status_line),
    # a failed connection is a time-out to urllib3, whatever its cause: what the system says comes first
    (OSError, _describe_os),
    (urllib3.exceptions.TimeoutError, lambda _: _TIMEOUT),
    ((IncompleteRead, urllib3.exceptions.IncompleteRead), lambda _: _BROKEN_OFF),
)
"""What may have happened and how it is said, the most telling case first."""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps, outermost first: urllib3 hides causes in args, reason and __context__."""
    seen: set[int] = set()
    todo: list[BaseException] = [error]
    while todo:
        current = todo.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [getattr(current, "reason", None), *current.args, current.__cause__, current.__context__]
        todo.extend(item for item in inner if isinstance(item, BaseException))
