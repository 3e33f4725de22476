"""The TLS rules: trusted servers, the client certificate, and reloading both without a restart."""

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

from .files import open_input

_logger = logging.getLogger(__name__)
_SUFFIXES = (".pem", ".crt", ".cer")
_DER_SEQUENCE = b"\x30"
_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""OpenSSL's reasons for a key and certificate that don't match; the last one if their types differ."""
_SERVER, _CLIENT, _KEY = "ServerCertificate", "HttpsClient.Certificate", "HttpsClient.Key"


@dataclass(frozen=True)
class TlsSettings:
    """Which servers are trusted, and how the device authenticates to them.

    Attributes:
        ca_file: certificates to trust in addition to the system's: a file, or a directory of such files.
        verify: False trusts every server; for tests only.
        certificate: the client certificate (PEM); None for none.
        key: its private key (PEM).
    """

    ca_file: Path | None = None
    verify: bool = True
    certificate: Path | None = None
    key: Path | None = None


class TlsRules:
    """The TLS context of new connections; reloaded when one of the operator's files has changed.

    Unusable content of ServerCertificate only causes a warning, since it never makes a server trusted. An unusable
    client certificate is an error, since the device would otherwise connect without the configured authentication.

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
        """The context for a new connection; if a file becomes unusable, log a warning and use its last content."""
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
        """Also trust the bundle of all the system's CAs; False if it is already trusted."""
        if self._is_wide:
            return False
        self._context.load_default_certs()
        self._is_wide = True
        return True


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """The TLS rules: version 1.2 or newer, chain and host name verified, the system's CAs, the client certificate.

    For the system's CAs, only their directory is configured, in which OpenSSL looks up the one that it needs; the
    bundle of all CAs takes more than a megabyte, and ``TlsRules.widen`` loads it if the directory was not sufficient.
    Raises the same errors as ``TlsRules``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    directory = ssl.get_default_verify_paths().capath
    if directory is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(capath=directory)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The same certificates must work with every Python version: 3.13 enabled the strict flag, which rejects many
    # private CAs in the field, and partial chains, which allow an intermediate certificate in the operator's file.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if settings.certificate is not None:
        for fault in _show(context, settings.certificate, settings.key):
            _logger.warning("%s", fault)
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def find_certificate_faults(settings: TlsSettings) -> tuple[Sequence[Diagnostic], Sequence[Diagnostic]]:
    """The errors and the warnings about certificates; the client doesn't start with an error."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    problems, warnings = list[Diagnostic](), list[Diagnostic]()
    if settings.certificate is not None:
        try:
            warnings += _show(context, settings.certificate, settings.key)
        except ConfigError as error:
            problems += error.problems
    if settings.ca_file is not None:
        warnings += trust(context, settings.ca_file)[1]
    return problems, warnings


def trust(context: ssl.SSLContext, path: Path) -> tuple[bool, Sequence[Diagnostic]]:
    """Trust the certificates (PEM or DER) in a file, or in the files of a directory.

    Returns:
        Whether there are any usable ones, and the problems found.
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
            faults.append(Diagnostic("TLS14", text, "put the certificates there, or specify a file"))
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
    return Diagnostic("TLS19", text, "specify a readable file in PEM or DER form")


def _files(path: Path) -> Sequence[Path]:
    """The file, or the files of the directory without hashed links, which are duplicates."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)


def _trust_file(context: ssl.SSLContext, file: Path) -> tuple[Sequence[Certificate], bool]:
    """Trust the certificates in a file; returns the valid ones, and whether all are; ValueError if none is."""
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


def _show(context: ssl.SSLContext, certificate: Path, key: Path | None) -> Sequence[Diagnostic]:
    """Authenticate with a client certificate; returns the warnings about it."""
    with _loading(_CLIENT, certificate):
        found = parse_pem(_read(certificate))
        if not found:
            raise ValueError("it contains no certificate")
    if key is not None:
        with _loading(_KEY, key):
            content = _read(key)
            if not content:
                raise ValueError("it is empty")
        if b"ENCRYPTED" in content:
            text = f"{_KEY}: cannot load {key}: it is encrypted with a passphrase"
            raise ConfigError([Diagnostic("TLS15", text, "store the key without one, mode 0600")])
    with _loading(_KEY, key or certificate):
        try:
            # the password prevents OpenSSL from prompting on the terminal if the key is encrypted
            context.load_cert_chain(certificate, key, password="")
        except ssl.SSLError as error:
            if error.reason not in _MISMATCHES:
                raise
            text = f"{_KEY}: cannot use {key}: it is not the key of the certificate {certificate}"
            raise ConfigError([Diagnostic("TLS16", text, "configure the key and certificate of one pair")]) from error
    # the other certificates are those of CAs, which the server has as well; it decides whether to accept this one
    return _date_faults(_CLIENT, certificate, found[:1])


def _read(path: Path) -> bytes:
    with open_input(path) as file:
        return file.read(MAXIMUM_BYTES)


def _reason(error: Exception) -> str:
    return printable(str(getattr(error, "strerror", None) or error))


@contextlib.contextmanager
def _loading(key: str, path: Path) -> Iterator[None]:
    """Translate errors into a ConfigError that names the file and the configuration key."""
    try:
        yield
    except (OSError, ValueError) as error:
        text = f"{key}: cannot load {path}: {_reason(error)}"
        raise ConfigError([Diagnostic("TLS17", text, "specify a readable file in PEM form")]) from error


def _date_faults(key: str, path: Path, found: Sequence[Certificate]) -> Sequence[Diagnostic]:
    """The faults of certificates that are out of date; if the clock is wrong, they may in fact be valid."""
    now = datetime.now(timezone.utc)
    remedy = "renew the certificate, or set this device's clock"
    return [
        Diagnostic("TLS18", f"{key}: the certificate {printable(certificate.subject)!r} in {path} {why}", remedy)
        for certificate in found
        if (why := certificate.fault_at(now))
    ]


def _stamp(settings: TlsSettings) -> list[tuple[Path, int, int, int]]:
    """A value that changes with the files: name, inode, time and size of each."""
    files = [path for path in (settings.certificate, settings.key) if path is not None]
    with contextlib.suppress(OSError):
        files += [] if settings.ca_file is None else _files(settings.ca_file)
    stamp = []
    for path in files:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            stamp.append((path, status.st_ino, status.st_mtime_ns, status.st_size))
    return stamp
