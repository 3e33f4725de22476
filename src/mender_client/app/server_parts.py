"""The parts of one device that communicate with its server: key, identity, token, transport, and services.

``connect`` and ``dbus`` need no others; ``assemble`` adds the parts for updates. Each part is created, and its module
imported, on first use.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from mender_client import TYPE_CHECKING, __version__
from mender_client.system.files import read_text
from mender_client.system.journal import JsonJournal

from .config import Config
from .devicekey import device_key
from .host import Host
from .parts import scripted_device
from .paths import Paths

if TYPE_CHECKING:
    from mender_client.client.auth import Session
    from mender_client.client.configuration import ConfigurationReporter
    from mender_client.client.deployments import Deployments
    from mender_client.client.inventory import InventorySender
    from mender_client.client.status_tracker import StatusTracker
    from mender_client.core.model import Identity
    from mender_client.core.ports import DeviceData, Journal, KeyStore
    from mender_client.system.device import ScriptedDevice

    from .program import Program

_MOST_CONFIGURATION_BYTES = 1024 * 1024


class ServerParts:
    """The parts of one device that communicate with its server, each created on first use.

    Args:
        host: clock, network and observers.
        config: the settings.
        paths: the device's files.
        key: the device key; None for the configured one, without a passphrase.
        journal: stores the state; None for the state file.
        program: the program that embeds the client; None if scripts and files describe the device.
    """

    def __init__(
        self,
        host: Host,
        config: Config,
        paths: Paths,
        *,
        key: KeyStore | None = None,
        journal: Journal | None = None,
        program: Program | None = None,
    ) -> None:
        self.host = host
        self.clock = host.clock
        self.transport = host.transport
        self.paths = paths
        self.journal: Journal = journal or JsonJournal(paths.journal)
        self.key = key or device_key(config, paths)
        self._config = config
        self._program = program
        self.claim_identity: Callable[[Identity], None] = lambda _: None

    def close(self) -> None:
        """Close connections and file descriptors."""
        self.host.close()

    @cached_property
    def device(self) -> DeviceData:
        return self.scripted_device if self._program is None else self._program.device

    @cached_property
    def scripted_device(self) -> ScriptedDevice:
        return scripted_device(self._config, self.paths, self.clock, self.host.observers)

    @cached_property
    def tracker(self) -> StatusTracker:
        from mender_client.client.status_tracker import StatusTracker

        observers = self.host.observers
        return StatusTracker(self.clock, observers.members, observers.client_status)

    @cached_property
    def session(self) -> Session:
        from mender_client.client.auth import Session
        from mender_client.client.identity_guard import IdentityGuard

        return Session(
            transport=self.transport,
            clock=self.clock,
            device=self.device,
            keys=self.key,
            guard=IdentityGuard(journal=self.journal, keys=self.key, claim=self.claim_identity),
            server_urls=self._config.server_urls,
            tenant_token=self._config.tenant_token,
            tracker=self.tracker,
        )

    @cached_property
    def deployments(self) -> Deployments:
        from mender_client.client.deployments import Deployments

        return Deployments(session=self.session, clock=self.clock)

    @cached_property
    def inventory(self) -> InventorySender:
        from mender_client.client.inventory import InventorySender

        return InventorySender(
            session=self.session, clock=self.clock, device=self.device, journal=self.journal, version=__version__
        )

    @cached_property
    def configuration(self) -> ConfigurationReporter:
        from mender_client.client.configuration import ConfigurationReporter

        return ConfigurationReporter(session=self.session, clock=self.clock, read=self._read_configuration)

    def _read_configuration(self) -> str:
        return read_text(self.paths.device_configuration, limit=_MOST_CONFIGURATION_BYTES)

    def report_configuration(self) -> None:
        """Report the configuration of this device, if an update module has stored one."""
        if self.paths.device_configuration.exists():
            self.configuration.send()
