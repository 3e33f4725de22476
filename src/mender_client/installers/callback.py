"""Let a function of the surrounding program install Artifacts: for programs that embed the client.

The function runs in this process, so a crash ends both. What is on disk tells the next process how far it came: the
lock names the deployment, the trace says whether the function was ever called and whether it returned "reported
later". A call that never returned leaves no lock, so that the client compares what is installed instead of waiting for
a function that no longer runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePath

from mender_client import TYPE_CHECKING
from mender_client.core.model import Deployment
from mender_client.core.update import ProcessRef
from mender_client.errors import InstallError

if TYPE_CHECKING:
    from typing import Protocol

    from mender_client.core.ports import Lock
else:
    Protocol = object

InstallFunction = Callable[[Path, Deployment], "bool | None"]
"""Installs a verified Artifact. Returns True when it is installed, False when it could not be, None when that shows
later, after a reboot for instance, and will be reported then. An exception means False; its text goes to the server."""


class Trace(Protocol):
    """A durable marker: how far the installation of this deployment has come; empty for none. Raises StorageError."""

    def read(self) -> str: ...
    def write(self, mark: str) -> None: ...
    def remove(self) -> None: ...


_BEGUN = "begun"
_LATER = "later"
_OURS = ProcessRef(0, "", 0)


class CallbackInstaller:
    """Installs by calling a function; see ``core.ports.Installer``.

    Args:
        install: the function.
        conclude: called with the deployment's id and whether it is installed; stores the outcome and frees the device.
        lock: names the deployment that is being installed; an installation that died with its process is none.
        trace: how far it has come.

    Raises:
        StorageError: what such an installation left can't be read or removed.
    """

    def __init__(
        self, install: InstallFunction, *, conclude: Callable[[str, bool], None], lock: Lock, trace: Trace
    ) -> None:
        self._install = install
        self._conclude = conclude
        self._lock = lock
        self._trace = trace
        if trace.read() == _BEGUN:
            lock.remove()

    def has_begun(self) -> bool:
        return bool(self._trace.read())

    def claim(self, deployment_id: str) -> None:
        self._trace.remove()
        self._lock.write(deployment_id)

    def install(self, deployment: Deployment, artifact: PurePath) -> ProcessRef:
        """Call the function, and store what it returns.

        Raises:
            InstallError: it raised an exception.
            StorageError: what it returned can't be stored.
        """
        self._trace.write(_BEGUN)
        try:
            is_installed = self._install(Path(artifact), deployment)
        except Exception as error:  # the program's own code: whatever it raises is a failed installation
            raise InstallError("UPD03", f"cannot install the update: {type(error).__name__}: {error}") from error
        if is_installed is None:
            self._trace.write(_LATER)
        else:
            self._conclude(deployment.id, is_installed)
        return _OURS
