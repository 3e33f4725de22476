"""The daemon: runs the client's steps, waits between them, and listens to signals."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mender_client import __version__
from mender_client.core.client_status import STOPPED, ClientStatus
from mender_client.core.ports import KeyStore
from mender_client.errors import ConfigError, Interrupted, MenderError
from mender_client.system.files import DaemonLock, make_directory, remove_stale_files
from mender_client.system.http import Timeouts
from mender_client.system.keys import Passphrase, no_passphrase
from mender_client.system.trust import Trust

from .assemble import World, assemble
from .config import Config
from .devicekey import device_key, prepare_key
from .exitcodes import ExitCode
from .logs import kept_on_failure, reopen_log_files
from .observers import Observers
from .paths import Paths

if TYPE_CHECKING:
    from .progress import ProgressBar

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
    """Be the daemon of this device until a signal ends it or an update is handed over.

    Args:
        config: the settings.
        paths: where everything lies.
        load: reads the settings again, and sets logging up by them.
        make_watch: makes those who look at this daemon, once it is the only one.
        is_new_key_wanted: replace the device key first.
        is_watched: standard error is a terminal: show downloads as a bar there.
        passphrase: unlocks the device key.

    Raises:
        MenderError: it can't start.
    """
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # whoever sees our lock may signal; all is due at the start anyway
    make_directory(paths.data)
    lock = DaemonLock(paths.daemon_lock)
    lock.acquire()
    try:
        remove_stale_files(paths.data)
        _check_scripts(paths)
        key = device_key(config, paths, passphrase)
        if prepare_key(key, paths, is_forced=is_new_key_wanted):
            _logger.info("made a new device key: %s", key.location)
        observers = make_observers()
        _check_watchdog(observers, config)
        progressed = _progress_bar() if is_watched else None

        def make_world(config: Config, key: KeyStore, client_status: ClientStatus) -> World:
            world = assemble(config, paths, key=key, progressed=progressed, observers=observers.knowing(client_status))
            if world.verify_keys is not None:
                world.verify_keys.load()
            return world

        def make_anew(client_status: ClientStatus) -> World:
            config = load()
            key = device_key(config, paths, passphrase)
            prepare_key(key, paths)
            return make_world(config, key, client_status)

        world = make_world(config, key, observers.client_status)
        os.chdir("/")
        daemon = _Daemon(world, make_anew, observers)
        with _signals(daemon):
            _logger.info("mender-python-client %s started, server %s", __version__, config.server_urls[0])
            daemon.run()
    finally:
        lock.release()
    return ExitCode.DONE


def _progress_bar() -> ProgressBar:
    from .progress import ProgressBar  # a daemon that nobody watches does without the memory

    return ProgressBar(sys.stderr)


def _check_scripts(paths: Paths) -> None:
    """Complain at the start, not at three in the morning."""
    trust = Trust.below(paths.root)
    for script, purpose in (
        (paths.identity_script, "there is no identity"),
        (paths.sub_updater, "no update can be installed"),
    ):
        if fault := trust.program_problem(script):
            _logger.warning("%s: %s until this is mended", fault, purpose)


def _check_watchdog(observers: Observers, config: Config) -> None:
    """A service manager that is less patient than we are would take a slow server for a hang."""
    longest = max(Timeouts().total, config.download_stall_seconds)
    if 0 < 2 * observers.beat_seconds <= longest:
        _logger.warning(
            "the service manager restarts this client when it hears nothing for %g s, but a request may take %g s: "
            "set WatchdogSec= to more than that",
            2 * observers.beat_seconds,
            longest,
        )


class _Daemon:
    """One world after the other: each time the configuration is read again, a new one.

    Args:
        world: the first.
        make_anew: makes the next; it goes on from the client status that it is given.
        watch: who looks on.
    """

    def __init__(self, world: World, make_anew: Callable[[ClientStatus], World], observers: Observers) -> None:
        self._world = world
        self._make_anew = make_anew
        self._notifier = observers.notifier
        self._is_stopping = False
        self._is_reload_wanted = False

    def run(self) -> None:
        """Go from step to step until a signal or a hand-over."""
        if self._notifier is not None:
            self._notifier.ready()
        try:
            self._loop()
        finally:
            if self._notifier is not None:
                self._notifier.stopping()

    def _loop(self) -> None:
        try:
            while not self._is_stopping:
                wait = self._world.client.step()
                if self._world.client.has_handed_over:
                    _logger.info("the sub-updater starts the client again when it is done")
                    return
                if not self._is_reload_wanted:
                    self._world.clock.wait(wait)
                if self._is_reload_wanted:
                    self._reload()
        except Interrupted:
            pass
        self._world.tracker.does(STOPPED)
        _logger.info("stopped")

    def _reload(self) -> None:
        """Read the configuration again; what is wrong with it is said, and the old one stays."""
        self._is_reload_wanted = False
        if self._notifier is not None:
            self._notifier.reloading()
        try:
            with kept_on_failure():
                world = self._make_anew(self._world.tracker.client_status)
        except MenderError as error:
            reopen_log_files()
            for problem in error.problems if isinstance(error, ConfigError) else (str(error),):
                _logger.error("%s", problem)
            _logger.error("the new configuration is refused; the old one stays in force")
        else:
            old, self._world = self._world, world  # first of all: a signal must find one that is open
            old.close()
            del old
            gc.collect()  # the old world's parts hold each other; at rest nothing else would look for them
            _logger.info("the configuration is read again; command line and data directory stay as they are")
        if self._notifier is not None:
            self._notifier.ready()

    def stop(self, *_: object) -> None:
        """End soon; what is under way is broken off."""
        self._is_stopping = True
        self._world.clock.stop()
        self._world.transport.stop()

    def poll(self, *_: object) -> None:
        """Poll now."""
        self._world.client.request_poll()
        self._world.clock.wake()

    def send_inventory(self, *_: object) -> None:
        """Send the inventory now."""
        self._world.client.request_inventory()
        self._world.clock.wake()

    def reload(self, *_: object) -> None:
        """Read the configuration again when the step that is under way is over."""
        self._is_reload_wanted = True
        self._world.clock.wake()


@contextmanager
def _signals(daemon: _Daemon) -> Iterator[None]:
    """TERM and INT end the daemon, USR1 polls now, USR2 sends the inventory now, HUP reads the configuration again."""
    handlers = {
        signal.SIGTERM: daemon.stop,
        signal.SIGINT: daemon.stop,
        signal.SIGUSR1: daemon.poll,
        signal.SIGUSR2: daemon.send_inventory,
        signal.SIGHUP: daemon.reload,
    }
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
