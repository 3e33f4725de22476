"""What the devices of one process share: clock, network and observers."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from mender_client import TYPE_CHECKING, __version__
from mender_client.errors import Diagnostic
from mender_client.system.clock import SystemClock
from mender_client.system.clockevidence import ClockCheck
from mender_client.system.connection import Timeouts
from mender_client.system.http import HttpTransport
from mender_client.system.tls import TlsSettings

from .config import Config
from .observers import Observers
from .paths import Paths

if TYPE_CHECKING:
    from mender_client.core.proxies import Proxies

_logger = logging.getLogger(__name__)


class Host:
    """Clock, network and observers, which any number of devices can share.

    Args:
        config: the settings of the network: servers, TLS, time limits.
        paths: locate the files named by the settings, and those whose timestamps give a lower bound of the time.
        timeouts: the time limits of the network; None for the configured ones.
        observers: are notified of the client's status.
        environment: contains the variables that name proxies.

    Raises:
        ConfigError: a configured certificate or proxy can't be used.
    """

    _transport_type: type[HttpTransport] = HttpTransport

    def __init__(
        self,
        config: Config,
        paths: Paths,
        *,
        timeouts: Timeouts | None = None,
        observers: Observers | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        if config.skip_verify:
            text = "SkipVerify is set: no server certificate is verified, so an attacker can install any Artifact"
            _logger.warning("%s", Diagnostic("CFG17", text, "remove SkipVerify and set ServerCertificate"))
        _warn_of_plain_http(config.server_urls)
        self.observers = observers or Observers()
        self.clock = self._make_clock()
        self.clock_check = ClockCheck([paths.journal, paths.key, paths.artifact_info])
        self._tls = tls_settings(config, paths)
        self._timeouts = timeouts or Timeouts(idle=config.download_stall_seconds)
        self._proxies = _proxies(environment)
        self.transport = self.new_transport()

    def new_transport(self) -> HttpTransport:
        """Create a transport, for use by one thread."""
        return self._transport_type(
            tls=self._tls,
            user_agent=f"mender-python-client/{__version__}",
            timeouts=self._timeouts,
            clock_check=self.clock_check,
            proxies=self._proxies,
        )

    def _make_clock(self) -> SystemClock:
        return SystemClock(self.observers.alive, beat_seconds=self.observers.beat_seconds)

    def close(self) -> None:
        self.transport.rest()
        self.clock.close()


def _warn_of_plain_http(server_urls: Sequence[str]) -> None:
    for url in server_urls:
        if not url.startswith("http:"):
            continue
        # imported only where TLS is not used, to save memory
        from mender_client.core.reach import Reach, reach_of

        if reach_of(urlsplit(url).hostname or "") > Reach.LINK:
            text = f"{url} is used without TLS: an attacker can read the token and answer as the server"
            _logger.warning("%s", Diagnostic("CFG18", text, "use an https address"))


def tls_settings(config: Config, paths: Paths) -> TlsSettings:
    """The settings of TLS, with the paths of the files on this device."""

    def located(path: str) -> Path | None:
        return paths.below_root(path) if path else None

    return TlsSettings(
        ca_file=located(config.server_certificate),
        verify=not config.skip_verify,
        certificate=located(config.client_certificate),
        key=located(config.client_key),
    )


def _proxies(environment: Mapping[str, str]) -> Proxies | None:
    if not any(name.lower().endswith("_proxy") for name in environment):
        return None
    # imported only where a proxy is configured, to save memory
    from mender_client.core.proxies import read_proxies

    proxies = read_proxies(environment)
    for warning in proxies.warnings:
        _logger.warning("%s", warning)
    for proxy in dict.fromkeys((proxies.https, proxies.http)):
        if proxy is not None:
            _logger.info("servers are reached through the proxy %s", proxy)
    return proxies
