"""One device of a gateway: between its steps it needs little memory, no thread and no file descriptor."""

from __future__ import annotations

import logging
from contextlib import suppress

from mender_client.app.assemble import DeviceParts
from mender_client.app.config import Config
from mender_client.app.devicekey import device_key, prepare_key
from mender_client.app.host import Host
from mender_client.app.logs import of_device
from mender_client.app.paths import Paths
from mender_client.app.program import Program
from mender_client.client.rounds import Standing, Step
from mender_client.core.client_status import ClientStatus
from mender_client.core.devicekey import KeyType
from mender_client.core.model import Identity
from mender_client.errors import Diagnostic, Interrupted, MenderError, StorageError
from mender_client.system.files import make_directory, write_atomic
from mender_client.system.journal import JsonJournal

from .identities import Identities

_logger = logging.getLogger(__name__)

RETRY_SECONDS = 60.0
"""How long a device waits before it tries again after a step has failed."""

_UNKNOWN = ClientStatus()


class GatewayDevice:
    """A device; see ``client.rounds.Member``.

    Args:
        name: the name of the device.
        group: as for ``Member``.
        host: the resources that it shares with the other devices.
        identities: the identities of all devices.
        config: its settings.
        paths: its files.
        first_artifact: the name of the installed Artifact when the device is started for the first time.
        program: the program that embeds the device, if any.
    """

    def __init__(
        self,
        name: str,
        group: str,
        host: Host,
        identities: Identities,
        config: Config,
        paths: Paths,
        *,
        first_artifact: str = "",
        program: Program | None = None,
    ) -> None:
        self.name = name
        self.group = group
        self.paths = paths
        self._first_artifact = first_artifact
        self._key = device_key(config, paths)
        self._parts = DeviceParts(
            host, config, paths, key=self._key, journal=JsonJournal(paths.journal, indent=None), program=program
        )
        self._identities = identities
        self._parts.claim_identity = self._claim_identity
        self._tracker = self._parts.tracker
        host.observers = host.observers.knowing(_UNKNOWN)  # only the tracker keeps the status
        self._agent = self._parts.agent
        self._agent.may_update = lambda: self._is_allowed
        self._has_key = False
        self._is_allowed = False
        self._fault = ""
        self.standing = Standing.IDLE

    @property
    def client_status(self) -> ClientStatus:
        """The status of the device, for metrics."""
        return self._tracker.client_status

    def request_poll(self) -> None:
        """Poll for a deployment in the next step."""
        self._agent.request_poll()

    def request_inventory(self) -> None:
        """Send the inventory in the next step."""
        self._agent.request_inventory()

    def report(self, *, is_success: bool, reason: str) -> bool:
        """Store the outcome that an embedding program reports; returns whether a deployment was waiting for it.

        Raises:
            StorageError: it can't be stored.
        """
        deployment_id = self._parts.lock.read()
        if not deployment_id:
            return False
        self._parts.outcomes.report(deployment_id, is_success=is_success, reporter="the program", reason=reason)
        self._parts.outcomes.free(deployment_id)
        return True

    def _claim_identity(self, identity: Identity) -> None:
        self._identities.claim(identity, self.name)

    def resume(self) -> None:
        """Continue from where the previous process stopped; an error will occur again in the first step."""
        with of_device(self.name):
            try:
                make_directory(self.paths.data)
                self._agent.resume()
                # the sub-updater is running, or has left its lock: no device of the group may start an update
                self.standing = Standing.UPDATING if self._parts.lock.read() is not None else Standing.IDLE
            except MenderError as error:
                self._say(error.diagnostic)

    def step(self, *, may_update: bool) -> Step:
        with of_device(self.name):
            try:
                self._prepare()
                seconds = self._take_step(may_update=may_update)
            except Interrupted:
                return self._failed()
            except MenderError as error:
                self._say(error.diagnostic)
                return self._failed()
            except Exception as error:
                text = f"internal error: {type(error).__name__}: {error}"
                self._say(Diagnostic("GTW07", text, "report this as a bug, with the log at level debug"))
                _logger.debug("where it failed", exc_info=True)
                return self._failed()
            self._fault = ""
            return Step(seconds, self.standing)

    def _failed(self) -> Step:
        if self.standing is Standing.WANTS:
            self.standing = Standing.IDLE  # let others have the turn; this device asks again later
        return Step(RETRY_SECONDS, self.standing)

    def _prepare(self) -> None:
        """Create the directory and the key, not RSA: a thousand RSA keys take several minutes of processor time."""
        if not self._has_key:
            make_directory(self.paths.data)
            if self._first_artifact and not self.paths.artifact_info.exists():
                text = f"artifact_name={self._first_artifact}\n"
                write_atomic(self.paths.artifact_info, text.encode(), mode=0o644)
            is_old = self.paths.key.exists()
            if prepare_key(self._key, self.paths, kind=None if is_old else KeyType.ECDSA):
                _logger.info("generated a new device key: %s", self._key.location)
            self._has_key = True

    def _take_step(self, *, may_update: bool) -> float:
        self._is_allowed = may_update
        if may_update and self.standing is Standing.WANTS:
            self._agent.request_poll()
        seconds = self._agent.step()
        was, self.standing = self.standing, self._find_standing()
        if was is Standing.UPDATING and self.standing is Standing.IDLE:
            self._parts.forget_update()
        return seconds

    def _find_standing(self) -> Standing:
        if self._agent.is_put_off and not self._is_allowed:
            return Standing.WANTS
        with suppress(StorageError):
            if not self._agent.is_updating:
                return Standing.IDLE
            is_locked = self._parts.lock.read() is not None
            # else an update from before a restart is still waiting for its turn
            return Standing.UPDATING if is_locked or self._is_allowed else Standing.WANTS
        return self.standing

    def _say(self, fault: Diagnostic) -> None:
        """Log a fault, once."""
        if str(fault) != self._fault:
            self._fault = str(fault)
            _logger.error("%s", fault)

    def close(self) -> None:
        """Stop recording, and release the identity; the state of an update in progress is on disk."""
        self._identities.release(self.name)
        self._parts.close()
