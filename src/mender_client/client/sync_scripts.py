"""The state scripts Idle and Sync, which run around the polls of a client that installs by update modules."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from mender_client import TYPE_CHECKING

if TYPE_CHECKING:
    from .scripts import StateScripts


class _Phase(Enum):
    OFF = auto()
    STARTED = auto()
    IDLE = auto()
    SYNC = auto()


class SyncScripts:
    """Runs the scripts in the order of the installer contract (section 4.1); a call that has nothing to do is harmless.

    Args:
        scripts: returns the object that runs state scripts; called only once the first script may run.
        is_wanted: returns whether an update module would install the next update; otherwise no script runs.
    """

    def __init__(self, scripts: Callable[[], StateScripts], is_wanted: Callable[[], bool]) -> None:
        self._scripts = scripts
        self._is_wanted = is_wanted
        self._phase = _Phase.OFF

    def begin(self) -> None:
        """Leave Idle and enter Sync.

        Raises:
            ScriptError: a script failed; no request may be sent.
        """
        if not self._is_wanted():
            self._phase = _Phase.OFF
            return
        if self._phase is _Phase.OFF:
            self._phase = _Phase.STARTED
        self.idle()
        self._scripts().run_all("Idle", "Leave")
        self._phase = _Phase.SYNC
        self._run("Enter")

    def leave(self) -> None:
        """Leave Sync.

        Raises:
            ScriptError: a script failed; a deployment that was found must not begin.
        """
        if self._phase is _Phase.SYNC:
            self._phase = _Phase.STARTED
            self._run("Leave")

    def failed(self) -> None:
        """Leave Sync after a request has failed."""
        if self._phase is _Phase.SYNC:
            self._phase = _Phase.STARTED
            self._scripts().run_all("Sync", "Error")

    def idle(self) -> None:
        """Enter Idle, if scripts were wanted when the last work began."""
        if self._phase not in (_Phase.IDLE, _Phase.OFF):
            self._phase = _Phase.IDLE
            self._scripts().run_all("Idle", "Enter")

    def _run(self, action: str) -> None:
        try:
            self._scripts().run("Sync", action)
        except Exception:
            self._phase = _Phase.STARTED
            self._scripts().run_all("Sync", "Error")
            raise
