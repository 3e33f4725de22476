"""Give the Artifact to the device's sub-updater: the contract that the field's sub-updaters rely on.

The lock file is written first, and when that is noted the sub-updater is started so that it outlives the daemon, which
then exits. The sub-updater installs, reboots, commits or rolls back, reports, removes the lock and starts the daemon
again. A daemon that finds the lock waits until it is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from mender_client.core.model import Deployment
from mender_client.core.ports import Lock, Processes
from mender_client.core.record import ProcessRef
from mender_client.errors import InstallError, ScriptError

_DEPLOYMENT_ID = "MENDER_DEPLOYMENT_ID"


@dataclass(frozen=True, slots=True)
class HandOverSettings:
    """What the sub-updater is and what it is told.

    Attributes:
        sub_updater: the program, called with the path of the Artifact.
        variables: what its environment holds besides what belongs to the deployment.
    """

    sub_updater: Path
    variables: Mapping[str, str]


class HandOver:
    """Hands Artifacts to the sub-updater; see ``core.ports.Installer``.

    Args:
        settings: which program, and what it is told.
        lock: the lock file.
        processes: starts the program, and finds it again.
        find_fault: why a program can't or must not be run, in words; empty when it may.
    """

    def __init__(
        self, settings: HandOverSettings, *, lock: Lock, processes: Processes, find_problem: Callable[[Path], str]
    ) -> None:
        self._settings = settings
        self._lock = lock
        self._processes = processes
        self._find_problem = find_problem

    def current_deployment(self) -> str | None:
        """The id in the lock file, or None when there is no lock."""
        return self._lock.read()

    def find_process(self, deployment_id: str, process: ProcessRef | None) -> ProcessRef | None:
        """The sub-updater's process if it is at work: the one that was noted, else one that works on this deployment.

        A client that was killed right after the start has not noted it; the environment of the sub-updater, and of
        everything that it started, tells which deployment it is for.
        """
        if process is not None and self._processes.is_alive(process):
            return process
        return self._processes.find(_DEPLOYMENT_ID, deployment_id)

    def seconds_at_work(self, deployment_id: str, process: ProcessRef | None) -> float:
        """How long ago the sub-updater was started in this boot, so that a restarted client counts on; 0: unknown."""
        known = process or self.find_process(deployment_id, None)
        return 0.0 if known is None else self._processes.age_seconds(known)

    def has_begun(self) -> bool:
        """Whether the sub-updater was ever started for this deployment, as far as its trace on disk tells."""
        return self._processes.has_spawned()

    def check(self) -> None:
        """Make sure that the sub-updater can be run.

        Raises:
            InstallError: it is missing, not executable, or another user could have written it.
        """
        if fault := self._find_problem(self._settings.sub_updater):
            raise InstallError(f"cannot install updates: {fault}")

    def claim(self, deployment_id: str) -> None:
        """Write the lock file.

        Raises:
            StorageError: it can't be written.
        """
        self._lock.write(deployment_id)

    def install(self, deployment: Deployment, artifact: PurePath) -> ProcessRef:
        """Start the sub-updater.

        Raises:
            InstallError: it can't be started.
        """
        self.check()
        variables = {
            **self._settings.variables,
            _DEPLOYMENT_ID: deployment.id,
            "MENDER_ARTIFACT_NAME": deployment.artifact_name,
            "MENDER_ARTIFACT_PATH": str(artifact),
        }
        try:
            return self._processes.spawn([str(self._settings.sub_updater), str(artifact)], variables)
        except ScriptError as error:
            raise InstallError(f"cannot install the update: {error}") from error

    def release(self) -> None:
        """Remove the lock file.

        Raises:
            StorageError: it can't be removed.
        """
        self._lock.remove()
