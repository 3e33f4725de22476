"""Checks of the connection to the server: name, port, proxy, certificate, and whether the device is accepted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

from mender_client.app.host import tls_settings
from mender_client.core.certificate import Certificate
from mender_client.errors import (
    ConfigError,
    ErrorKind,
    NetworkError,
    NotAcceptedError,
    ServerError,
)
from mender_client.system.connection import ConnectionGuard, Timeouts
from mender_client.system.dial import Dialer
from mender_client.system.tls import find_certificate_faults

from .context import PORTS, DiagnosticContext
from .results import CheckResult, Verdict, fault, ok, reported, skipped, warning

_PATIENCE_SECONDS = 10.0
_SOON = timedelta(days=14)
_KINDS_OF_TLS = frozenset(
    {
        ErrorKind.CERTIFICATE_UNKNOWN,
        ErrorKind.CERTIFICATE_SELF_SIGNED,
        ErrorKind.CERTIFICATE_HOST,
        ErrorKind.CERTIFICATE_EXPIRED,
        ErrorKind.CERTIFICATE_EARLY,
        ErrorKind.CERTIFICATE,
        ErrorKind.CLOCK,
        ErrorKind.CLIENT_CERTIFICATE,
        ErrorKind.TLS_VERSION,
        ErrorKind.NO_TLS,
        ErrorKind.TLS,
    }
)
_REPORTED_ELSEWHERE = _KINDS_OF_TLS | {ErrorKind.PROXY, ErrorKind.DNS, ErrorKind.REFUSED, ErrorKind.UNREACHABLE}
"""The kinds of errors that the checks of DNS, connection, proxy and TLS report."""


def _servers(context: DiagnosticContext) -> Iterator[tuple[str, str, int]]:
    """URL, host and port of each server that is reached directly."""
    for url in context.config.server_urls:
        parts = urlsplit(url)
        try:
            is_direct = context.proxy_of(url) is None
        except ConfigError:
            is_direct = False  # the check of the proxy reports it
        if is_direct:
            yield url, parts.hostname or "", parts.port or PORTS[parts.scheme]


def names(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The server's name can be resolved."""
    hosts = [host for _, host, _ in _servers(context)]
    if not hosts:
        yield _skipped_without_server(context)
    for host in dict.fromkeys(hosts):
        try:
            found = {str(address[0]) for *_, address in _dialer().resolve(host, 0)}
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or "it is not a host name"
            yield fault(f"{host!r} can't be resolved: {why}", "check the name in ServerURL, and DNS (/etc/resolv.conf)")
        else:
            yield ok(f"{host} resolves to {', '.join(sorted(found))}")


def _skipped_without_server(context: DiagnosticContext) -> CheckResult:
    return skipped("the server is reached through a proxy" if context.config.server_urls else context.unknown_server)


def _dialer() -> Dialer:
    return Dialer(ConnectionGuard(Timeouts(connect=_PATIENCE_SECONDS, total=_PATIENCE_SECONDS)))


def connection(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The server's port accepts connections."""
    servers = list(_servers(context))
    if not servers:
        yield _skipped_without_server(context)
    for url, host, port in servers:
        try:
            _dialer().dial(host, port).close()
        except socket.gaierror:
            yield skipped(f"{host!r} can't be resolved")
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or "no answer in time"
            yield fault(
                f"{url} can't be reached on port {port}: {why}",
                "check the port, that the server is running, and any firewalls in between",
            )
        else:
            yield ok(f"{host} accepts connections on port {port}")


def proxy(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The proxy, if there is one, accepts connections to the server."""
    try:
        used = {url: found for url in context.config.server_urls if (found := context.proxy_of(url)) is not None}
    except ConfigError as error:
        yield from (reported(Verdict.FAULT, one, "correct this environment variable") for one in error.problems)
        return
    yield from (reported(Verdict.WARNING, one) for one in context.proxies.warnings)
    if not used:
        yield skipped("none" if context.config.server_urls else context.unknown_server)
        return
    obstacle = context.obstacle
    if isinstance(obstacle, NetworkError) and obstacle.kind is ErrorKind.PROXY:
        yield reported(Verdict.FAULT, obstacle.diagnostic)
        return
    for url, found in used.items():
        yield ok(f"{url} is reached through {found}")


def certificate(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The server's certificate is trusted, and so is that of the client if the server requests one."""
    problems, warnings = find_certificate_faults(tls_settings(context.config, context.paths))
    yield from (reported(Verdict.FAULT, one) for one in problems)
    yield from (reported(Verdict.WARNING, one) for one in warnings)
    obstacle = context.obstacle
    if isinstance(obstacle, ConfigError):
        if not problems:
            yield skipped("not checked, because the server can't be used; see the other lines")
        return
    for url in context.config.server_urls:
        if not url.startswith("https"):
            found = f"{url} is reached without TLS: anybody in between can read and change everything"
            yield warning(found, "use an https URL")
    secured = [url for url in context.config.server_urls if url.startswith("https")]
    if not secured:
        return
    if isinstance(obstacle, NetworkError):
        is_about_tls = obstacle.kind in _KINDS_OF_TLS
        yield reported(Verdict.FAULT, obstacle.diagnostic) if is_about_tls else skipped("the server can't be reached")
    elif context.config.skip_verify:
        yield fault("SkipVerify is set: the server's certificate is not verified", "remove SkipVerify")
    else:
        yield ok("the server's certificate is trusted")
    for url in secured:
        yield from _dates(context, url)


def _dates(context: DiagnosticContext, url: str) -> Iterator[CheckResult]:
    try:
        chain = context.parts.transport.look(url).certificates
    except (OSError, ValueError, NetworkError):
        return  # another check reports why the server can't be reached
    now = datetime.now(timezone.utc)
    for number, one in enumerate(chain):
        described = _described(one, is_first=number == 0)
        if now <= one.not_after < now + _SOON:
            yield warning(f"{described}: it expires soon", "renew it in time, or all devices stop updating")
        elif now > one.not_after:
            yield fault(f"{described}: it has expired", "renew it on the server, and check this device's clock")
        else:
            yield ok(described)


def _described(one: Certificate, *, is_first: bool) -> str:
    whose = "the server's" if is_first else "its issuer's"
    valid = f"valid from {one.not_before:%Y-%m-%d} to {one.not_after:%Y-%m-%d}"
    return f"{whose} certificate {one.subject!r}, issued by {one.issuer!r}, {valid}"


def authorisation(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The server accepts this device."""
    if not context.config.server_urls:
        yield skipped(context.unknown_server)
        return
    refusal = context.refusal
    if refusal is None:
        yield ok(f"accepted by {context.parts.session.authorise().server_url}")
    elif isinstance(refusal, NotAcceptedError):
        yield _not_accepted(context)
    elif isinstance(refusal, ServerError):
        yield reported(Verdict.FAULT, refusal.diagnostic, "see the server's log; the client retries automatically")
    elif isinstance(refusal, NetworkError) and refusal.kind not in _REPORTED_ELSEWHERE:
        remedy = "see the server's log, and check firewalls and proxies in between"
        yield reported(Verdict.FAULT, refusal.diagnostic, remedy)
    else:
        yield skipped("not checked, because the server can't be used; see the other lines")


def _not_accepted(context: DiagnosticContext) -> CheckResult:
    """The result if the device isn't accepted; the server gives no reason, but the state file narrows it down."""
    if context.identity_changes:
        return fault(
            "not accepted: the identity or the key differs from what the server accepted", "see the line 'identity'"
        )
    if context.record.accepted is not None:
        return fault(
            "no longer accepted: rejected or removed on the server since it was last accepted",
            "find this identity on the server, and accept its key again",
        )
    return warning(
        "not accepted: pending, rejected, or another device has the same identity with another key (a duplicate)",
        "find this identity on the server and accept its key; if it has two keys, find out whose they are",
    )
