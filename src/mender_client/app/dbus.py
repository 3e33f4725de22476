"""``dbus``: shares the authorisation of this device with third-party add-ons, on the system bus.

It authenticates independently of the daemon, with the same device key and identity, as ``connect`` does.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import closing

from mender_client import TYPE_CHECKING
from mender_client.core.model import Token
from mender_client.errors import ConfigError, Diagnostic, MenderError
from mender_client.system.clock import jitter
from mender_client.system.files import make_directory
from mender_client.system.http import HttpTransport
from mender_client.system.keys import Passphrase

from .config import Config
from .devicekey import device_key
from .exitcodes import ExitCode
from .host import Host
from .logs import kept_on_failure, reopen_log_files
from .paths import Paths
from .server_parts import ServerParts
from .signals import handled_signals

if TYPE_CHECKING:
    from mender_client.dbus.request import Far
    from mender_client.dbus.service import DbusService

_logger = logging.getLogger(__name__)

_SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"


def run_dbus(config: Config, paths: Paths, passphrase: Passphrase, load: Callable[[], Config]) -> ExitCode:
    """Serve add-ons until a signal ends the program.

    Args:
        config: the settings of the client.
        paths: the device's files.
        passphrase: unlocks the device key.
        load: reloads the settings, and sets up logging accordingly.

    Raises:
        MenderError: ``dbus`` can't start.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it is handled
    try:
        from mender_client.dbus.service import DbusService, Server

        from .dbus_decisions import decisions_interface
    except ModuleNotFoundError as error:
        text = f"dbus needs the Python package {error.name}, which is not installed"
        remedy = "install it: 'pip install mender-python-client[dbus]', or Debian's python3-jeepney"
        raise ConfigError([Diagnostic("BUS06", text, remedy)]) from error
    make_directory(paths.data)
    with closing(_Way(config, paths, passphrase)) as way:
        service = DbusService(
            os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or _SYSTEM_BUS,
            Server(way.authorise, way.give_up, way.reach, way.has_others),
            config.retry_poll_seconds,
            jitter,
            [decisions_interface(paths)],
        )
        os.chdir("/")
        with handled_signals(_handlers(service, way, load), service.loop.wake_descriptor):
            service.run()
    return ExitCode.DONE


def _handlers(service: DbusService, way: _Way, load: Callable[[], Config]) -> dict[int, Callable[..., None]]:
    """TERM and INT end the program, HUP reloads the configuration."""

    def stop(*_: object) -> None:
        service.stop()
        way.stop()

    return {
        signal.SIGTERM: stop,
        signal.SIGINT: stop,
        signal.SIGHUP: lambda *_: service.call_when_settled(lambda: _reload(service, way, load)),
    }


def _reload(service: DbusService, way: _Way, load: Callable[[], Config]) -> None:
    """Reload the configuration; errors are logged, and the old settings stay in effect."""
    try:
        with kept_on_failure():
            config = load()
            way.renew(config)
    except MenderError as error:
        reopen_log_files()
        for problem in error.problems if isinstance(error, ConfigError) else (error.diagnostic,):
            _logger.error("%s", problem)
        text = "configuration not reloaded; the old one stays in effect"
        _logger.error("%s", Diagnostic("BUS07", text, "correct it and reload again"))
    else:
        service.renew(config.retry_poll_seconds)
        _logger.info("configuration reloaded; fetching a token")


class _Way:
    """The access to the server: the client's authorisation, and connections.

    Args:
        config: the settings.
        paths: the device's files.
        passphrase: unlocks the device key.
    """

    def __init__(self, config: Config, paths: Paths, passphrase: Passphrase) -> None:
        self._paths = paths
        self._passphrase = passphrase
        self._take(config)

    def _take(self, config: Config) -> None:
        key = device_key(config, self._paths, self._passphrase)
        self._parts = ServerParts(Host(config, self._paths), config, self._paths, key=key)
        self._transports = _Transports(self._parts.host)
        self._has_others = len(config.server_urls) > 1

    def renew(self, config: Config) -> None:
        """Apply new settings; must not be called while ``authorise`` runs.

        Raises:
            ConfigError: a key or certificate that they name can't be used.
        """
        old = self._parts
        self._take(config)
        old.close()

    def authorise(self) -> Token:
        """Fetch a new token; raises MenderError."""
        self._parts.session.forget_token()
        return self._parts.session.authorise()

    def give_up(self, server_url: str) -> None:
        """Use a server other than this one from now on."""
        self._parts.session.give_up(server_url)

    def reach(self, server_url: str) -> Far:
        """Open a connection to a server; raises NetworkError."""
        return self._transports.reach(server_url)

    def has_others(self) -> bool:
        """Whether there is more than one server."""
        return self._has_others

    def stop(self) -> None:
        """Interrupt what is in progress; safe in a signal handler."""
        self._parts.clock.stop()
        self._parts.transport.stop()
        self._transports.stop()

    def close(self) -> None:
        """Close connections and file descriptors."""
        self._parts.close()


class _Transports:
    """The transports of the threads that connect to the server; one thread at a time may use each.

    Args:
        host: makes the transports.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._free: list[HttpTransport] = []
        self._busy: list[HttpTransport] = []
        self._lock = threading.Lock()

    def reach(self, server_url: str) -> Far:
        """Open a connection to a server.

        Raises:
            NetworkError: it can't be reached.
        """
        from mender_client.dbus.request import Far

        with self._lock:
            transport = self._free.pop() if self._free else self._host.new_transport()
            self._busy.append(transport)
        try:
            dialed = transport.dial(server_url)
        finally:
            with self._lock:
                self._busy.remove(transport)
                self._free.append(transport)
        headers = [("Proxy-Authorization", dialed.proxy_authorization)] if dialed.proxy_authorization else []
        return Far(dialed.sock, dialed.host, dialed.prefix, headers)

    def stop(self) -> None:
        """Interrupt what is in progress; safe in a signal handler."""
        for transport in list(self._busy):
            transport.stop()
