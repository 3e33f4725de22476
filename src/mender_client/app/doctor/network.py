"""Checks of the way to the server: names, connection, certificate, proxy, and whether it lets this device in."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

from mender_client.core.certificate import Certificate
from mender_client.errors import ConfigError, DeviceError, NetworkError, NotAcceptedError, ServerError

from .context import PORTS, DiagnosticContext
from .findings import CheckResult, fault, ok, parted, skipped, warning

_PATIENCE_SECONDS = 10.0
_SOON = timedelta(days=14)
_KINDS_OF_TLS = ("certificate", "client-certificate", "tls", "no-tls", "clock")
_SAID_ELSEWHERE = (*_KINDS_OF_TLS, "proxy", "dns", "refused", "unreachable")
"""Kinds of faults of the network that the lines of name, connection, proxy and TLS name."""


def _servers(context: DiagnosticContext) -> Iterator[tuple[str, str, int]]:
    """Each server that is reached directly: its address, its host and its port."""
    for url in context.config.server_urls:
        parts = urlsplit(url)
        try:
            is_direct = context.proxy_of(url) is None
        except ConfigError:
            is_direct = False  # the line of the proxy says what is wrong with it
        if is_direct:
            yield url, parts.hostname or "", parts.port or PORTS[parts.scheme]


def names(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The server's name leads to an address."""
    hosts = [host for _, host, _ in _servers(context)]
    if not hosts:
        yield skipped("the server is reached through a proxy, or not configured")
    for host in dict.fromkeys(hosts):
        try:
            found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or "it is no host name"
            yield fault(f"{host} can't be resolved: {why}", "check the name in ServerURL, and DNS (/etc/resolv.conf)")
        else:
            yield ok(f"{host} is {', '.join(sorted(found))}")


def connection(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The server's port takes a connection."""
    servers = list(_servers(context))
    if not servers:
        yield skipped("the server is reached through a proxy, or not configured")
    for url, host, port in servers:
        try:
            socket.create_connection((host, port), timeout=_PATIENCE_SECONDS).close()
        except socket.gaierror:
            yield skipped(f"{host} can't be resolved")
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or "no answer in time"
            yield fault(
                f"{url} can't be reached on port {port}: {why}",
                "check the port, that the server runs, and firewalls on the way",
            )
        else:
            yield ok(f"{host} port {port} answers")


def proxy(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The proxy lets the client through, where there is one."""
    try:
        used = {url: found for url in context.config.server_urls if (found := context.proxy_of(url)) is not None}
    except ConfigError as error:
        yield fault(*parted(str(error), "correct that variable of the environment"))
        return
    if not used:
        yield skipped("none")
        return
    obstacle = context.obstacle
    if isinstance(obstacle, NetworkError) and obstacle.kind == "proxy":
        yield fault(*parted(str(obstacle)))
        return
    for url, found in used.items():
        yield ok(f"{url} is reached through {found}")


def certificate(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The server verifies who it is, and the device verifies itself where that is asked for."""
    if not context.config.server_urls:
        yield skipped("no server is configured")
        return
    obstacle = context.obstacle
    if isinstance(obstacle, ConfigError):
        yield from (fault(*parted(str(problem), "correct it, then look again")) for problem in obstacle.problems)
        return
    if not any(url.startswith("https") for url in context.config.server_urls):
        yield warning(
            "the server is reached without TLS", "use an https address: anybody on the way can read and change"
        )
        return
    if isinstance(obstacle, NetworkError):
        is_about_it = obstacle.kind.startswith(_KINDS_OF_TLS)
        yield fault(*parted(str(obstacle))) if is_about_it else skipped("the server can't be reached")
    elif context.config.skip_verify:
        yield fault("SkipVerify is set: the server's certificate is not checked", "remove SkipVerify")
    else:
        yield ok("the server's certificate is good")
    for url in context.config.server_urls:
        if url.startswith("https"):
            yield from _dates(context, url)


def _dates(context: DiagnosticContext, url: str) -> Iterator[CheckResult]:
    try:
        shown = context.parts.transport.look(url).certificates
    except (OSError, ValueError, NetworkError):
        return  # why it can't be asked stands in another line
    now = datetime.now(timezone.utc)
    for number, one in enumerate(shown):
        said = _described(one, is_first=number == 0)
        if now <= one.not_after < now + _SOON:
            yield warning(f"{said}: it ends soon", "renew it before, or devices will stop at once")
        elif now > one.not_after:
            yield fault(f"{said}: it has expired", "renew it on the server, and check this device's clock")
        else:
            yield ok(said)


def _described(one: Certificate, *, is_first: bool) -> str:
    what = "the server's" if is_first else "its issuer's"
    return (
        f"{what} certificate {one.subject!r}, by {one.issuer!r}, {one.not_before:%Y-%m-%d} to {one.not_after:%Y-%m-%d}"
    )


def authorisation(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The server accepts this device."""
    if not context.config.server_urls:
        yield skipped("no server is configured")
        return
    refusal = context.refusal
    if refusal is None:
        yield ok(f"accepted by {context.parts.session.authorise().server_url}")
    elif isinstance(refusal, NotAcceptedError):
        yield _not_accepted(context)
    elif isinstance(refusal, ServerError):
        yield fault(f"the server is in trouble: {refusal}", "see the server's log; the client asks again by itself")
    elif isinstance(refusal, NetworkError) and not refusal.kind.startswith(_SAID_ELSEWHERE):
        yield fault(*parted(str(refusal), "see the server's log, and what stands between: firewall, proxy"))
    elif isinstance(refusal, NetworkError | ConfigError | DeviceError):
        yield skipped("the server could not be asked: see the other lines")
    else:
        yield fault(*parted(str(refusal)))


def _not_accepted(context: DiagnosticContext) -> CheckResult:
    """The server doesn't say why; what the client remembers narrows it down."""
    record = context.record
    if record.identity_change:
        return fault("not accepted: the device asks as something else than before", "see the line 'identity'")
    if record.accepted is not None:
        return fault(
            "no longer accepted: rejected or removed on the server since it was accepted there last",
            "look for this identity on the server, and accept its key again",
        )
    return warning(
        "not accepted: pending, rejected, or another device has the same identity with another key (a duplicate)",
        "look for this identity on the server: accept its key; if it has two, find out which device each is of",
    )
