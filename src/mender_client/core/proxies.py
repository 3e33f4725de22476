"""Selects the proxy for a server according to the usual environment variables.

They are interpreted as by curl: lower case takes precedence over upper case, an empty variable means no proxy, and
``HTTP_PROXY`` is ignored if ``REQUEST_METHOD`` is set, since in a CGI program the client of the web server can set it.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from mender_client.dataclass import dataclass, field
from mender_client.errors import ConfigError, Diagnostic

from .text import printable

_DEFAULT_PORT = 80
_LONGEST_SHOWN = 80
_NUMERIC = re.compile(r"[0-9.]+(/[0-9.]+)?|[0-9a-fA-F.]*:[0-9a-fA-F:.]*(/[0-9]+)?", re.ASCII)
_WITH_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]*):([0-9]{1,5})", re.ASCII)


@dataclass(frozen=True)
class Proxy:
    """A proxy, contacted over plain HTTP.

    Attributes:
        host: its name or address.
        port: its port.
        variable: the variable that specifies it, for messages.
        authorization: the value of ``Proxy-Authorization``, a secret; empty for none.
    """

    host: str
    port: int
    variable: str
    authorization: str = field(default="", repr=False)

    def __str__(self) -> str:
        """The address for messages, without user and password."""
        return f"http://{authority(self.host, self.port)} ({self.variable})"


@dataclass(frozen=True)
class Exemption:
    """An entry of ``no_proxy``.

    Attributes:
        name: a host or domain, subdomains included; ``*`` for all.
        network: a network; None for an entry with a name.
        port: the only port that is exempt; None for all.
    """

    name: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    port: int | None

    def covers(self, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int) -> bool:
        """Whether a host is contacted directly; ``address`` is the host as an address, None if it is a name."""
        if self.port not in (None, port):
            return False
        if self.network is not None:
            return address is not None and address.version == self.network.version and address in self.network
        return self.name in ("*", host) or host.endswith(f".{self.name}")


@dataclass(frozen=True)
class Proxies:
    """The proxies of a device.

    Attributes:
        http: the proxy for http URLs.
        https: the proxy for https URLs.
        exemptions: the hosts that are contacted directly.
        warnings: the entries of ``no_proxy`` that are ignored.
    """

    http: Proxy | None = None
    https: Proxy | None = None
    exemptions: tuple[Exemption, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()

    def choose(self, scheme: str, host: str, port: int) -> Proxy | None:
        """The proxy for a server; None for a direct connection, which is always used for this device itself."""
        proxy = self.https if scheme == "https" else self.http
        if proxy is None:
            return None
        name = host.strip("[]").partition("%")[0].rstrip(".").lower()
        address = _address(name)
        is_this_device = name == "localhost" if address is None else address.is_loopback
        if is_this_device or any(exemption.covers(name, address, port) for exemption in self.exemptions):
            return None
        return proxy


def authority(host: str, port: int) -> str:
    """Host and port as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def read_proxies(environment: Mapping[str, str]) -> Proxies:
    """Read ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy``.

    Raises:
        ConfigError: a proxy is invalid; the message names the variable, but not its value.
    """
    problems: list[str] = []

    def proxy(*names: str) -> Proxy | None:
        for name in names:
            variable, value = _variable(environment, name)
            if value:
                try:
                    return _proxy(variable, value)
                except ValueError as error:
                    problems.append(f"{variable}: cannot use this proxy: {error}")
                    return None
        return None

    http, https = proxy("http_proxy", "all_proxy"), proxy("https_proxy", "all_proxy")
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return Proxies(http, https, *_exemptions(*_variable(environment, "no_proxy")))


def _variable(environment: Mapping[str, str], name: str) -> tuple[str, str]:
    upper = name.upper()
    if name in environment or (name == "http_proxy" and "REQUEST_METHOD" in environment):
        return name, environment.get(name, "").strip()
    return upper, environment.get(upper, "").strip()


def _proxy(variable: str, value: str) -> Proxy:
    parts = _split(value if "://" in value else f"http://{value}")
    if parts.scheme != "http":
        raise ValueError("only proxies with an http:// address are supported, for https servers too")
    user, password = parts.username or "", parts.password or ""
    authorization = ""
    if user or password:
        pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
        authorization = "Basic " + base64.b64encode(pair).decode("ascii")
    return Proxy(parts.hostname or "", parts.port or _DEFAULT_PORT, variable, authorization)


def _split(text: str) -> SplitResult:
    """Split a URL; part of an unescaped password must not be taken for a host or a path."""
    try:
        parts = urlsplit(text)
        is_usable = bool(parts.hostname) and parts.path in ("", "/") and not parts.query and not parts.fragment
        _ = parts.port
    except ValueError:
        is_usable = False
    if not is_usable or not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ValueError(
            "it must be an address such as http://proxy.example.com:3128; in http://USER:PASSWORD@HOST:PORT, "
            "special characters of user and password must be percent-encoded"
        ) from None
    return parts


def _exemptions(variable: str, value: str) -> tuple[tuple[Exemption, ...], tuple[Diagnostic, ...]]:
    found, warnings = list[Exemption](), list[Diagnostic]()
    for entry in filter(None, re.split(r"[\s,]+", value)):
        try:
            found.append(_exemption(entry))
        except ValueError:
            text = f"{variable}: the entry {printable(entry[:_LONGEST_SHOWN])!r} is ignored"
            remedy = "write a host, a domain, an address or a network such as 10.0.0.0/8"
            warnings.append(Diagnostic("CFG19", text, remedy))
    return tuple(found), tuple(warnings)


def _exemption(entry: str) -> Exemption:
    port = None
    if match := _WITH_PORT.fullmatch(entry):
        entry, port = match[1], int(match[2])
    text = entry.strip("[]").partition("%")[0]
    if _NUMERIC.fullmatch(text):
        return Exemption("", ipaddress.ip_network(text, strict=False), port)
    if "/" in text or ":" in text:
        raise ValueError("it is not a host")
    name = text if text == "*" else text.lower().removeprefix("*").strip(".")
    if not name:
        raise ValueError("it is not a host")
    return Exemption(name, None, port)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
