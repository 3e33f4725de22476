"""The client: does what is due and says how long to wait. It never sleeps, so it can live in anybody's loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from mender_client.core.ports import Clock, Device, Installer, Transport
from mender_client.core.schedule import Job, Schedule
from mender_client.errors import Interrupted, MenderError, ServerError, UnauthorizedError

from .auth import Session
from .deployments import Deployments
from .inventory import InventorySender
from .update import Updater

_logger = logging.getLogger(__name__)

LOCK_CHECK_SECONDS = 4.0
"""How often the lock file is looked at while an update is in the sub-updater's hands."""

REST_AFTER_SECONDS = 60.0
"""A wait longer than this gives the connection up: a fleet that waits must not hold a server's memory."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that a client is made of; ``app.assemble`` shows how they are joined.

    Attributes:
        clock: time and randomness come from outside.
        transport: told when it may rest.
        device: says what it provides.
        installer: says whether an update is in progress.
        session: the standing with the server.
        inventory: collects and sends the inventory.
        deployments: asks for deployments.
        updater: carries them out.
        random: gives numbers in [0, 1) for jitter.
    """

    clock: Clock
    transport: Transport
    device: Device
    installer: Installer
    session: Session
    inventory: InventorySender
    deployments: Deployments
    updater: Updater
    random: Callable[[], float]


class Client:
    """A Mender client.

    Args:
        parts: what it is made of.
        schedule: what is to be done how often.
    """

    def __init__(self, parts: Parts, schedule: Schedule) -> None:
        self._parts = parts
        self._schedule = schedule
        self._awaited: str | None = None
        self._is_inventory_forced = False
        self._last_failure = ""
        self.has_handed_over = False

    def step(self) -> float:
        """Do what is due.

        Errors of the network, the server and the device are logged and waited out by the back-off.

        Returns:
            Seconds until the next step is due. When ``has_handed_over`` is set, an update is in the sub-updater's
            hands and a daemon that lives by that contract should end.

        Raises:
            Interrupted: the client was asked to stop in the middle of something long.
        """
        if self._is_update_in_progress():
            return LOCK_CHECK_SECONDS
        if self._schedule.seconds_until_due(self._parts.clock.monotonic()) <= 0:
            self._work()
            if self.has_handed_over:
                return 0.0
        wait = self._schedule.seconds_until_due(self._parts.clock.monotonic())
        if wait > REST_AFTER_SECONDS:
            self._parts.transport.rest()
        return wait

    def request_poll(self) -> None:
        """Ask for a deployment in the next step, whatever the schedule says."""
        self._schedule = replace(self._schedule, poll=self._schedule.poll.at_once())

    def request_inventory(self) -> None:
        """Send the inventory in the next step, also when it has not changed."""
        self._is_inventory_forced = True
        self._schedule = replace(self._schedule, inventory=self._schedule.inventory.at_once())

    def _is_update_in_progress(self) -> bool:
        current = self._parts.installer.current_deployment()
        if current is not None:
            if current != self._awaited:
                _logger.info("deployment %s is in the sub-updater's hands; waiting until the lock is gone", current)
                self._parts.transport.rest()
            self._awaited = current
            return True
        if self._awaited is not None:
            _logger.info("the lock is gone; the client goes on")
            self._awaited = None
            self._inventory_again()
            self.request_poll()
        return False

    def _work(self) -> None:
        try:
            self._parts.session.authorise()
        except Interrupted:
            raise
        except MenderError as error:
            # neither job can be done without a token: both wait, and the server is asked once
            self._log_failure(error)
            self._schedule = Schedule(
                inventory=self._failed(self._schedule.inventory, error),
                poll=self._failed(self._schedule.poll, error),
            )
            return
        if self._schedule.inventory.is_due(self._parts.clock.monotonic()):
            self._schedule = replace(
                self._schedule, inventory=self._run(self._schedule.inventory, self._send_inventory)
            )
        if self._schedule.poll.is_due(self._parts.clock.monotonic()):
            self._schedule = replace(self._schedule, poll=self._run(self._schedule.poll, self._poll))

    def _run(self, job: Job, action: Callable[[], None]) -> Job:
        try:
            action()
        except Interrupted:
            raise
        except MenderError as error:
            self._log_failure(error)
            return self._failed(job, error)
        self._last_failure = ""
        return job.after_success(self._parts.clock.monotonic(), random=self._parts.random())

    def _failed(self, job: Job, error: MenderError) -> Job:
        return job.after_failure(
            self._parts.clock.monotonic(),
            random=self._parts.random(),
            retry_after_seconds=error.retry_after_seconds if isinstance(error, ServerError) else None,
        )

    def _log_failure(self, error: MenderError) -> None:
        """Say what failed, but not every minute of an outage; that a device waits for acceptance is said elsewhere."""
        text = str(error)
        is_news = text != self._last_failure and not isinstance(error, UnauthorizedError)
        _logger.log(logging.WARNING if is_news else logging.DEBUG, "%s", text)
        self._last_failure = text

    def _send_inventory(self) -> None:
        self._parts.inventory.send(even_if_unchanged=self._is_inventory_forced)
        self._is_inventory_forced = False

    def _poll(self) -> None:
        provides = self._parts.device.provides()
        deployment = self._parts.deployments.next(provides)
        if deployment is None:
            _logger.debug("no deployment")
            return
        self._parts.updater.carry_out(deployment, provides)
        self.has_handed_over = self._parts.installer.current_deployment() is not None
        self._inventory_again()

    def _inventory_again(self) -> None:
        self._schedule = replace(self._schedule, inventory=self._schedule.inventory.at_once())
