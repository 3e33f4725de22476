"""The resources that the devices of a gateway share: clock, connections and certificates."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.app.config import Config
from mender_client.app.host import Host
from mender_client.app.observers import Observers
from mender_client.app.paths import Paths
from mender_client.system.shared_http import SharedClock, SharedTransport

from .paths import STATES

if TYPE_CHECKING:
    from mender_client.system.clock import SystemClock

    _Network = tuple[str, str, str, bool, float]


class GatewayHost(Host):
    """A host whose clock and transport several threads may use."""

    _transport_type = SharedTransport

    def __init__(
        self,
        config: Config,
        paths: Paths,
        *,
        observers: Observers | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        super().__init__(config, paths, observers=observers, environment=environment)
        if isinstance(self.transport, SharedTransport):
            self.transport.share_artifacts(paths.data / STATES)

    def close(self) -> None:
        if isinstance(self.transport, SharedTransport):
            self.transport.close()
        self.clock.close()

    def rest_idle(self) -> None:
        """Close connections that have been idle for a while."""
        if isinstance(self.transport, SharedTransport):
            self.transport.rest_idle()

    def _make_clock(self) -> SystemClock:
        return SharedClock(self.observers.alive, beat_seconds=self.observers.beat_seconds)


class DeviceHost(Host):
    """The view that one device has of a shared host."""

    def __init__(self, shared: Host, observers: Observers) -> None:
        self.observers = observers
        self.clock = shared.clock
        self.clock_check = shared.clock_check
        self.transport = shared.transport

    def close(self) -> None:
        """Do nothing: other devices still use the host."""


class Hosts:
    """The hosts of a gateway: one for its own network settings, and one for each other set that a device has.

    Args:
        config: the gateway's settings.
        paths: the gateway's files.
        observers: are notified that the gateway is alive.
        environment: contains the variables that name proxies.
    """

    def __init__(self, config: Config, paths: Paths, observers: Observers, environment: Mapping[str, str]) -> None:
        self._paths = paths
        self._environment = environment
        self.main = GatewayHost(config, paths, observers=observers, environment=environment)
        self._all: dict[_Network, Host] = {_network(config): self.main}

    def host_of(self, config: Config, observers: Observers) -> DeviceHost:
        """The host for a device with these settings.

        Raises:
            ConfigError: a certificate in the settings can't be used.
        """
        network = _network(config)
        if network not in self._all:
            made = GatewayHost(config, self._paths, environment=self._environment)
            made.clock.close()
            made.clock = self.main.clock
            self._all[network] = made
        return DeviceHost(self._all[network], observers)

    def rest_idle(self) -> None:
        """Close connections that have been idle for a while."""
        for transport in self._transports():
            transport.rest_idle()

    def stop(self) -> None:
        """Interrupt everything in progress; safe in a signal handler."""
        self.main.clock.stop()
        for transport in self._transports():
            transport.stop()

    def _transports(self) -> list[SharedTransport]:
        return [host.transport for host in list(self._all.values()) if isinstance(host.transport, SharedTransport)]


def _network(config: Config) -> _Network:
    """The settings that must be equal for devices to share connections."""
    return (
        str(Path(config.server_certificate)),
        config.client_certificate,
        config.client_key,
        config.skip_verify,
        config.download_stall_seconds,
    )
