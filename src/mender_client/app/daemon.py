"""The daemon: runs the client step by step, waits in between, and handles signals."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import closing, suppress

from mender_client import TYPE_CHECKING, __version__
from mender_client.core.client_status import STOPPED, ClientStatus
from mender_client.core.machine import State
from mender_client.errors import ConfigError, Diagnostic, Interrupted, MenderError
from mender_client.system.connection import Timeouts
from mender_client.system.files import make_directory, remove_stale_files
from mender_client.system.keys import Passphrase, no_passphrase
from mender_client.system.locks import DaemonLock
from mender_client.system.trust import Trust

from .assemble import DeviceParts
from .config import Config
from .devicekey import device_key, prepare_key
from .exitcodes import ExitCode
from .file_checks import identity_problem
from .host import Host
from .installer import installer_problems, installer_reason, root_warning
from .logs import kept_on_failure, reopen_log_files
from .observers import Observers
from .paths import Paths
from .signals import handled_signals

if TYPE_CHECKING:
    from typing import NoReturn

    from mender_client.core.ports import KeyStore

_logger = logging.getLogger(__name__)


def run_daemon(
    config: Config,
    paths: Paths,
    *,
    load: Callable[[], Config],
    make_observers: Callable[[], Observers],
    is_new_key_wanted: bool,
    is_watched: bool = False,
    passphrase: Passphrase = no_passphrase,
) -> ExitCode:
    """Run as the daemon of this device until a signal ends it or the sub-updater is started.

    It also ends if the sub-updater can't be started after the service manager has been notified that the client stops.

    Args:
        config: the settings.
        paths: the device's files.
        load: reloads the settings, and sets up logging accordingly.
        make_observers: makes the observers of this daemon; called when it is known to be the only one.
        is_new_key_wanted: whether to replace the device key first.
        is_watched: whether standard error is a terminal, which then shows a progress bar for downloads.
        passphrase: unlocks the device key.

    Returns:
        DONE, or FAILED when the service manager should restart the daemon.

    Raises:
        MenderError: the daemon can't start.
    """
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # commands may signal once there is a lock; all jobs are due at the start
    make_directory(paths.data)
    lock = DaemonLock(paths.daemon_lock)
    lock.acquire()
    try:
        remove_stale_files(paths.data)
        _check_programs(config, paths)
        key = device_key(config, paths, passphrase)
        if prepare_key(key, paths, is_forced=is_new_key_wanted):
            _logger.info("generated a new device key: %s", key.location)
        observers = make_observers()
        _check_watchdog(observers, config)
        _take_bootstrap(config, paths)
        progressed = None
        if is_watched:
            from .progress import ProgressBar  # imported only where it is needed, to save memory

            progressed = ProgressBar(sys.stderr)

        def announce(is_exiting: bool) -> None:
            if is_exiting and observers.notifier is not None:
                observers.notifier.stopping()  # so that a start requested by the sub-updater is queued, not ignored
            with suppress(OSError):  # then the next daemon is refused, and its service manager tries again
                lock.announce(is_exiting=is_exiting)

        def make_parts(config: Config, key: KeyStore, client_status: ClientStatus) -> DeviceParts:
            host = Host(config, paths, observers=observers.knowing(client_status))
            parts = DeviceParts(host, config, paths, key=key, progressed=progressed, announce=announce)
            if parts.verify_keys is not None:
                for fault in parts.verify_keys.load():
                    _logger.warning("%s", fault)
            _ = parts.agent  # created now, because signal handlers use it
            return parts

        def make_anew(client_status: ClientStatus) -> DeviceParts:
            config = load()
            key = device_key(config, paths, passphrase)
            prepare_key(key, paths)
            return make_parts(config, key, client_status)

        parts = make_parts(config, key, observers.client_status)
        os.chdir("/")
        daemon = _Daemon(parts, make_anew, observers, lock)
        with handled_signals(_handlers(daemon), daemon.wake_descriptor):
            _logger.info("mender-python-client %s started, server %s", __version__, config.server_urls[0])
            return daemon.run()
    finally:
        lock.release()


def end_process(code: ExitCode) -> NoReturn:
    """End this process without shutting down the interpreter, which would take longer than the rest of the hand-over.

    A sub-updater that finishes immediately starts the client again, and the new process would have to wait. Everything
    is on disk, and the kernel closes connections and file descriptors.
    """
    logging.shutdown()
    with suppress(OSError):  # the reader of the output has exited
        sys.stdout.flush()
    os._exit(code)


def _check_programs(config: Config, paths: Paths) -> None:
    """Warn about missing programs at the start rather than when an update is due."""
    trust = Trust.below(paths.root)
    found = dict(installer_problems(config, paths, trust))
    if (problem := identity_problem(paths, trust)) is not None:
        found[problem] = "the device has no identity"
    for problem, consequence in found.items():
        _logger.warning("%s", Diagnostic("FIL05", f"{consequence}: {problem.text}", problem.remedy))
    _logger.info("updates are installed by %s", installer_reason(config, paths))
    if (warning := root_warning(paths)) is not None:
        _logger.warning("%s", warning)


def _take_bootstrap(config: Config, paths: Paths) -> None:
    if os.path.exists(paths.bootstrap):
        from .standalone.naming import ensure_name, offline_parts  # imported only if there is one

        with closing(offline_parts(config, paths)) as parts:
            try:
                ensure_name(parts, config)
            except MenderError as error:
                _logger.error("%s", error)


def _check_watchdog(observers: Observers, config: Config) -> None:
    """Warn when the service manager would mistake a slow server for a hang."""
    longest = max(Timeouts().total, config.download_stall_seconds)
    if 0 < 2 * observers.beat_seconds <= longest:
        text = (
            f"the watchdog of the service manager expires after {2 * observers.beat_seconds:g} s, "
            f"but a request may take {longest:g} s"
        )
        _logger.warning("%s", Diagnostic("DMN02", text, "set WatchdogSec= to more than that"))


class _Daemon:
    """Runs the client; each reload replaces it with a new one, which continues with the status of the old one."""

    def __init__(
        self,
        parts: DeviceParts,
        make_anew: Callable[[ClientStatus], DeviceParts],
        observers: Observers,
        lock: DaemonLock,
    ) -> None:
        self._parts = parts
        self._make_anew = make_anew
        self._notifier = observers.notifier
        self._lock = lock
        self._is_stopping = False
        self._is_reload_wanted = False

    def run(self) -> ExitCode:
        if self._notifier is not None:
            self._notifier.ready()
        try:
            return self._loop()
        finally:
            if self._notifier is not None:
                self._notifier.stopping()

    def _loop(self) -> ExitCode:
        try:
            while not self._is_stopping:
                wait = self._parts.agent.step()
                if self._lock.is_exiting:  # even if the sub-updater has finished: it starts the client again
                    _logger.info("exiting; the sub-updater starts the client again when it is done")
                    if self._parts.tracker.client_status.doing != State.INSTALLING.value:  # then it has finished
                        self._parts.tracker.does(STOPPED)
                    return ExitCode.DONE
                if self._notifier is not None and self._notifier.has_said_stopping:
                    text = "exiting: starting the sub-updater failed after the service manager was notified"
                    _logger.error("%s", Diagnostic("DMN04", text, "let it start the client again after a failure"))
                    self._parts.tracker.does(STOPPED)
                    return ExitCode.FAILED
                if not self._is_reload_wanted:
                    self._parts.clock.wait(wait)
                if self._is_reload_wanted:
                    self._reload()
        except Interrupted:
            pass
        self._parts.tracker.does(STOPPED)
        _logger.info("stopped")
        return ExitCode.DONE

    def _reload(self) -> None:
        """Reload the configuration; errors are logged, and the old one stays in effect."""
        self._is_reload_wanted = False
        if self._notifier is not None:
            self._notifier.reloading()
        try:
            with kept_on_failure():
                parts = self._make_anew(self._parts.tracker.client_status)
        except MenderError as error:
            reopen_log_files()
            for problem in error.problems if isinstance(error, ConfigError) else (error.diagnostic,):
                _logger.error("%s", problem)
            remedy = "correct it and reload again"
            _logger.error("%s", Diagnostic("DMN03", "configuration not reloaded; the old one stays in effect", remedy))
        else:
            old, self._parts = self._parts, parts  # before the close: a signal handler must find open parts
            signal.set_wakeup_fd(self.wake_descriptor, warn_on_full_buffer=False)
            old.close()
            del old
            gc.collect()  # the old parts refer to each other, and would not be collected while idle
            _logger.info("configuration reloaded; command line and data directory are unchanged")
        if self._notifier is not None:
            self._notifier.ready()

    @property
    def wake_descriptor(self) -> int:
        """The file descriptor that ends the wait when written to; a reload replaces it."""
        return self._parts.clock.wake_descriptor

    def stop(self, *_: object) -> None:
        """Stop soon; what is in progress is interrupted."""
        self._is_stopping = True
        self._parts.clock.stop()
        self._parts.transport.stop()

    def poll(self, *_: object) -> None:
        self._parts.agent.request_poll()
        self._parts.clock.wake()

    def send_inventory(self, *_: object) -> None:
        self._parts.agent.request_inventory()
        self._parts.clock.wake()

    def reload(self, *_: object) -> None:
        self._is_reload_wanted = True
        self._parts.clock.wake()


def _handlers(daemon: _Daemon) -> dict[int, Callable[..., None]]:
    """TERM and INT stop the daemon, USR1 polls now, USR2 sends the inventory now, HUP reloads the configuration."""
    return {
        signal.SIGTERM: daemon.stop,
        signal.SIGINT: daemon.stop,
        signal.SIGUSR1: daemon.poll,
        signal.SIGUSR2: daemon.send_inventory,
        signal.SIGHUP: daemon.reload,
    }
