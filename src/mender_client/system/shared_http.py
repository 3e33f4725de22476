"""One transport for many devices, whose steps run in a few threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.core.wire.messages import Reply, Request
from mender_client.dataclass import dataclass

from .clock import SystemClock
from .http import HttpTransport
from .shared_artifacts import SharedArtifacts

if TYPE_CHECKING:
    from mender_client.core.ports import Body

REST_AFTER_SECONDS = 60.0
"""A connection that is idle for this long is closed."""


class SharedClock(SystemClock):
    """A clock with which several threads can sleep; only the main thread may wait."""

    def __init__(self, alive: Callable[[], None] = lambda: None, *, beat_seconds: float = 0.0) -> None:
        super().__init__(alive, beat_seconds=beat_seconds)
        self._stopped = threading.Event()

    def sleep(self, seconds: float) -> None:
        self._stopped.wait(seconds)
        self.raise_if_stopping()

    def stop(self) -> None:
        super().stop()
        self._stopped.set()


@dataclass(kw_only=True, eq=False, repr=False)
class SharedTransport(HttpTransport):
    """A transport with one connection per server and thread, which limits the number of connections.

    The TLS rules are shared. A connection is used only by the thread to which it belongs.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._local = threading.local()
        self._own: list[_Own] = []
        self.artifacts: SharedArtifacts | None = None

    def share_artifacts(self, directory: Path) -> None:
        """Download an Artifact only once if it is offered to several devices; the directory stores it meanwhile."""
        self.artifacts = SharedArtifacts(directory, self._for_download)

    def send(self, request: Request) -> Reply:
        return self._mine().send(request)

    def open(self, url: str, headers: Mapping[str, str]) -> Body:  # type: ignore[override]  # as the port says
        own = self._mine()
        return own.open(url, headers) if self.artifacts is None else self.artifacts.open(own, url, headers)

    def _mine(self) -> _Own:
        own: _Own | None = getattr(self._local, "own", None)
        if own is None:
            own = self._local.own = self._new_own()
        own.used_at = time.monotonic()
        if own not in self._own:  # it had been idle
            self._add(own)
        return own

    def _new_own(self) -> _Own:
        own = _Own(
            tls=self.tls,
            user_agent=self.user_agent,
            timeouts=self.timeouts,
            clock_check=self.clock_check,
            proxies=self.proxies,
            resolve=self.resolve,
            rules=self._rules,
        )
        self._add(own)
        return own

    def _add(self, own: _Own) -> None:
        self._own.append(own)
        if self._guard.is_stopped:
            own.stop()

    def _for_download(self, own: HttpTransport) -> HttpTransport:
        """A transport for a download from which several threads read in turn."""
        made = self._new_own()
        made.continue_for(own)
        made.ended = self._own.remove
        return made

    def rest(self) -> None:
        """Do nothing: another device is about to use the connection. See ``rest_idle``."""

    def rest_idle(self) -> None:
        """Close the connections that have been idle; called by one thread only."""
        before = time.monotonic() - REST_AFTER_SECONDS
        for own in list(self._own):
            if own.ended is None and own.used_at < before:
                self._own.remove(own)  # the thread may have ended
                own.rest()
        if self.artifacts is not None:
            self.artifacts.expire()

    def stop(self) -> None:
        super().stop()
        for own in list(self._own):
            own.stop()

    def close(self) -> None:
        """Close all connections; no thread may be using one."""
        for own in list(self._own):
            own.rest()
        if self.artifacts is not None:
            self.artifacts.close()


class _Own(HttpTransport):
    """The transport of one thread or of one shared download."""

    used_at = 0.0
    ended: Callable[[_Own], None] | None = None

    def rest(self) -> None:
        super().rest()
        if self.ended is not None:
            with suppress(ValueError):  # it has already been removed
                self.ended(self)
