"""The client embedded in another program.

The program supplies a description of the device, and a function or update modules that install updates. The state file,
pending reports, verification and resumed downloads are those of the daemon.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from mender_client.app.assemble import DeviceParts
from mender_client.app.config import LoadedConfig, check_settings, load_config
from mender_client.app.devicekey import device_key, prepare_key
from mender_client.app.file_checks import check_configuration_files, check_files
from mender_client.app.host import Host
from mender_client.app.paths import Paths
from mender_client.app.update_module import UpdateModule
from mender_client.client.deployments import Offer
from mender_client.client.engine import Held
from mender_client.core.model import Deployment
from mender_client.dataclass import replace
from mender_client.errors import BusyError, Diagnostic, Interrupted, KeyFileError, MenderError, UsageError
from mender_client.installers.callback import InstallFunction
from mender_client.system.files import make_directory
from mender_client.system.journal import JsonJournal
from mender_client.system.keys import Passphrase, no_passphrase
from mender_client.system.locks import DaemonLock
from mender_client.system.secretfile import check_secret

from .callbacks import ProgressCallback, ProgressFunction, StateFunction, ToldJournal
from .deciding import Deciding
from .description import DescribedDevice, DeviceDescription
from .program import EmbeddingProgram

_logger = logging.getLogger(__name__)


class Client(Deciding):
    """A Mender client inside another program.

    Everything that must survive a crash or a power cut is in the data directory: pass the same directory each time.
    Only one client may use it at a time. Use a client from one thread only, except for ``poll_now``, ``stop`` and the
    decisions about updates, which may be called from any thread.

    The deployment log that is sent to the server after a failure contains what the logger ``mender_client`` records:
    set its level to INFO.

    Args:
        settings: the settings of ``mender.conf``, with the same keys: ``{"ServerURL": "https://mender.example.com"}``;
            or the path of such a file, which is read as by the daemon, with ``mender.conf`` in the data directory as
            the fallback for missing keys. ``DaemonLogLevel`` and ``DeviceTypeFile`` have no effect.
        data: the data directory; created if it doesn't exist.
        device: the description of the device.
        install: installs the Artifacts that ``step`` or ``run`` download; None for a program that calls ``download``.
        modules: the update modules to use instead of ``install``, by payload type. Each is a subclass of
            ``UpdateModule``, or a function that makes an instance from the directory of the update.
        reboot: starts the reboot for update modules that leave it to the client ("Automatic"); the client waits 10
            minutes for it. Call ``stop`` in it to end ``run``.
        passphrase: unlocks an encrypted device key, or is the PIN of its token; a new key is encrypted with it.
        on_progress: called with the progress of downloads, which is then not logged.
        on_state: called with each state of a deployment.

    Raises:
        ConfigError: settings are invalid; the error lists all of them.
        UsageError: both ``install`` and ``modules`` are given.
        BusyError: another client uses the data directory.
        StorageError: the data directory can't be used.
        KeyFileError: there is no usable device key, and none can be created.
    """

    def __init__(
        self,
        settings: Mapping[str, object] | Path | str,
        *,
        data: Path | str,
        device: DeviceDescription,
        install: InstallFunction | None = None,
        modules: Mapping[str, Callable[[str], UpdateModule]] | None = None,
        reboot: Callable[[], object] | None = None,
        passphrase: str | None = None,
        on_progress: ProgressFunction | None = None,
        on_state: StateFunction | None = None,
    ) -> None:
        if install is not None and modules is not None:
            text = "cannot install by a function and by update modules"
            raise UsageError("API11", text, remedy="pass install= or modules=")
        file = None if isinstance(settings, Mapping) else str(Path(settings).absolute())
        paths = Paths.locate(config=file, data=str(Path(data).absolute()))
        loaded = check_settings(settings) if isinstance(settings, Mapping) else _read_files(paths)
        config = loaded.config
        for warning in loaded.warnings:
            _logger.warning("%s", warning)
        make_directory(paths.data)
        self._lock = DaemonLock(paths.daemon_lock)
        self._lock.acquire()
        try:
            key = device_key(config, paths, _passphrase(passphrase))
            prepare_key(key, paths)
            self._is_installing = install is not None or modules is not None
            self._offer: Offer | None = None
            self._artifact = paths.artifact
            self._is_closed = False
            self._opened = DeviceParts(
                Host(config, paths),
                config,
                paths,
                key=key,
                journal=ToldJournal(paths.journal, on_state) if on_state else JsonJournal(paths.journal),
                progressed=ProgressCallback(on_progress) if on_progress else None,
                program=EmbeddingProgram(
                    device=DescribedDevice(device), paths=paths, install=install, modules=modules, reboot=reboot
                ),
            )
            _ = self._opened.agent  # created now: other threads and signal handlers use it
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _parts(self) -> DeviceParts:
        if self._is_closed:
            raise UsageError("API04", "cannot use this client: it is closed", remedy="make a new one")
        return self._opened

    def close(self) -> None:
        """Close connections and release the data directory.

        Afterwards, all methods but ``close``, ``poll_now`` and ``stop`` raise UsageError.
        """
        if not self._is_closed:
            self._is_closed = True
            self._opened.close()
            self._lock.release()

    # -- step by step -------------------------------------------------------------------------------------------

    def authorise(self) -> None:
        """Authenticate with the server, which registers a device that it does not know.

        Raises:
            NotAcceptedError: the device is pending acceptance, or was rejected; try again later.
            MenderError: the device can't authenticate for another reason.
        """
        self._parts.session.authorise()

    def send_inventory(self) -> None:
        """Send the inventory.

        Raises:
            MenderError: it can't be sent; NotAcceptedError as for ``authorise``.
        """
        self._parts.inventory.send(even_if_unchanged=True)

    def check(self) -> Deployment | None:
        """Ask the server for a deployment; return None if there is none.

        A deployment whose download was interrupted is returned again, and ``download`` resumes it. Pending reports are
        sent first.

        Raises:
            BusyError: a downloaded deployment waits for ``report``.
            MenderError: the server can't be reached or answers with an error.
        """
        self._parts.engine.resume()
        waiting = self._parts.lock.read()
        if waiting is not None:
            text = f"cannot check for a deployment: {waiting or 'another one'} is waiting for its report"
            raise BusyError("API01", text, remedy="call report() first")
        self._parts.outbox.flush()
        self._offer = self._parts.engine.ask()
        return None if self._offer is None else self._offer.deployment

    def download(self) -> Path | None:
        """Download the Artifact of the deployment that ``check`` found, and verify it.

        Returns:
            The path of the verified Artifact, which is kept until ``report``. None if the deployment has ended: it
            failed, which is reported, or the server aborted it.

        Raises:
            UsageError: ``check`` has found no deployment, or the client installs updates itself.
            BusyError: the update waits at a gate; ``check`` again later.
            MenderError: the server can't be reached; ``check`` again later.
        """
        engine = self._parts.engine
        if self._is_installing:
            raise UsageError("API05", "cannot download: in a client that installs, step() and run() do")
        if self._offer is None:
            raise UsageError("API06", "cannot download: no deployment is known", remedy="call check() first")
        offer, self._offer = self._offer, None
        waits = engine.run() if engine.begin(offer) else None
        if isinstance(waits, Held):
            raise BusyError("API12", "cannot download: the update is waiting at a gate", remedy="check() again later")
        return None if waits is None else self._artifact

    def report(self, *, success: bool, reason: str = "") -> None:
        """Report the outcome of the installation in progress.

        The outcome is stored first. If it can't be sent now, the next ``check`` or ``step`` sends it.

        Args:
            success: whether the Artifact is installed.
            reason: why it isn't; included in the deployment log for the server.

        Raises:
            UsageError: no deployment is waiting for a report.
            StorageError: the outcome can't be stored.
        """
        deployment_id = self._parts.lock.read()
        if not deployment_id:
            raise UsageError(
                "API07", "cannot report: no deployment is waiting for a report", remedy="call download() first"
            )
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

        Errors of the network, the server and the device are logged and retried with back-off.

        Returns:
            Seconds until the next step is due.

        Raises:
            UsageError: the client has neither ``install`` nor ``modules``.
            Interrupted: ``stop`` was called.
        """
        agent = self._parts.agent
        if not self._is_installing:
            text = "cannot install: the client has neither a function nor update modules for it"
            raise UsageError("API09", text, remedy="pass install= or modules=")
        return agent.step()

    def run(self) -> None:
        """Call ``step`` repeatedly, waiting in between, until ``stop`` is called.

        Raises:
            UsageError: the client has neither ``install`` nor ``modules``.
        """
        clock = self._parts.clock
        try:
            while not clock.is_stopping:
                clock.wait(self.step())
        except Interrupted:
            return

    def poll_now(self) -> None:
        """Make the next step poll for a deployment, regardless of the schedule; ``run`` takes that step at once.

        May be called from any thread and from signal handlers; no effect on a closed client.
        """
        if not self._is_closed:
            self._opened.agent.request_poll()
            self._opened.clock.wake()

    def stop(self) -> None:
        """Stop ``run`` for good, and interrupt whatever it is doing; to continue, create a new client.

        May be called from any thread and from signal handlers; no effect on a closed client.
        """
        if not self._is_closed:
            self._opened.clock.stop()
            self._opened.transport.stop()


def _read_files(paths: Paths) -> LoadedConfig:
    """Read the configuration files with the checks of the daemon."""
    check_configuration_files(paths)
    loaded = load_config(paths.config, paths.fallback_config)
    return replace(loaded, warnings=(*loaded.warnings, *check_files(loaded.config, paths)))


def _passphrase(given: str | None) -> Passphrase:
    if given is None:
        return no_passphrase
    secret = given.encode()
    if secret.splitlines() != [secret]:
        raise KeyFileError("API10", "cannot use the passphrase: it must be one line of text", remedy="pass another one")
    return lambda: check_secret(secret, "passphrase", "passphrase=")
