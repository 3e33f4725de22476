"""The TLS rules: which servers are trusted, the client certificate, and how both are reloaded without a restart."""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

from mender_client.core.certificate import MAXIMUM_BYTES, Certificate, parse_der, parse_pem, pem_bodies
from mender_client.core.text import printable
from mender_client.dataclass import dataclass
from mender_client.errors import ConfigError, Diagnostic

_logger = logging.getLogger(__name__)
_SUFFIXES = (".pem", ".crt", ".cer")
_DER_SEQUENCE = b"\x30"
_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""What OpenSSL says of a key and a certificate that aren't a pair; the last, when their types differ."""
_SERVER, _CLIENT, _KEY = "ServerCertificate", "HttpsClient.Certificate", "HttpsClient.Key"


@dataclass(frozen=True)
class TlsSettings:
    """Which servers are trusted, and how the device authenticates to them.

    Attributes:
        ca_file: certificates that are trusted in addition to the system's: a file, or a directory of such files.
        verify: False trusts every server; for tests only.
        certificate: the client certificate (PEM), None for none.
        key: its private key (PEM).
    """

    ca_file: Path | None = None
    verify: bool = True
    certificate: Path | None = None
    key: Path | None = None


class TlsRules:
    """The TLS context of new connections; reloaded when one of the operator's files has changed.

    What can't be used of ServerCertificate is only warned about, since it makes no server trusted. Without the client
    certificate the device would connect with less than what was asked for.

    Raises:
        ConfigError: the client certificate or its key can't be used.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self._is_wide = False
        self._has_authorities = False
        self._stamp = _stamp(settings)
        self._context = self._load()

    def context(self) -> ssl.SSLContext:
        """For a new connection; files that became unusable are reported once, and their last content is used."""
        stamp = _stamp(self._settings)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._context = self._load()
            except ConfigError as error:
                _logger.warning("the previously loaded certificates stay in effect: %s", error)
            else:
                _logger.info("certificates changed on disk; reloaded")
                if self._is_wide:
                    self._context.load_default_certs()
        return self._context

    def _load(self) -> ssl.SSLContext:
        context = tls_context(self._settings)
        if self._settings.ca_file is not None:
            has_authorities, faults = trust(context, self._settings.ca_file)
            if self._has_authorities and not has_authorities:
                raise ConfigError(faults)
            self._has_authorities = has_authorities
            for fault in faults:
                _logger.warning("%s", fault)
        return context

    def widen(self) -> bool:
        """Trust the bundle of all of the system's CAs too; False if it is trusted already."""
        if self._is_wide:
            return False
        self._context.load_default_certs()
        self._is_wide = True
        return True


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """The TLS rules: version 1.2 or newer, chain and host name verified, the system's CAs, the client certificate.

    Of the system's CAs the directory is trusted, in which OpenSSL looks up the one that it needs; the bundle of all of
    them costs more than a megabyte and is loaded by ``TlsRules.widen`` when the directory did not suffice. Errors as of
    ``TlsRules``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    directory = ssl.get_default_verify_paths().capath
    if directory is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(capath=directory)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The same certificates must work under every Python: 3.13 turned the strict flag on, which refuses many private
    # CAs in the field, and the partial chain, which lets the operator's file name an intermediate certificate.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if settings.certificate is not None:
        _show(context, settings.certificate, settings.key)
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def trust(context: ssl.SSLContext, path: Path) -> tuple[bool, Sequence[Diagnostic]]:
    """Trust the certificates in a file, or in those of a directory, in PEM or DER form.

    Returns:
        Whether there are any, and what is wrong with the others.
    """
    found: list[Certificate] = []
    faults: list[Diagnostic] = []
    try:
        files = _files(path)
    except OSError as error:
        files, faults = [], [_no_authority(path, error)]
    else:
        if not files:
            text = f"{_SERVER}: cannot load {path}: the directory contains no file named *.pem, *.crt or *.cer"
            faults.append(Diagnostic("TLS14", text, "put the certificates there, or name a file"))
    for file in files:
        try:
            good, is_whole = _trust_file(context, file)
        except (OSError, ValueError) as error:
            faults.append(_no_authority(file, error))
            continue
        found += good
        faults += _date_faults(_SERVER, file, good)
        if not is_whole:
            text = f"{_SERVER}: cannot load all of {file}: it contains a malformed certificate"
            faults.append(Diagnostic("TLS20", text, "remove or replace that certificate"))
    return bool(found), faults


def _no_authority(path: Path, error: Exception) -> Diagnostic:
    text = f"{_SERVER}: cannot load {path}: {_reason(error)}"
    return Diagnostic("TLS19", text, "name a readable file in PEM or DER form")


def _files(path: Path) -> Sequence[Path]:
    """The file, or those of the directory; hashed links are left out, since they repeat what is there."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)


def _trust_file(context: ssl.SSLContext, file: Path) -> tuple[Sequence[Certificate], bool]:
    """Trust what a file holds; returns its good certificates, and whether these are all; none is a ValueError."""
    data = _read(file)
    try:
        context.load_verify_locations(file)
        is_whole = True
    except ssl.SSLError:
        is_whole = False
    bodies = pem_bodies(data)
    if not bodies and data[:1] == _DER_SEQUENCE:
        bodies, is_whole = [data], True
    good = []
    for body in bodies:
        with contextlib.suppress(ValueError, ssl.SSLError):
            certificate = parse_der(body)
            if not is_whole or body is data:
                context.load_verify_locations(cadata=body)
            good.append(certificate)
    if not good:
        raise ValueError("it contains a malformed certificate" if bodies else "it contains no certificate")
    return good, is_whole and len(good) == len(bodies)


def _show(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    with _loading(_CLIENT, certificate):
        found = parse_pem(_read(certificate))
        if not found:
            raise ValueError("it contains no certificate")
    if key is not None:
        with _loading(_KEY, key):
            content = _read(key)
        if b"ENCRYPTED" in content:
            text = f"{_KEY}: cannot load {key}: it is encrypted with a passphrase"
            raise ConfigError([Diagnostic("TLS15", text, "store the key without one, mode 0600")])
    with _loading(_KEY, key or certificate):
        try:
            # the password keeps OpenSSL from asking on the terminal when the key is encrypted
            context.load_cert_chain(certificate, key, password="")
        except ssl.SSLError as error:
            if error.reason not in _MISMATCHES:
                raise
            text = f"{_KEY}: cannot use {key}: it is not the key of the certificate {certificate}"
            raise ConfigError([Diagnostic("TLS16", text, "configure the key and certificate of one pair")]) from error
    # the others are those of its CAs, and the server has them too; whether it accepts this one is its decision
    for fault in _date_faults(_CLIENT, certificate, found[:1]):
        _logger.warning("%s", fault)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAXIMUM_BYTES)


def _reason(error: Exception) -> str:
    return printable(str(getattr(error, "strerror", None) or error))


@contextlib.contextmanager
def _loading(key: str, path: Path) -> Iterator[None]:
    """Turn errors into a ConfigError that names the file and the key of the configuration."""
    try:
        yield
    except (OSError, ValueError) as error:
        text = f"{key}: cannot load {path}: {_reason(error)}"
        raise ConfigError([Diagnostic("TLS17", text, "name a readable file in PEM form")]) from error


def _date_faults(key: str, path: Path, found: Sequence[Certificate]) -> Sequence[Diagnostic]:
    """The certificates out of date; where the clock is wrong they may still hold."""
    now = datetime.now(timezone.utc)
    remedy = "renew the certificate, or set this device's clock"
    return [
        Diagnostic("TLS18", f"{key}: the certificate {printable(certificate.subject)!r} in {path} {why}", remedy)
        for certificate in found
        if (why := certificate.fault_at(now))
    ]


def _stamp(settings: TlsSettings) -> list[tuple[Path, int, int, int]]:
    """What shows that files have changed: name, inode, time and size of each."""
    files = [path for path in (settings.certificate, settings.key) if path is not None]
    with contextlib.suppress(OSError):
        files += [] if settings.ca_file is None else _files(settings.ca_file)
    stamp = []
    for path in files:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            stamp.append((path, status.st_ino, status.st_mtime_ns, status.st_size))
    return stamp
