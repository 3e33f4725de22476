"""Classifies network failures between the device and a server: each case has a kind, a message and a remedy.

The errors of http.client, ssl and socket are translated into ``NetworkError`` here. Their texts may contain the address
with its query, so only those of OpenSSL are repeated.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import BadStatusLine, HTTPException, IncompleteRead
from urllib.parse import urlsplit

from mender_client.core.text import printable
from mender_client.dataclass import dataclass
from mender_client.errors import Diagnostic, ErrorKind, NetworkError

ClockProblem = Callable[[], str]
"""Returns why the device's clock is evidently wrong; empty if it isn't."""


@dataclass(frozen=True)
class Fault(Diagnostic):
    """A case: the message for the operator, and its kind."""

    kind: ErrorKind = ErrorKind.OTHER


_BROKEN_OFF = "see the server's log, and check firewalls and proxies in between"


def origin(url: str) -> str:
    """Scheme, host and port of an address: the part that may be shown, since the query may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


@contextmanager
def translate_errors(url: str, clock_problem: ClockProblem) -> Iterator[None]:
    """Translate errors of ssl and http.client into a NetworkError that names the server and the case.

    Args:
        url: the URL requested.
        clock_problem: called if a certificate seems out of date.
    """
    try:
        yield
    except (HTTPException, OSError, ValueError) as error:
        fault = describe(error, clock_problem)
        is_answered = fault.kind in (ErrorKind.BROKEN_OFF, ErrorKind.PROTOCOL)
        text = f"cannot {'complete the request to' if is_answered else 'reach'} {origin(url)}: {fault.text}"
        raise NetworkError(fault.code, text, remedy=fault.remedy, kind=fault.kind) from shown_cause(error)


def shown_cause(error: BaseException) -> BaseException | None:
    """The error as a cause in tracebacks; None for one of http.client, which may repeat a header or the response."""
    return error if isinstance(error, OSError) else None


_UNKNOWN_ISSUER = frozenset({2, 7, 18, 19, 20, 21})
"""OpenSSL's verification errors for a chain that doesn't end at a trusted authority."""
_SELF_SIGNED, _EARLY, _EXPIRED = 18, 9, 10
_WRONG_HOST = frozenset({62, 63, 64})


def is_issuer_unknown(error: ssl.SSLCertVerificationError) -> bool:
    """Whether the server's chain doesn't end at a trusted authority; trusting more of them may help."""
    return error.verify_code in _UNKNOWN_ISSUER


def describe(error: BaseException, clock_problem: ClockProblem = lambda: "") -> Fault:
    """Classify an error.

    Args:
        error: the error raised.
        clock_problem: called if a certificate seems out of date.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _describe_certificate(error, clock_problem)
    if isinstance(error, ssl.SSLError):
        return _describe_tls(error)
    if isinstance(error, socket.gaierror | UnicodeError):
        return Fault("NET02", "its name cannot be resolved", "check the name and the DNS settings", ErrorKind.DNS)
    if isinstance(error, OSError):
        return _describe_os(error)
    if isinstance(error, IncompleteRead):
        return Fault("NET03", "the answer is incomplete", _BROKEN_OFF, ErrorKind.BROKEN_OFF)
    if isinstance(error, BadStatusLine) and str(error).startswith("\x15\x03"):  # a TLS alert
        return Fault("NET04", "it speaks TLS on this port", "write https instead of http", ErrorKind.NO_TLS)
    text = f"the answer is not HTTP, or is incomplete ({type(error).__name__})"
    return Fault("NET05", text, "check the address, and the proxy if there is one", ErrorKind.PROTOCOL)


def _describe_os(error: OSError) -> Fault:
    reason = error.strerror or type(error).__name__
    if isinstance(error, ConnectionRefusedError):
        remedy = "check the port, and that the server is running"
        return Fault("NET06", "the connection was refused", remedy, ErrorKind.REFUSED)
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        remedy = f"check whether this port needs http or https; {_BROKEN_OFF}"
        return Fault("NET07", "the connection was reset", remedy, ErrorKind.RESET)
    if isinstance(error, TimeoutError):
        return Fault("NET08", "it did not answer in time", _BROKEN_OFF, ErrorKind.TIMEOUT)
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL):
        return Fault("NET09", reason, "check the network", ErrorKind.UNREACHABLE)
    return Fault("NET10", reason, "check the network")


def _describe_certificate(error: ssl.SSLCertVerificationError, clock_problem: ClockProblem) -> Fault:
    code, said = error.verify_code, f"its certificate is not trusted ({printable(error.verify_message.rstrip('.'))})"
    if code in (_EARLY, _EXPIRED):
        return _describe_date(code, said, clock_problem())
    if code == _SELF_SIGNED:
        remedy = "if you trust it, add it to ServerCertificate"
        return Fault("TLS01", f"{said}: it is self-signed", remedy, ErrorKind.CERTIFICATE_SELF_SIGNED)
    if code in _UNKNOWN_ISSUER:
        remedy = "set ServerCertificate to the certificate of the CA that issued it"
        return Fault("TLS02", f"{said}: its issuer is unknown", remedy, ErrorKind.CERTIFICATE_UNKNOWN)
    if code in _WRONG_HOST:
        remedy = "check the host name in the address, or issue a certificate for that host"
        return Fault("TLS03", f"{said}: it is for another host", remedy, ErrorKind.CERTIFICATE_HOST)
    return Fault("TLS04", said, "check the server's certificate and ServerCertificate", ErrorKind.CERTIFICATE)


def _describe_date(code: int, said: str, clock_problem: str) -> Fault:
    if clock_problem:
        text = f"{said}: this device's clock is wrong: {clock_problem}"
        return Fault("TLS05", text, "set the clock", ErrorKind.CLOCK)
    if code == _EARLY:
        remedy = "check this device's clock, then the server's certificate"
        return Fault("TLS06", said, remedy, ErrorKind.CERTIFICATE_EARLY)
    remedy = "renew the server's certificate, or the CA certificate in ServerCertificate; check this device's clock"
    return Fault("TLS07", said, remedy, ErrorKind.CERTIFICATE_EXPIRED)


_REFUSED_CERTIFICATE = r"ALERT_(\w*CERTIFICATE\w*|UNKNOWN_CA|ACCESS_DENIED|DECRYPT_ERROR)"
_OTHER_VERSION = ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "WRONG_SSL_VERSION")
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH")


def _describe_tls(error: ssl.SSLError) -> Fault:
    reason = printable(error.reason or "unknown reason")
    said = f"TLS failed ({reason})"
    if re.search(_REFUSED_CERTIFICATE, reason):
        text = f"the server refuses this device's client certificate, or asks for one ({reason})"
        remedy = "check HttpsClient.Certificate: it must be valid, and its authority trusted by the server"
        return Fault("TLS08", text, remedy, ErrorKind.CLIENT_CERTIFICATE)
    if any(part in reason for part in _OTHER_VERSION):
        remedy = "enable TLS 1.2 or newer on the server"
        return Fault("TLS09", f"{said}: it does not support TLS 1.2 or newer", remedy, ErrorKind.TLS_VERSION)
    if any(part in reason for part in _NO_TLS):
        remedy = "check scheme and port: it may speak plain http on this port"
        return Fault("TLS10", said, remedy, ErrorKind.NO_TLS)
    if "HANDSHAKE_FAILURE" in reason:
        remedy = "set HttpsClient.Certificate if the server asks for one; otherwise, check the server's ciphers"
        return Fault("TLS11", said, remedy, ErrorKind.TLS)
    if isinstance(error, ssl.SSLEOFError):
        return Fault("TLS12", f"{said}: the connection was closed", _BROKEN_OFF, ErrorKind.RESET)
    return Fault("TLS13", said, "check the server's TLS settings", ErrorKind.TLS)
