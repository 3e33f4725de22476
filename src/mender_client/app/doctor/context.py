"""The device under examination: what several checks look at, gathered once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mender_client.app.config import Config, examine
from mender_client.app.config.settings import build_config
from mender_client.app.paths import Paths
from mender_client.core.record import Record
from mender_client.core.wire import Request
from mender_client.errors import ConfigError, DeviceError, MenderError, StorageError
from mender_client.system.files import DaemonLock
from mender_client.system.journal import JsonJournal
from mender_client.system.trust import Trust

if TYPE_CHECKING:
    from mender_client.app.assemble import DeviceParts
    from mender_client.app.config import ConfigFindings
    from mender_client.core.proxies import Proxy
    from mender_client.system.keys import Passphrase

PORTS = {"http": 80, "https": 443}

_PATIENCE_SECONDS = 10.0


class Memory(JsonJournal):
    """The journal as it is on disk, with what would be written to it only in mind.

    Looking changes nothing. A doctor that runs as root would also take the file away from a client that doesn't.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._record: Record | None = None

    def load(self) -> Record:
        """What the client remembers; nothing when that can't be read."""
        if self._record is None:
            try:
                self._record = self.peek()[0]
            except StorageError:
                self._record = Record()
        return self._record

    def update(self, change: Callable[[Record], Record]) -> Record:
        """Keep a change in mind."""
        self._record = change(self.load())
        return self._record


class DiagnosticContext:
    """A device that is looked at.

    Args:
        paths: where everything lies.
        passphrase: opens the device key when it is locked.
    """

    def __init__(self, paths: Paths, passphrase: Passphrase) -> None:
        self.paths = paths
        self.passphrase = passphrase
        self.trust = Trust.below(paths.root)
        self._memory = Memory(paths.journal)

    @cached_property
    def findings(self) -> ConfigFindings:
        """What the configuration files say."""
        return examine(self.paths.config, self.paths.fallback_config)

    @cached_property
    def config(self) -> Config:
        """The settings as far as they are right; defaults stand in for the others."""
        return build_config(self.findings.values)

    @cached_property
    def daemon_pid(self) -> int | None:
        """The daemon that runs, None when none does."""
        return DaemonLock(self.paths.daemon_lock).holder()

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The variables that the client runs with: those of the daemon, where it runs and we may look; else ours."""
        try:
            data = Path(f"/proc/{self.daemon_pid}/environ").read_bytes() if self.daemon_pid else b""
        except OSError:
            data = b""
        pairs = (entry.partition("=") for entry in os.fsdecode(data).split("\0"))
        return {name: value for name, _, value in pairs if name} or os.environ

    @property
    def record(self) -> Record:
        """What the client remembers, and what this look at it has shown."""
        return self._memory.load()

    @cached_property
    def parts(self) -> DeviceParts:
        """The parts of the device, with shorter time limits than the daemon's.

        Raises:
            ConfigError: they can't be made.
        """
        from mender_client.app.assemble import DeviceParts
        from mender_client.app.devicekey import device_key
        from mender_client.app.host import Host
        from mender_client.system.http import Timeouts

        key = device_key(self.config, self.paths, self.passphrase)
        seconds = _PATIENCE_SECONDS
        timeouts = Timeouts(connect=seconds, idle=seconds, total=2 * seconds)
        host = Host(self.config, self.paths, timeouts=timeouts, environment=self.environment)
        return DeviceParts(host, self.config, self.paths, key=key, journal=self._memory)

    @cached_property
    def refusal(self) -> MenderError | None:
        """Why the server doesn't let this device in, asked once as the daemon asks; None when it does."""
        if not self.config.server_urls:
            return ConfigError(["no server is configured"])
        try:
            self.parts.session.authorise()
        except MenderError as error:
            return error
        return None

    @cached_property
    def obstacle(self) -> MenderError | None:
        """What keeps this device from speaking with the server, also where it has nothing to sign its request with."""
        if not isinstance(self.refusal, DeviceError):
            return self.refusal
        try:
            self.parts.transport.send(Request("GET", self.config.server_urls[0]))
        except MenderError as error:
            return error
        return None

    def proxy_of(self, url: str) -> Proxy | None:
        """The proxy that leads to an address, None for none.

        Raises:
            ConfigError: a variable that names a proxy can't be used.
        """
        from mender_client.core.proxies import read_proxies

        parts = urlsplit(url)
        return read_proxies(self.environment).choose(
            parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme]
        )

    def close(self) -> None:
        """Give back what was opened."""
        if "parts" in self.__dict__:
            self.parts.close()
