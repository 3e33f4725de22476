"""The devices as Locust users; importing this module imports Locust, which makes the process use gevent.

A ``locustfile.py`` of your own can subclass them::

    from mender_fleet.users import MenderDevice

    class Camera(MenderDevice):
        weight = 3
        device_type = "camera"

        def inventory(self):
            return {**super().inventory(), "lens": "35 mm"}

        def install(self, deployment):
            return super().install(deployment) and "broken" not in deployment.artifact_name
"""

from __future__ import annotations

import heapq
import logging
import time
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from locust import User, task
from locust.env import Environment
from locust.exception import StopUser

from mender_client import __version__
from mender_client.app.config import Config
from mender_client.core.model import Deployment
from mender_client.embedding.description import DeviceDescription
from mender_client.errors import MenderError
from mender_client.system.connection import Timeouts
from mender_client.system.tls import TlsSettings

from .acceptance import fingerprint, management_of
from .device import PowerCutError, SimulatedDevice, read_settings
from .hardware import DerivedKey, make_identity, make_inventory, read_same_seed
from .master import count_request, join, outcomes, waiting
from .options import RETRY_SECONDS, foreign_server, server_of, settings_of
from .traffic import FINAL, SharedResolver, ToldTransport, shared_rules

_logger = logging.getLogger(__name__)
_resolver = SharedResolver()


class Numbers:
    """Gives the lowest number that no device of this process has."""

    def __init__(self) -> None:
        self._next = count()
        self._free: list[int] = []

    def take(self) -> int:
        """A free number."""
        return heapq.heappop(self._free) if self._free else next(self._next)

    def give_back(self, number: int) -> None:
        """Free a number."""
        heapq.heappush(self._free, number)


@cache
def _settings(items: tuple[tuple[str, object], ...]) -> Config:
    return read_settings(dict(items))


@cache
def _seed(file: str, digest: str) -> bytes:
    try:
        return read_same_seed(Path(file), digest)
    except (OSError, ValueError) as error:
        raise ValueError(f"the seed in {file} can't be used: {error}; copy the file of the master") from error


_numbers: dict[str, Numbers] = defaultdict(Numbers)


class MenderDevice(User):
    """A simulated device: the real client, which only pretends to install.

    Attributes:
        weight: how many of the fleet are of this kind, compared to the others.
        device_type: None for that of the command line.
        artifact_name: what is installed at first; None for that of the command line.
        settings: keys of ``mender.conf``, over those that follow from the command line.
        log_lines: how long the log of a failed deployment is.
        is_accepted: False signs so that every server refuses the device.
        poll_divisor: how many times more often than the others it polls.
    """

    abstract = True
    device_type: str | None = None
    artifact_name: str | None = None
    settings: ClassVar[Mapping[str, object]] = {}
    log_lines = 100
    is_accepted = True
    poll_divisor = 1
    device: SimulatedDevice
    _wants_preauthorization = False
    _pause_seconds = 0.0

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.options: Any = environment.parsed_options
        worker = getattr(environment.runner, "worker_index", 0)
        self.number = _numbers[type(self).__name__].take()
        self.name = f"{type(self).__name__}-{max(0, worker)}-{self.number:05}"

    @property
    def _url(self) -> str:
        return server_of(self.host or self.environment.host, self.options)[0]

    # what a kind of device decides

    def identity(self) -> Mapping[str, str]:
        """The identity of the device; it must follow from its name."""
        return make_identity(self.name)

    def inventory(self) -> Mapping[str, str]:
        """The inventory of the device."""
        return make_inventory(self.name, self.options.attributes)

    def install(self, deployment: Deployment) -> bool:  # noqa: ARG002
        """Pretend to install; False fails the deployment."""
        return self.sleep(self.options.install_seconds / self.options.speed_up)

    def downloaded(self, size_bytes: int) -> None:
        """So much of an Artifact has come; may raise ``PowerCutError``."""

    # what they share

    @staticmethod
    def sleep(seconds: float) -> bool:
        """Let the other devices work for so long; returns True."""
        time.sleep(seconds)
        return True

    def fail(self, reason: str) -> bool:
        """Fail the deployment under way with this line in its log; returns False, for ``install``."""
        self.device.log.fail(reason)
        return False

    def on_stop(self) -> None:
        """Switch it off."""
        if "device" in vars(self):
            self.device.close()
        _numbers[type(self).__name__].give_back(self.number)

    @task
    def step(self) -> None:
        """Do what is due."""
        self._pause_seconds = RETRY_SECONDS / self.options.speed_up  # if anything fails
        if "device" not in vars(self):
            self._switch_on()
        if self._wants_preauthorization and not self._preauthorize():
            return
        try:
            self._pause_seconds = self.device.step()
        except PowerCutError:
            self._pause_seconds = self.seconds_without_power()
            self.device.restart()

    def wait_time(self) -> float:
        """Until something is due again."""
        return self._pause_seconds

    def seconds_without_power(self) -> float:
        """How long the device is gone after a power cut."""
        return float(self.options.poll / self.options.speed_up)

    def _switch_on(self) -> None:
        """Put the device together; not when the user starts, since Locust would log a traceback for each one."""
        try:
            problem = foreign_server(self._url, self.options)
            device = None if problem else self._make_device()
        except (MenderError, OSError, ValueError) as error:
            problem, device = f"cannot simulate devices: {error}", None
        if device is None:
            _complain(problem)
            raise StopUser
        self._wants_preauthorization = self.options.preauthorize and self.is_accepted
        self.device = device

    def _make_device(self) -> SimulatedDevice:
        options = self.options
        description = DeviceDescription(
            identity=self.identity(),
            device_type=self.device_type or options.device_type,
            artifact_name=self.artifact_name or options.artifact,
            inventory=Inventory(self),
        )
        wanted = settings_of(self._url, options, self.settings)
        wanted["UpdatePollIntervalSeconds"] = max(1, int(str(wanted["UpdatePollIntervalSeconds"])) // self.poll_divisor)
        config = _settings(tuple(sorted(wanted.items())))
        key = DerivedKey(
            _seed(options.seed_file, options.seed_digest), self.name, options.key_type, is_right=self.is_accepted
        )

        def install(deployment: Deployment) -> bool:
            self.device.rest()  # as a real one does, which hands over to another program
            if not self.install(deployment):
                return False
            description.artifact_name = deployment.artifact_name
            return True

        def make_transport() -> ToldTransport:
            made = ToldTransport(
                tls=TlsSettings(),
                user_agent=f"mender-fleet/{__version__}",
                timeouts=Timeouts(idle=config.download_stall_seconds),
                resolve=_resolver,
                rules=shared_rules(config.server_certificate),
            )
            made.listener, made.read = self, self.downloaded
            return made

        return SimulatedDevice(
            config, description, key, install=install, make_transport=make_transport, log_lines=self.log_lines
        )

    def _preauthorize(self) -> bool:
        """Preauthorize the device; returns whether it is."""
        try:
            with management_of(self.options, self._url, self.requested) as management:
                management.preauthorize(self.identity(), self.device.key.public_key_pem())
        except (MenderError, OSError, ValueError) as error:
            _complain(f"cannot preauthorize devices: {error}")
            return False
        self._wants_preauthorization = False
        return True

    # as a listener of its transport

    def requested(self, method: str, name: str, seconds: float, size_bytes: int, error: Exception | None) -> None:
        """Tell Locust of a request."""
        count_request(self.environment, method, name, seconds, size_bytes, error)

    def sent(self, size_bytes: int) -> None:
        """Count what is sent."""
        outcomes.note_sent(size_bytes)

    def refused(self) -> None:
        """Tell the master that the device wants to be accepted."""
        if self.options.accept and self.is_accepted:
            waiting.add([fingerprint(self.identity(), self.device.key.public_key_pem())])

    def offered(self) -> None:
        """Count an offered deployment."""
        outcomes.note("offered")

    def reported(self, status: str) -> None:
        """Count a deployment that has ended."""
        if status in FINAL:
            outcomes.note("failure" if status == "failure" else "success")


class Inventory(dict[str, str]):
    """The inventory of a device, made when it is asked for, so that nobody keeps it."""

    __slots__ = ("_user",)

    def __init__(self, user: MenderDevice) -> None:
        super().__init__()
        self._user = user

    def items(self) -> Any:
        return self._user.inventory().items()

    def __iter__(self) -> Any:
        return iter(self._user.inventory())


@cache
def _complain(text: str) -> None:
    """Log an error that all devices have, once."""
    _logger.error("%s", text)


class HealthyDevice(MenderDevice):
    """Does what it should."""

    weight = 90


class FailingDevice(MenderDevice):
    """Fails each update, and sends its log."""

    weight = 3
    log_lines = 300

    def install(self, deployment: Deployment) -> bool:
        super().install(deployment)
        return self.fail("the health check failed: app.service does not start; rolled back")


class SlowDevice(MenderDevice):
    """Has a slow link."""

    weight = 3

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.settings = {**self.settings, "DownloadSpeedLimit": self.options.link_speed}  # type: ignore[misc]


class VanishingDevice(MenderDevice):
    """Loses its power once in the middle of each download, and comes back after a poll interval."""

    weight = 2
    vanishes_at_bytes = 256 * 1024

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._has_vanished = False

    def downloaded(self, size_bytes: int) -> None:
        """Lose the power where there is an Artifact of this size."""
        if size_bytes >= self.vanishes_at_bytes and not self._has_vanished:
            self._has_vanished = True
            raise PowerCutError

    def install(self, deployment: Deployment) -> bool:
        """Vanish in the next download again."""
        self._has_vanished = False
        return super().install(deployment)


class UnacceptedDevice(MenderDevice):
    """Is never accepted, and goes on asking."""

    weight = 1
    is_accepted = False


class HastyDevice(MenderDevice):
    """Polls far too fast."""

    weight = 1
    poll_divisor = 60


join()
logging.getLogger("mender_client").setLevel(logging.CRITICAL)  # thousands of devices have much to say
