"""The observers of the daemon: the status file, the service manager and the metrics file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime, timezone

from mender_client import TYPE_CHECKING, __version__
from mender_client.core.client_status import ClientStatus
from mender_client.dataclass import dataclass, field, replace
from mender_client.system.snapshot import read_client_status
from mender_client.system.statusfile import StatusFile

from .paths import Paths

if TYPE_CHECKING:
    from mender_client.core.ports import Observer
    from mender_client.system.notify import Notifier


@dataclass(frozen=True)
class Observers:
    """The observers of a daemon, one of which may notify the service manager, and the status that they start with."""

    members: tuple[Observer, ...] = ()
    notifier: Notifier | None = None
    client_status: ClientStatus = field(default_factory=ClientStatus)

    @property
    def beat_seconds(self) -> float:
        """Seconds between notifications to the service manager's watchdog; 0 without a watchdog."""
        return self.notifier.beat_seconds if self.notifier is not None else 0.0

    def alive(self) -> None:
        for observer in self.members:
            observer.alive()

    def knowing(self, client_status: ClientStatus) -> Observers:
        return replace(self, client_status=client_status)


def make_observers(paths: Paths, environment: Mapping[str, str], *, pid: int, metrics_file: str | None) -> Observers:
    """The observers of this daemon."""
    known = read_client_status(paths.status)
    client_status = known[0] if known is not None else ClientStatus()
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    python = ".".join(str(part) for part in sys.version_info[:3])
    observers: list[Observer] = [StatusFile(paths.status)]
    notifier = make_notifier(environment, pid)
    if notifier is not None:
        observers.append(notifier)
    if metrics_file is not None:
        from mender_client.system.metrics import MetricsFile

        observers.append(MetricsFile(paths.below_root(metrics_file)))
    return Observers(tuple(observers), notifier, client_status.begun(now, version=__version__, python=python))


def make_notifier(environment: Mapping[str, str], pid: int) -> Notifier | None:
    """The notifier of the service manager that has started this process; None if there is none."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return None
    from mender_client.system.notify import Notifier

    wanted, watched_pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(pid))
    is_for_us = wanted.isdigit() and watched_pid == str(pid)
    return Notifier(address, watchdog_seconds=int(wanted) / 1e6 if is_for_us else 0.0)
