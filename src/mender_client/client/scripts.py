"""Runs state scripts: when they are retried, when a failure ends a series, and which an Artifact may contain.

State scripts belong to the root file system (``Idle``, ``Sync``, ``Download``) or to the Artifact that is being
installed (all others). The workflow decides which state runs which scripts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from mender_client import TYPE_CHECKING
from mender_client.core.state_scripts import RETRY_LATER, place_of
from mender_client.core.text import ending, printable
from mender_client.dataclass import dataclass
from mender_client.errors import ArtifactError, ScriptError

if TYPE_CHECKING:
    from mender_client.core.artifact import Script
    from mender_client.core.ports import Clock, ScriptDirectory

_logger = logging.getLogger(__name__)
_WAIT_SECONDS = 1.0
"""The longest wait without a sign of life."""


@dataclass(kw_only=True, eq=False, repr=False)
class StateScripts:
    """Runs state scripts.

    Attributes:
        root: the scripts of the root file system; None when there are none.
        artifact: the scripts of the Artifact.
        alive: signals that the client is at work.
        seconds: how long one script may take (StateScriptTimeoutSeconds).
        retry_interval_seconds: the wait before a script that said "retry later" is run again
            (StateScriptRetryIntervalSeconds).
        retry_timeout_seconds: how long after its first "retry later" a script counts as failed
            (StateScriptRetryTimeoutSeconds).
    """

    root: ScriptDirectory | None
    artifact: ScriptDirectory
    clock: Clock
    alive: Callable[[], None]
    seconds: float = 3600.0
    retry_interval_seconds: float = 60.0
    retry_timeout_seconds: float = 1800.0

    def run(self, state: str, action: str) -> None:
        """Run the scripts of a state, until one fails.

        Args:
            state: such as ``ArtifactInstall``.
            action: ``Enter``, ``Leave`` or ``Error``.

        Raises:
            ScriptError: one failed; the rest were not run.
            Interrupted: the client was asked to stop.
        """
        directory = self._directory(state)
        if directory is None:
            return
        for name in directory.names(state, action):
            self._run(directory, name)

    def run_all(self, state: str, action: str) -> bool:
        """Run all scripts of a state, even if some fail; arguments as for ``run``.

        Returns:
            Whether none failed.

        Raises:
            Interrupted: the client was asked to stop.
        """
        directory = self._directory(state)
        if directory is None:
            return True
        try:
            names = directory.names(state, action)
        except ScriptError as error:
            _logger.warning("%s", error.diagnostic)
            return False
        failed = 0
        for name in names:
            try:
                self._run(directory, name)
            except ScriptError as error:
                failed += 1
                _logger.warning("%s", error.diagnostic)
        return not failed

    def _directory(self, state: str) -> ScriptDirectory | None:
        return self.artifact if state.startswith("Artifact") else self.root

    def _run(self, directory: ScriptDirectory, name: str) -> None:
        """Run one script, and again each time it says "retry later" within the time limit."""
        is_routine = name.startswith(("Idle", "Sync"))  # around every poll
        _logger.log(logging.DEBUG if is_routine else logging.INFO, "running state script %s", name)
        code = self._run_once(directory, name, self.seconds)
        if code == RETRY_LATER:
            end = self.clock.monotonic() + self.retry_timeout_seconds
            while code == RETRY_LATER:
                self._wait(min(self.retry_interval_seconds, end - self.clock.monotonic()))
                left = end - self.clock.monotonic()
                if left <= 0:
                    text = (
                        f"cannot continue: state script {name} said 'retry later' for {self.retry_timeout_seconds:g} s"
                    )
                    raise ScriptError("SSC05", text, remedy="find out what it is waiting for")
                code = self._run_once(directory, name, min(self.seconds, left))
        if code != 0:
            text = f"cannot continue: state script {name} {ending(code)}"
            raise ScriptError("SSC06", text, remedy="check its output in the log")

    def _run_once(self, directory: ScriptDirectory, name: str, seconds: float) -> int:
        self.alive()
        return directory.run(name, seconds=seconds)

    def _wait(self, seconds: float) -> None:
        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 0:
            self.alive()
            self.clock.sleep(min(left, _WAIT_SECONDS))

    def install(self, scripts: Sequence[Script]) -> None:
        """Replace the scripts of the last Artifact with those of a new one.

        Raises:
            ArtifactError: one does not have the name of a state script.
            StorageError: they can't be written.
        """
        for script in scripts:
            if place_of(script.name) is None:
                text = f"cannot accept the Artifact: {printable(script.name)!r} is not the name of a state script"
                raise ArtifactError("ART63", text, remedy="name it like ArtifactInstall_Enter_10_check")
        self.artifact.replace(scripts)

    def end_orphans(self) -> None:
        """End the scripts that an earlier client, which was killed, has left running."""
        if self.root is not None:
            self.root.end_orphans()
        self.artifact.end_orphans()

    def check_version(self) -> None:
        """Check, before the commit, that the scripts of the root file system can be run from now on.

        Raises:
            ScriptError: they are of an unknown version.
        """
        if self.root is not None:
            self.root.check_version()
