"""The client as a part of another program.

The program brings a description of the device and a function that installs. State file, pending reports, verification
and resumed downloads are those of the daemon.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType

from mender_client.app.assemble import DeviceParts
from mender_client.app.config import check_settings
from mender_client.app.devicekey import device_key, prepare_key
from mender_client.app.host import Host
from mender_client.app.paths import Paths
from mender_client.client.deployments import Offer
from mender_client.core.keyvalue import KeyValues
from mender_client.core.machine import Event
from mender_client.core.model import Deployment, Identity, Provides
from mender_client.errors import BusyError, Diagnostic, Interrupted, MenderError
from mender_client.installers.callback import CallbackInstaller, InstallFunction
from mender_client.system.files import DaemonLock, make_directory
from mender_client.system.marker_file import MarkerFile

_logger = logging.getLogger(__name__)

Values = str | Sequence[str]
"""One value of an attribute, or several."""


@dataclass(slots=True)
class DeviceDescription:
    """Identity, inventory and software of a device. The program may change it at any time; it is read when needed.

    Attributes:
        identity: identifies the device, a serial number for instance; it must never change.
        device_type: the device type that Artifacts must be made for.
        artifact_name: the installed software; set it when an update is installed.
        provides: further provides that Artifacts may depend on.
        inventory: the inventory attributes.
    """

    identity: Mapping[str, Values]
    device_type: str
    artifact_name: str
    provides: Mapping[str, str] = field(default_factory=dict)
    inventory: Mapping[str, Values] = field(default_factory=dict)


class _Described:
    """A description as the workflow asks for it; see ``core.ports.DeviceData``."""

    def __init__(self, description: DeviceDescription) -> None:
        self._description = description

    def identity(self) -> Identity:
        return Identity.from_key_values(_key_values(self._description.identity))

    def inventory(self) -> Sequence[KeyValues]:
        return [_key_values(self._description.inventory)]

    def provides(self) -> Provides:
        described = self._description
        return Provides(described.device_type, described.artifact_name, MappingProxyType(dict(described.provides)))


def _key_values(attributes: Mapping[str, Values]) -> KeyValues:
    pairs = [
        (key, value)
        for key, values in attributes.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return KeyValues(tuple(pairs), ())


class Client:
    """A Mender client inside another program.

    Everything that must survive a crash or a power cut is in the data directory: pass the same one each time. One
    client uses it at a time. Use a client from one thread; ``poll_now`` and ``stop`` may be called from any.

    The log that the server gets of a failure holds what the logger ``mender_client`` lets through: set it to INFO.

    Args:
        settings: what ``mender.conf`` holds, by the same keys: ``{"ServerURL": "https://mender.example.com"}``.
        data: the data directory; made if it isn't there.
        device: what the device says about itself.
        install: installs Artifacts when ``step`` or ``run`` bring them; None for a program that calls ``download``.

    Raises:
        ConfigError: settings are wrong; it names all of them.
        BusyError: another client uses the data directory.
        StorageError: the data directory can't be used.
        KeyFileError: there is no usable device key, and none can be made.
    """

    def __init__(
        self,
        settings: Mapping[str, object],
        *,
        data: Path | str,
        device: DeviceDescription,
        install: InstallFunction | None = None,
    ) -> None:
        config = check_settings(settings)
        paths = Paths.locate(data=str(Path(data).absolute()))
        make_directory(paths.data)
        self._lock = DaemonLock(paths.daemon_lock)
        self._lock.acquire()
        try:
            key = device_key(config, paths)
            prepare_key(key, paths)
            self._install = install
            self._offer: Offer | None = None
            self._artifact = paths.artifact
            self._parts = DeviceParts(
                Host(config, paths),
                config,
                paths,
                key=key,
                device=_Described(device),
                make_installer=lambda lock, outcomes: CallbackInstaller(
                    install or _keep,
                    conclude=lambda deployment_id, is_installed: outcomes.conclude(
                        deployment_id, Event.SUCCESS if is_installed else Event.FAILURE
                    ),
                    lock=lock,
                    trace=MarkerFile(paths.data / "install.trace"),
                ),
            )
            _ = self._parts.agent  # made now: other threads and signal handlers use it
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close connections and release the data directory."""
        self._parts.close()
        self._lock.release()

    # -- step by step -------------------------------------------------------------------------------------------

    def authorise(self) -> None:
        """Authenticate with the server, which registers a device that it does not know.

        Raises:
            NotAcceptedError: the device is pending acceptance, or rejected; ask again later.
            MenderError: the server can't be asked.
        """
        self._parts.session.authorise()

    def send_inventory(self) -> None:
        """Send the inventory.

        Raises:
            MenderError: the server can't be told; NotAcceptedError as in ``authorise``.
        """
        self._parts.inventory.send(even_if_unchanged=True)

    def check(self) -> Deployment | None:
        """Ask for a deployment; None when there is nothing to do.

        A deployment whose download was interrupted is returned again, and ``download`` resumes. Pending reports are
        sent first.

        Raises:
            BusyError: a downloaded deployment waits for ``report``.
            MenderError: the server can't be asked.
        """
        self._parts.engine.resume()
        waiting = self._parts.lock.read()
        if waiting is not None:
            text = f"cannot ask for a deployment: {waiting or 'another one'} waits for its report"
            raise BusyError("API01", text, remedy="call report() first")
        self._parts.outbox.flush()
        self._offer = self._parts.engine.ask()
        return None if self._offer is None else self._offer.deployment

    def download(self) -> Path | None:
        """Fetch the Artifact of the deployment that ``check`` found, and verify it.

        Returns:
            The verified Artifact; it is kept until ``report``. None when the deployment has ended: it failed, which
            is reported, or it was aborted by the server.

        Raises:
            ValueError: ``check`` has found no deployment, or the client has a function that installs.
            MenderError: the server can't be reached; ``check`` again later.
        """
        if self._offer is None or self._install is not None:
            raise ValueError("download() follows a check() that found a deployment, in a client without install")
        offer, self._offer = self._offer, None
        engine = self._parts.engine
        return self._artifact if engine.begin(offer) and engine.run() is not None else None

    def report(self, *, success: bool, reason: str = "") -> None:
        """Report the outcome of the installation under way.

        It is stored first. If it can't be sent now, the next ``check`` or ``step`` sends it.

        Args:
            success: whether it is installed.
            reason: why it is not; goes into the log that the server gets.

        Raises:
            ValueError: nothing waits for a report.
            StorageError: it can't be stored.
        """
        deployment_id = self._parts.lock.read()
        if not deployment_id:
            raise ValueError("report() is for a deployment that was downloaded and waits")
        self._parts.outcomes.report(deployment_id, is_success=success, reporter="the program", reason=reason)
        self._parts.outcomes.free(deployment_id)
        try:
            self._parts.outbox.flush()
        except MenderError as error:
            text = f"{error.text}; the outcome is stored and sent later"
            _logger.warning("%s", Diagnostic("API02", text, remedy=error.remedy))

    # -- by itself ----------------------------------------------------------------------------------------------

    def step(self) -> float:
        """Do what is due: authorise, send the inventory, poll, download, install, report.

        Errors of the network, the server and the device are logged and waited out.

        Returns:
            Seconds until the next step is due.

        Raises:
            ValueError: the client has no function that installs.
            Interrupted: ``stop`` was called.
        """
        if self._install is None:
            raise ValueError("step() and run() need a function that installs: pass install=")
        return self._parts.agent.step()

    def run(self) -> None:
        """Take step after step, waiting between them, until ``stop`` is called."""
        try:
            while not self._parts.clock.is_stopping:
                self._parts.clock.wait(self.step())
        except Interrupted:
            return

    def poll_now(self) -> None:
        """Make the next step poll for a deployment whatever the schedule says; ``run`` takes that step at once.

        May be called from any thread and from signal handlers.
        """
        self._parts.agent.request_poll()
        self._parts.clock.wake()

    def stop(self) -> None:
        """Stop ``run`` and interrupt whatever it is doing; may be called from any thread and from signal handlers."""
        self._parts.clock.stop()
        self._parts.transport.stop()


def _keep(artifact: Path, deployment: Deployment) -> None:
    """Leave it to the program, which calls ``report``."""
