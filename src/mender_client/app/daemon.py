"""The daemon: runs the client's steps, waits between them, and listens to signals."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mender_client import __version__
from mender_client.errors import Interrupted
from mender_client.system.files import DaemonLock, make_folder
from mender_client.system.keys import Passphrase, no_passphrase
from mender_client.system.trust import Trust

from .assemble import World, assemble
from .config import Config
from .devicekey import device_key, prepare_key
from .exitcodes import ExitCode
from .paths import Paths
from .progress import ProgressBar

_logger = logging.getLogger(__name__)


def run_daemon(
    config: Config,
    paths: Paths,
    *,
    is_new_key_wanted: bool,
    is_watched: bool = False,
    passphrase: Passphrase = no_passphrase,
) -> ExitCode:
    """Be the daemon of this device until a signal ends it or an update is handed over.

    Args:
        config: the settings.
        paths: where everything lies.
        is_new_key_wanted: replace the device key first.
        is_watched: standard error is a terminal: show downloads as a bar there.
        passphrase: unlocks the device key.

    Raises:
        MenderError: it can't start.
    """
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # whoever sees our lock may signal; all is due at the start anyway
    make_folder(paths.data)
    lock = DaemonLock(paths.daemon_lock)
    lock.acquire()
    try:
        _check_scripts(paths)
        key = device_key(config, paths, passphrase)
        if prepare_key(key, paths, replace=is_new_key_wanted):
            _logger.info("made a new device key: %s", key.location)
        world = assemble(config, paths, key=key, progressed=ProgressBar(sys.stderr) if is_watched else None)
        if world.verify_keys is not None:
            world.verify_keys.load()
        os.chdir("/")
        with _signals(world):
            _logger.info("mender-python-client %s started, server %s", __version__, config.server_urls[0])
            _loop(world)
    finally:
        lock.release()
    return ExitCode.DONE


def _check_scripts(paths: Paths) -> None:
    """Complain at the start, not at three in the morning."""
    trust = Trust.below(paths.root)
    for script, purpose in (
        (paths.identity_script, "there is no identity"),
        (paths.sub_updater, "no update can be installed"),
    ):
        if fault := trust.program_fault(script):
            _logger.warning("%s: %s until this is mended", fault, purpose)


def _loop(world: World) -> None:
    try:
        while not world.clock.is_stopping:
            wait = world.client.step()
            if world.client.has_handed_over:
                _logger.info("the sub-updater starts the client again when it is done")
                return
            world.clock.wait(wait)
    except Interrupted:
        pass
    _logger.info("stopped")


@contextmanager
def _signals(world: World) -> Iterator[None]:
    """TERM and INT end the daemon, USR1 polls now, USR2 sends the inventory now."""

    def stop(*_: object) -> None:
        world.clock.stop()
        world.transport.stop()

    def poll(*_: object) -> None:
        world.client.request_poll()
        world.clock.wake()

    def inventory(*_: object) -> None:
        world.client.request_inventory()
        world.clock.wake()

    handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGUSR1: poll, signal.SIGUSR2: inventory}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
