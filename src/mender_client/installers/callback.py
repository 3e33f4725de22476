"""Installs Artifacts by calling a function of the program that embeds the client.

The function runs in this process, so a crash ends both. The files on disk tell the next process how far the
installation got: the lock names the deployment, and the trace records whether the function was called and whether it
returned None ("reported later"). If a call never returned, the lock is removed, so that the client checks what is
installed instead of waiting for a function that no longer runs.
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
"""Installs a verified Artifact. Returns True if it is installed, False if it could not be installed, and None if the
outcome is known only later, for instance after a reboot, and will be reported then. An exception means False; its text
is sent to the server."""


class Trace(Protocol):
    """A durable marker of how far the installation has got; empty for none. All methods raise StorageError."""

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
        conclude: called with the deployment's id and whether it is installed; stores the outcome and removes the lock.
        lock: names the deployment that is being installed; removed here if the installation ended with its process.
        trace: records how far the installation has got.

    Raises:
        StorageError: the trace can't be read, or the lock can't be removed.
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
            InstallError: the function raised an exception.
            StorageError: the result can't be stored.
        """
        self._trace.write(_BEGUN)
        try:
            is_installed = self._install(Path(artifact), deployment)
        except Exception as error:  # the program's own code: any exception is a failed installation
            raise InstallError("UPD03", f"cannot install the update: {type(error).__name__}: {error}") from error
        if is_installed is None:
            self._trace.write(_LATER)
        else:
            self._conclude(deployment.id, is_installed)
        return _OURS
