"""The data that several checks need, collected once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mender_client.app.assemble import DeviceParts
from mender_client.app.config import Config, ConfigFindings, examine
from mender_client.app.config.settings import build_config
from mender_client.app.devicekey import device_key
from mender_client.app.host import Host
from mender_client.app.observers import Observers
from mender_client.app.parts import scripted_device
from mender_client.app.paths import Paths
from mender_client.core.accepted_identity import accepted_identity, explain_change
from mender_client.core.model import Identity
from mender_client.core.proxies import Proxies, Proxy, read_proxies
from mender_client.core.record import Record
from mender_client.core.wire.messages import Request
from mender_client.errors import ConfigError, DeviceError, Diagnostic, MenderError, StorageError
from mender_client.system.clock import SystemClock
from mender_client.system.connection import Timeouts
from mender_client.system.journal import JsonJournal
from mender_client.system.keys import DeviceKey, Passphrase
from mender_client.system.locks import DaemonLock
from mender_client.system.snapshot import peek_record
from mender_client.system.trust import Trust

if TYPE_CHECKING:
    from mender_client.system.token import TokenKey

PORTS = {"http": 80, "https": 443}

_PATIENCE_SECONDS = 10.0


def is_there(path: Path) -> bool:
    """Whether a path exists, even as a link to a disk that isn't mounted; raises OSError if that is not known."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


class ReadOnlyJournal(JsonJournal):
    """The state file as it is on disk; changes are kept in memory.

    ``doctor`` must not change anything. If root ran it, it would also replace the file with one that a client running
    as another user can't access.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._record: Record | None = None

    def load(self) -> Record:
        if self._record is None:
            try:
                self._record = peek_record(self._path)[0]
            except StorageError:
                self._record = Record()
        return self._record

    def update(self, change: Callable[[Record], Record]) -> Record:
        self._record = change(self.load())
        return self._record


class DiagnosticContext:
    """The device to be checked."""

    def __init__(self, paths: Paths, passphrase: Passphrase) -> None:
        self.paths = paths
        self.passphrase = passphrase
        self.processes = Path("/proc")
        self.trust = Trust.below(paths.root)
        self._journal = ReadOnlyJournal(paths.journal)

    @cached_property
    def findings(self) -> ConfigFindings:
        return examine(self.paths.config, self.paths.fallback_config)

    @cached_property
    def config(self) -> Config:
        config = build_config(self.findings.values)
        if not self.paths.is_of_gateway:
            return config
        from mender_client.app.gateway.settings import settings_of

        return settings_of(config, self.paths)

    @property
    def unknown_server(self) -> str:
        """Why no server is known."""
        is_missing = any(problem.code == "CFG15" for problem in self.findings.problems)
        return "no server is configured" if is_missing else "the configuration can't be used; see the first lines"

    @cached_property
    def daemon_pid(self) -> int | None:
        return DaemonLock(self.paths.daemon_lock).holder()

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The environment of the daemon if it is running and can be read, otherwise that of this process."""
        try:
            data = Path(f"/proc/{self.daemon_pid}/environ").read_bytes() if self.daemon_pid else b""
        except OSError:
            data = b""
        pairs = (entry.partition("=") for entry in os.fsdecode(data).split("\0"))
        return {name: value for name, _, value in pairs if name} or os.environ

    @property
    def record(self) -> Record:
        """The state, including changes made by the checks."""
        return self._journal.load()

    @cached_property
    def key(self) -> DeviceKey | TokenKey:
        return device_key(self.config, self.paths, self.passphrase)

    @cached_property
    def identity(self) -> Identity:
        return scripted_device(self.config, self.paths, SystemClock(), Observers()).identity()

    @cached_property
    def identity_changes(self) -> tuple[Diagnostic, ...]:
        """How identity and key differ from those that the server last accepted, possibly during these checks."""
        _ = self.refusal  # a device that is accepted now does not differ
        try:
            now = accepted_identity(self.identity, self.key.public_key_pem(), self.key.location)
        except MenderError:
            return ()
        return explain_change(self.record.accepted, now, self.identity, self.record.new_key)

    @cached_property
    def parts(self) -> DeviceParts:
        """The parts of the device, with shorter time limits than the daemon's."""
        seconds = _PATIENCE_SECONDS
        timeouts = Timeouts(connect=seconds, idle=seconds, total=2 * seconds)
        host = Host(self.config, self.paths, timeouts=timeouts, environment=self.environment)
        return DeviceParts(host, self.config, self.paths, key=self.key, journal=self._journal)

    @cached_property
    def refusal(self) -> MenderError | None:
        """Why the server doesn't authorise this device, None when it does; asked only once."""
        if not self.config.server_urls:
            return ConfigError(self.findings.problems)  # these include the missing server
        try:
            self.parts.session.authorise()
        except MenderError as error:
            return error
        return None

    @cached_property
    def obstacle(self) -> MenderError | None:
        """What prevents requests to the server; also determined if there is no identity or key to authenticate with."""
        if not isinstance(self.refusal, DeviceError):
            return self.refusal
        try:
            self.parts.transport.send(Request("GET", self.config.server_urls[0]))
        except MenderError as error:
            return error
        return None

    @cached_property
    def proxies(self) -> Proxies:
        """The proxies in the environment; errors as of ``proxy_of``."""
        return read_proxies(self.environment)

    def proxy_of(self, url: str) -> Proxy | None:
        """The proxy for a URL, None for none.

        Raises:
            ConfigError: a variable that names a proxy can't be used.
        """
        parts = urlsplit(url)
        return self.proxies.choose(parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme])

    def close(self) -> None:
        if "parts" in self.__dict__:
            self.parts.close()
