"""The TLS rules: which servers are trusted, the client certificate, and how both are reloaded without a restart."""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from mender_client.core.certificate import MAXIMUM_BYTES, Certificate, parse_pem
from mender_client.core.text import printable
from mender_client.errors import ConfigError, Diagnostic

_logger = logging.getLogger(__name__)
_SUFFIXES = (".pem", ".crt", ".cer")
_SERVER, _CLIENT, _KEY = "ServerCertificate", "HttpsClient.Certificate", "HttpsClient.Key"


@dataclass(frozen=True, slots=True)
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

    Args:
        settings: the files and the rules.
        clock_problem: says why the device's clock is evidently wrong; empty when it isn't.

    Raises:
        ConfigError: a certificate or key can't be used.
    """

    def __init__(self, settings: TlsSettings, clock_problem: Callable[[], str] = lambda: "") -> None:
        self._settings = settings
        self._clock_problem = clock_problem
        self._is_wide = False
        self._stamp = _stamp(settings)
        self._context = tls_context(settings, clock_problem)

    def context(self) -> ssl.SSLContext:
        """For a new connection; files that became unusable are reported once, and their last content is used."""
        stamp = _stamp(self._settings)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._context = tls_context(self._settings, self._clock_problem)
            except ConfigError as error:
                _logger.warning("the certificates loaded before stay in force: %s", error)
            else:
                _logger.info("certificates changed on disk; reloaded")
                if self._is_wide:
                    self._context.load_default_certs()
        return self._context

    def widen(self) -> bool:
        """Trust the bundle of all of the system's CAs too; False if it is trusted already."""
        if self._is_wide:
            return False
        self._context.load_default_certs()
        self._is_wide = True
        return True


def tls_context(settings: TlsSettings, clock_problem: Callable[[], str] = lambda: "") -> ssl.SSLContext:
    """The TLS rules: version 1.2 or newer, chain and host name verified, the system's CAs and the operator's.

    Of the system's CAs the directory is trusted, in which OpenSSL looks up the one that it needs; the bundle of all of
    them costs more than a megabyte and is loaded by ``TlsRules.widen`` when the directory did not suffice. Arguments
    and errors as of ``TlsRules``; where the clock is wrong, the dates of certificates are no reason to fail.
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
    if settings.ca_file is not None:
        _trust(context, settings.ca_file, clock_problem)
    if settings.certificate is not None:
        _show(context, settings.certificate, settings.key, clock_problem)
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _trust(context: ssl.SSLContext, path: Path, clock_problem: Callable[[], str]) -> None:
    found: list[tuple[Path, Certificate]] = []
    for file in _files(path):
        certificates = _read_certificates(_SERVER, file)
        with _loading(_SERVER, file):
            context.load_verify_locations(file)
        found += [(file, certificate) for certificate in certificates]
    if not found:
        text = f"{_SERVER}: cannot load {path}: the directory holds no file named *.pem, *.crt or *.cer"
        raise ConfigError([Diagnostic("TLS14", text, "put the certificates there, or name a file")])
    _check_dates(_SERVER, found, clock_problem)


def _files(path: Path) -> Sequence[Path]:
    """The file, or those of the directory; hashed links are left out, since they repeat what is there."""
    if not path.is_dir():
        return [path]
    with _loading(_SERVER, path):
        return sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)


def _show(context: ssl.SSLContext, certificate: Path, key: Path | None, clock_problem: Callable[[], str]) -> None:
    found = _read_certificates(_CLIENT, certificate)
    if key is not None and b"ENCRYPTED" in _read(_KEY, key):
        text = f"{_KEY}: cannot load {key}: it is encrypted with a passphrase"
        raise ConfigError([Diagnostic("TLS15", text, "store the key without one, mode 0600")])
    with _loading(_KEY, key or certificate):
        try:
            # the password keeps OpenSSL from asking on the terminal when the key is encrypted
            context.load_cert_chain(certificate, key, password="")
        except ssl.SSLError as error:
            if error.reason != "KEY_VALUES_MISMATCH":
                raise
            text = f"{_KEY}: cannot use {key}: it is not the key of the certificate {certificate}"
            raise ConfigError([Diagnostic("TLS16", text, "configure the key and certificate of one pair")]) from error
    # the others are those of its CAs, and the server has them too
    _check_dates(_CLIENT, [(certificate, found[0])], clock_problem)


def _read_certificates(key: str, path: Path) -> Sequence[Certificate]:
    with _loading(key, path):
        certificates = parse_pem(_read(key, path))
        if not certificates:
            raise ValueError("it holds no certificate")
        return certificates


def _read(key: str, path: Path) -> bytes:
    with _loading(key, path), path.open("rb") as file:
        return file.read(MAXIMUM_BYTES)


@contextlib.contextmanager
def _loading(key: str, path: Path) -> Iterator[None]:
    """Turn errors into a ConfigError that names the file and the key of the configuration."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        text = f"{key}: cannot load {path}: {printable(str(reason))}"
        raise ConfigError([Diagnostic("TLS17", text, "name a readable file in PEM form")]) from error


def _check_dates(key: str, found: Sequence[tuple[Path, Certificate]], clock_problem: Callable[[], str]) -> None:
    """Refuse what can't be used; where the clock is wrong or another certificate holds, only complain."""
    now = datetime.now(timezone.utc)
    remedy = "renew the certificate, or set this device's clock"
    faults = [
        Diagnostic("TLS18", f"{key}: the certificate {printable(certificate.subject)!r} in {path} {why}", remedy)
        for path, certificate in found
        if (why := certificate.fault_at(now))
    ]
    if not faults:
        return
    if len(faults) == len(found) and not (wrong := clock_problem()):
        raise ConfigError(faults)
    for fault in faults:
        _logger.warning("%s", fault)
    if len(faults) == len(found):
        text = f"this device's clock is wrong: {wrong}; the certificate is loaded nevertheless"
        _logger.warning("%s", Diagnostic("TLS19", text, "set the clock"))


def _stamp(settings: TlsSettings) -> list[tuple[Path, int, int, int]]:
    """What shows that files have changed: name, inode, time and size of each."""
    files = [path for path in (settings.certificate, settings.key) if path is not None]
    with contextlib.suppress(ConfigError):
        files += [] if settings.ca_file is None else _files(settings.ca_file)
    stamp = []
    for path in files:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            stamp.append((path, status.st_ino, status.st_mtime_ns, status.st_size))
    return stamp
