"""Who looks at the daemon: the file for ``status``, the service manager, the file for metrics; as they are wanted."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from mender_client import __version__
from mender_client.core.ports import Observer
from mender_client.core.situation import Situation
from mender_client.system.statusfile import StatusFile, read_situation

from .paths import Paths

if TYPE_CHECKING:
    from mender_client.system.notify import Notifier


@dataclass(frozen=True, slots=True)
class Watch:
    """The onlookers of a daemon.

    Attributes:
        observers: all of them.
        notifier: the one among them that speaks with the service manager, if there is one.
        situation: what they know already.
    """

    observers: tuple[Observer, ...] = ()
    notifier: Notifier | None = None
    situation: Situation = field(default_factory=Situation)

    @property
    def beat_seconds(self) -> float:
        """How often the service manager wants a sign of life; 0 for never."""
        return self.notifier.beat_seconds if self.notifier is not None else 0.0

    def alive(self) -> None:
        """Tell all that something goes on."""
        for observer in self.observers:
            observer.alive()

    def knowing(self, situation: Situation) -> Watch:
        """The same onlookers, who know more by now."""
        return replace(self, situation=situation)


def make_watch(paths: Paths, environment: Mapping[str, str], *, pid: int, metrics_file: str | None) -> Watch:
    """The onlookers that this daemon has.

    Args:
        paths: where everything lies.
        environment: says whether a service manager listens.
        pid: of this process.
        metrics_file: where the metrics go, if they are wanted.
    """
    known = read_situation(paths.status)
    situation = known[0] if known is not None else Situation()
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    python = ".".join(str(part) for part in sys.version_info[:3])
    observers: list[Observer] = [StatusFile(paths.status)]
    notifier = _notifier(environment, pid)
    if notifier is not None:
        observers.append(notifier)
    if metrics_file is not None:
        from mender_client.system.metrics import MetricsFile

        observers.append(MetricsFile(Path(metrics_file)))
    return Watch(tuple(observers), notifier, situation.begun(now, version=__version__, python=python))


def _notifier(environment: Mapping[str, str], pid: int) -> Notifier | None:
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return None
    from mender_client.system.notify import Notifier

    wanted, watched_pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(pid))
    is_for_us = wanted.isdigit() and watched_pid == str(pid)
    return Notifier(address, watchdog_seconds=int(wanted) / 1e6 if is_for_us else 0.0)
