"""Let a function of the surrounding program install Artifacts: for programs that embed the client.

The function runs in this process, so a crash ends both. What is on disk tells the next life how far it came: the lock
names the deployment, the trace says whether the function was ever called and whether it ended with "I will report
later". A call that never ended leaves no lock, so that the client looks at what is installed instead of waiting for
somebody who is dead.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Protocol

from mender_client.core.model import Deployment
from mender_client.core.ports import Lock
from mender_client.core.record import ProcessRef
from mender_client.errors import InstallError

InstallFunction = Callable[[Path, Deployment], "bool | None"]
"""Installs a verified Artifact. Returns True when it is installed, False when it could not be, None when that shows
later, after a reboot for instance, and will be reported then. An exception means False; its text goes to the server."""


class Trace(Protocol):
    """A mark on disk: nothing, or how far the installation of this deployment has come."""

    def read(self) -> str:
        """The mark; empty for none."""

    def write(self, mark: str) -> None:
        """Set it, durably.

        Raises:
            StorageError: it can't be written.
        """

    def remove(self) -> None:
        """Take it away.

        Raises:
            StorageError: it can't be removed.
        """


_BEGUN = "begun"
_LATER = "later"
_OURS = ProcessRef(0, "", 0)


class CallbackInstaller:
    """Installs by calling a function; see ``core.ports.Installer``.

    Args:
        install: the function.
        concluded: called with the deployment's id and how it ended, before the lock goes; writes the outcome down.
        lock: names the deployment that is being installed.
        trace: how far it has come.
    """

    def __init__(
        self, install: InstallFunction, *, concluded: Callable[[str, bool], None], lock: Lock, trace: Trace
    ) -> None:
        self._install = install
        self._concluded = concluded
        self._lock = lock
        self._trace = trace
        self._is_fresh = True

    def current_deployment(self) -> str | None:
        """The id of the deployment that is being installed; an installation that died with its process is none."""
        if self._is_fresh and self._trace.read() == _BEGUN:
            self._lock.remove()
        self._is_fresh = False
        return self._lock.read()

    def find_process(self, deployment_id: str, process: ProcessRef | None) -> ProcessRef | None:  # noqa: ARG002 - nobody is named
        """Nobody: the function doesn't run while the client looks."""
        return None

    def seconds_at_work(self, deployment_id: str, process: ProcessRef | None) -> float:  # noqa: ARG002 - nobody is named
        """Nobody can tell."""
        return 0.0

    def has_begun(self) -> bool:
        """Whether the function was ever called for this deployment."""
        return bool(self._trace.read())

    def check(self) -> None:
        """A function can always be called."""

    def claim(self, deployment_id: str) -> None:
        """Write the lock; what an earlier deployment left is forgotten first.

        Raises:
            StorageError: it can't be written.
        """
        self._trace.remove()
        self._lock.write(deployment_id)

    def install(self, deployment: Deployment, artifact: PurePath) -> ProcessRef:
        """Call the function and note what it says.

        Raises:
            InstallError: it raised an exception.
            StorageError: what it said can't be noted.
        """
        self._trace.write(_BEGUN)
        try:
            is_installed = self._install(Path(artifact), deployment)
        except Exception as error:  # the program's own code: whatever it raises is a failed installation
            raise InstallError(f"cannot install the update: {type(error).__name__}: {error}") from error
        if is_installed is None:
            self._trace.write(_LATER)
        else:
            self._concluded(deployment.id, is_installed)
            self._lock.remove()
        return _OURS

    def release(self) -> None:
        """Remove the lock.

        Raises:
            StorageError: it can't be removed.
        """
        self._lock.remove()
