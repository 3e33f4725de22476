"""``dbus``: the authorisation of this device for add-ons of other makers, on the system bus.

It authenticates by itself, with the device key and identity of the client, as ``connect`` does.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from contextlib import closing

from mender_client import TYPE_CHECKING
from mender_client.core.model import Token
from mender_client.errors import ConfigError, Diagnostic
from mender_client.system.files import make_directory
from mender_client.system.http import HttpTransport
from mender_client.system.keys import Passphrase

from .config import Config
from .devicekey import device_key
from .exitcodes import ExitCode
from .host import Host
from .paths import Paths
from .server_parts import ServerParts
from .signals import handled_signals

if TYPE_CHECKING:
    from mender_client.dbus.request import Far

_SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"


def run_dbus(config: Config, paths: Paths, passphrase: Passphrase) -> ExitCode:
    """Serve add-ons until a signal ends the program.

    Raises:
        MenderError: it can't start.
    """
    try:
        from mender_client.dbus.service import DbusService, Server

        from .dbus_decisions import decisions_interface
    except ModuleNotFoundError as error:
        text = f"dbus needs the Python package {error.name}, which is not installed"
        remedy = "install it: 'pip install mender-python-client[dbus]', or Debian's python3-jeepney"
        raise ConfigError([Diagnostic("BUS06", text, remedy)]) from error
    make_directory(paths.data)
    with closing(ServerParts(Host(config, paths), config, paths, key=device_key(config, paths, passphrase))) as parts:
        transports = _Transports(parts.host)

        def authorise() -> Token:
            parts.session.forget_token()
            return parts.session.authorise()

        service = DbusService(
            os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or _SYSTEM_BUS,
            Server(
                authorise,
                lambda url: parts.session.give_up(url),
                transports.reach,
                has_others=len(config.server_urls) > 1,
            ),
            config.retry_poll_seconds,
            random.random,
            [decisions_interface(paths)],
        )

        def stop(*_: object) -> None:
            service.stop()
            parts.clock.stop()
            parts.transport.stop()
            transports.stop()

        os.chdir("/")
        with handled_signals({signal.SIGTERM: stop, signal.SIGINT: stop}, service.loop.wake_descriptor):
            service.run()
    return ExitCode.DONE


class _Transports:
    """The transports of the threads that connect to the server: a transport is for one thread at a time.

    Args:
        host: makes them.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._free: list[HttpTransport] = []
        self._busy: list[HttpTransport] = []
        self._lock = threading.Lock()

    def reach(self, server_url: str) -> Far:
        """A connection to a server.

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
        """Break off what is under way; safe in a signal handler."""
        for transport in list(self._busy):
            transport.stop()
