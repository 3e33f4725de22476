"""The devices as Locust users; importing this module imports Locust, which applies gevent's monkey patches.

Your own ``locustfile.py`` can subclass them::

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
    """Allocates the lowest number that no device of this process has."""

    def __init__(self) -> None:
        self._next = count()
        self._free: list[int] = []

    def take(self) -> int:
        """Allocate a number."""
        return heapq.heappop(self._free) if self._free else next(self._next)

    def give_back(self, number: int) -> None:
        """Release a number."""
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
    """A simulated device: the real client with a simulated installation.

    Attributes:
        weight: the share of this kind in the fleet, relative to the other kinds.
        device_type: the device type; None for that of the command line.
        artifact_name: the Artifact that is installed initially; None for that of the command line.
        settings: keys of ``mender.conf``, which override those derived from the command line.
        log_lines: the number of lines in the log of a failed deployment.
        is_accepted: False makes the device sign with a wrong key, so that every server refuses it.
        poll_divisor: the factor by which it polls more often than other devices.
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

    # to be overridden by kinds of devices

    def identity(self) -> Mapping[str, str]:
        """The identity of the device; it must be derived from its name."""
        return make_identity(self.name)

    def inventory(self) -> Mapping[str, str]:
        """The inventory of the device."""
        return make_inventory(self.name, self.options.attributes)

    def install(self, deployment: Deployment) -> bool:  # noqa: ARG002
        """Simulate the installation; False makes the deployment fail."""
        return self.sleep(self.options.install_seconds / self.options.speed_up)

    def downloaded(self, size_bytes: int) -> None:
        """Called with the number of bytes of an Artifact received so far; may raise ``PowerCutError``."""

    # common to all kinds

    @staticmethod
    def sleep(seconds: float) -> bool:
        """Wait for some seconds while other devices run; return True."""
        time.sleep(seconds)
        return True

    def fail(self, reason: str) -> bool:
        """Make the current deployment fail with this line in its log; return False, as the result of ``install``."""
        self.device.log.fail(reason)
        return False

    def on_stop(self) -> None:
        """Switch the device off."""
        if "device" in vars(self):
            self.device.close()
        _numbers[type(self).__name__].give_back(self.number)

    @task
    def step(self) -> None:
        """Perform the actions that are due."""
        self._pause_seconds = RETRY_SECONDS / self.options.speed_up  # used if anything below fails
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
        """The seconds until the next step."""
        return self._pause_seconds

    def seconds_without_power(self) -> float:
        """How long the device is off after a power cut."""
        return float(self.options.poll / self.options.speed_up)

    def _switch_on(self) -> None:
        """Create the device; not when the user starts, since Locust would log a traceback for each error there."""
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
            self.device.rest()  # as a real device does at the hand-over
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
        """Preauthorize the device; return whether that succeeded."""
        try:
            with management_of(self.options, self._url, self.requested) as management:
                management.preauthorize(self.identity(), self.device.key.public_key_pem())
        except (MenderError, OSError, ValueError) as error:
            _complain(f"cannot preauthorize devices: {error}")
            return False
        self._wants_preauthorization = False
        return True

    # the listener of its transport

    def requested(self, method: str, name: str, seconds: float, size_bytes: int, error: Exception | None) -> None:
        """Report a request to Locust."""
        count_request(self.environment, method, name, seconds, size_bytes, error)

    def sent(self, size_bytes: int) -> None:
        """Count bytes that were sent."""
        outcomes.note_sent(size_bytes)

    def refused(self) -> None:
        """Report to the master that the device is waiting to be accepted."""
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
    """The inventory of a device, generated on each access so that it takes no memory."""

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
    """Log an error that affects all devices, but only once."""
    _logger.error("%s", text)


class HealthyDevice(MenderDevice):
    """A device without problems."""

    weight = 90


class FailingDevice(MenderDevice):
    """A device on which each update fails, and which sends its log."""

    weight = 3
    log_lines = 300

    def install(self, deployment: Deployment) -> bool:
        super().install(deployment)
        return self.fail("the health check failed: app.service does not start; rolled back")


class SlowDevice(MenderDevice):
    """A device with a slow link."""

    weight = 3

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.settings = {**self.settings, "DownloadSpeedLimit": self.options.link_speed}  # type: ignore[misc]


class VanishingDevice(MenderDevice):
    """A device that loses power once in the middle of each download, and restarts after a poll interval."""

    weight = 2
    vanishes_at_bytes = 256 * 1024

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._has_vanished = False

    def downloaded(self, size_bytes: int) -> None:
        """Lose power once this much of an Artifact has been downloaded."""
        if size_bytes >= self.vanishes_at_bytes and not self._has_vanished:
            self._has_vanished = True
            raise PowerCutError

    def install(self, deployment: Deployment) -> bool:
        """Prepare to lose power in the next download."""
        self._has_vanished = False
        return super().install(deployment)


class UnacceptedDevice(MenderDevice):
    """A device that is never accepted and keeps sending authorisation requests."""

    weight = 1
    is_accepted = False


class HastyDevice(MenderDevice):
    """A device that polls much too often."""

    weight = 1
    poll_divisor = 60


join()
logging.getLogger("mender_client").setLevel(logging.CRITICAL)  # thousands of devices would log too much
