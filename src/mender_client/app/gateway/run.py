"""``gateway``: runs its devices until a signal ends it."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from mender_client import __version__
from mender_client.app.config import Config
from mender_client.app.exitcodes import ExitCode
from mender_client.app.logs import kept_on_failure, reopen_log_files
from mender_client.app.observers import Observers, make_notifier
from mender_client.app.paths import Paths
from mender_client.app.signals import handled_signals
from mender_client.client.rounds import Rounds
from mender_client.core.turns import Turns
from mender_client.dataclass import dataclass
from mender_client.errors import ConfigError, Diagnostic, Interrupted, MenderError
from mender_client.system.files import make_directory, remove_stale_files
from mender_client.system.locks import DaemonLock
from mender_client.system.workers import Workers

from .fleet import Fleet, gateway_fault
from .host import Hosts
from .metrics import DevicesMetrics
from .paths import STATES
from .requests import take_requests

_logger = logging.getLogger(__name__)

SCAN_SECONDS = 5.0
"""The interval at which the directory with the descriptions is checked for changes."""

_STACK_BYTES = 512 * 1024
"""The stack size of each thread; there is no deep recursion."""


@dataclass(frozen=True)
class GatewayOptions:
    """The options of the gateway.

    Attributes:
        devices: the directory with the descriptions of the devices.
        workers: how many devices authenticate, poll and send their inventory at once.
        at_once: how many devices are updated at once.
        metrics_file: the file for metrics; None for none.
    """

    devices: Path
    workers: int = 8
    at_once: int = 4
    metrics_file: Path | None = None


def run_gateway(config: Config, paths: Paths, options: GatewayOptions, *, load: Callable[[], Config]) -> ExitCode:
    """Run the devices until a signal ends it.

    Args:
        config: the gateway's settings, which also apply to its devices.
        paths: the gateway's files.
        options: the options of the command line.
        load: reloads the settings, and sets up logging accordingly.

    Raises:
        MenderError: the gateway can't start.
    """
    make_directory(paths.data / STATES)
    lock = DaemonLock(paths.data / "gateway.lock")
    lock.acquire()
    try:
        remove_stale_files(paths.data / STATES)
        take_requests(paths.data)  # every device polls when it starts
        notifier = make_notifier(os.environ, os.getpid())
        observers = Observers((notifier,) if notifier is not None else (), notifier)
        hosts = Hosts(config, paths, observers, os.environ)
        gateway = Gateway(hosts, config, paths, options, load=load)
        os.chdir("/")
        with handled_signals(_handlers(gateway), gateway.clock.wake_descriptor):
            gateway.run()
    finally:
        lock.release()
    return ExitCode.DONE


class Gateway:
    """A running gateway."""

    def __init__(
        self, hosts: Hosts, config: Config, paths: Paths, options: GatewayOptions, *, load: Callable[[], Config]
    ) -> None:
        self._hosts = hosts
        self._config = config
        self._paths = paths
        self._options = options
        self._load = load
        self.clock = hosts.main.clock
        threading.stack_size(_STACK_BYTES)
        self._polls = Workers(options.workers, "poll")
        self._slow = Workers(options.workers, "slow")
        self._updates = Workers(options.at_once, "update")
        self._rounds = Rounds(
            clock=self.clock,
            turns=Turns(options.at_once),
            polls=self._polls.submit,
            slow=self._slow.submit,
            updates=self._updates.submit,
            wake=self.clock.wake,
        )
        self.fleet = Fleet(hosts, config, paths, options.devices, self._rounds)
        file = options.metrics_file
        self._metrics = None if file is None else DevicesMetrics(file, self.clock.monotonic)
        self._is_reload_wanted = self._is_poll_wanted = self._is_inventory_wanted = False
        self._scan_fault = ""

    def run(self) -> None:
        """Run the devices until ``stop`` is called.

        Raises:
            ConfigError: the descriptions can't be read.
        """
        notifier = self._hosts.main.observers.notifier
        try:
            began = self.clock.monotonic()
            gc.disable()  # these objects stay: looking for garbage would take a quarter of the time
            self.fleet.scan()
            gc.enable()
            self._say_started(self.clock.monotonic() - began)
            if notifier is not None:
                notifier.ready()
            self._loop()
        except Interrupted:
            pass
        finally:
            gc.enable()
            if notifier is not None:
                notifier.stopping()
            self.stop()
            for pool in (self._polls, self._slow, self._updates):
                pool.close()
        _logger.info("stopped")

    def _say_started(self, seconds: float) -> None:
        count = len(self.fleet.members)
        _logger.info(
            "mender-python-client %s started as a gateway: %d devices in %.1f s, server %s",
            __version__,
            count,
            seconds,
            self._config.server_urls[0],
        )
        if not count:
            _logger.warning("%s", gateway_fault(self._options.devices))

    def _loop(self) -> None:
        scan_at = self.clock.monotonic() + SCAN_SECONDS
        while not self.clock.is_stopping:
            self._take_requests()
            wait = self._rounds.run_due()
            now = self.clock.monotonic()
            if now >= scan_at:
                self._look_after()
                scan_at = now + SCAN_SECONDS
                continue
            self.clock.wait(scan_at - now if wait is None else min(wait, scan_at - now))

    def _look_after(self) -> None:
        fault = ""
        try:
            self.fleet.scan()
        except MenderError as error:
            fault = str(error)
            _logger.log(logging.ERROR if fault != self._scan_fault else logging.DEBUG, "%s", fault)
        self._scan_fault = fault
        self._hosts.rest_idle()
        if self._metrics is not None:
            self._metrics.put(self.fleet.members)

    # -- signals ------------------------------------------------------------------------------------------------

    def _take_requests(self) -> None:
        if self._is_reload_wanted:
            self._is_reload_wanted = False
            self._reload()
        is_poll_wanted, self._is_poll_wanted = self._is_poll_wanted, False
        is_inventory_wanted, self._is_inventory_wanted = self._is_inventory_wanted, False
        if not is_poll_wanted and not is_inventory_wanted:
            return
        members = self.fleet.members
        polls, inventories = take_requests(self._paths.data)
        if not polls and not inventories:
            polls = frozenset(members if is_poll_wanted else ())
            inventories = frozenset(members if is_inventory_wanted else ())
        for name in polls & members.keys():
            members[name].request_poll()
        for name in inventories & members.keys():
            members[name].request_inventory()
        self._rounds.hurry(polls | inventories)

    def _reload(self) -> None:
        """Reload the settings and all descriptions; if the settings have errors, the old ones stay in effect."""
        reopen_log_files()
        try:
            with kept_on_failure():
                config = self._load()
            if config != self._config:
                self._config = config
                self.fleet.use(config)
            self.fleet.scan(is_forced=True)
        except MenderError as error:
            for problem in error.problems if isinstance(error, ConfigError) else (error.diagnostic,):
                _logger.error("%s", problem)
            remedy = "correct it and reload again"
            _logger.error("%s", Diagnostic("GTW09", "settings not reloaded; the old ones stay in effect", remedy))
        else:
            _logger.info("settings and devices reloaded")
        gc.collect()

    def stop(self, *_: object) -> None:
        """Stop soon; what is in progress is interrupted."""
        self._hosts.stop()

    def poll(self, *_: object) -> None:
        """Have every device poll now."""
        self._is_poll_wanted = True
        self.clock.wake()

    def send_inventory(self, *_: object) -> None:
        """Have every device send its inventory now."""
        self._is_inventory_wanted = True
        self.clock.wake()

    def reload(self, *_: object) -> None:
        """Reload the settings and all descriptions soon."""
        self._is_reload_wanted = True
        self.clock.wake()


def _handlers(gateway: Gateway) -> dict[int, Callable[..., None]]:
    """The same signals as for the daemon."""
    return {
        signal.SIGTERM: gateway.stop,
        signal.SIGINT: gateway.stop,
        signal.SIGUSR1: gateway.poll,
        signal.SIGUSR2: gateway.send_inventory,
        signal.SIGHUP: gateway.reload,
    }
