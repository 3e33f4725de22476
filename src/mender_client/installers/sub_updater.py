"""Hands the Artifact to the device's sub-updater, following the contract on which existing sub-updaters rely.

The lock file is written first. Once it is stored, the sub-updater is started in such a way that it outlives the daemon,
which then exits. The sub-updater installs, reboots, commits or rolls back, reports, removes the lock and starts the
daemon again. A daemon that finds the lock waits until it is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePath

from mender_client import TYPE_CHECKING
from mender_client.core.model import Deployment
from mender_client.core.update import ProcessRef
from mender_client.dataclass import dataclass
from mender_client.errors import Diagnostic, InstallError, ScriptError

if TYPE_CHECKING:
    from mender_client.core.ports import Lock, Processes

_DEPLOYMENT_ID = "MENDER_DEPLOYMENT_ID"


@dataclass(kw_only=True, eq=False, repr=False)
class SubUpdaterInstaller:
    """Installs Artifacts with the sub-updater; see ``core.ports.Installer`` and ``core.ports.SubUpdater``.

    Attributes:
        program: the sub-updater, called with the path of the Artifact.
        variables: its environment variables, besides those of the deployment.
        find_problem: returns why a program can't or must not be run; None if it may.
    """

    program: Path
    variables: Mapping[str, str]
    lock: Lock
    processes: Processes
    find_problem: Callable[[Path], Diagnostic | None]

    def check(self) -> None:
        if problem := self.find_problem(self.program):
            raise InstallError("UPD01", f"cannot install updates: {problem.text}", remedy=problem.remedy)

    def find_process(self, deployment_id: str, process: ProcessRef | None) -> ProcessRef | None:
        if process is not None and self.processes.is_alive(process):
            return process
        # a client that was killed right after the start has not stored the process; the environment of the sub-updater
        # and of everything that it started names the deployment
        return self.processes.find(_DEPLOYMENT_ID, deployment_id)

    def stop(self, deployment_id: str, process: ProcessRef | None, *, is_forced: bool) -> bool:
        return self.processes.stop(process, _DEPLOYMENT_ID, deployment_id, is_forced=is_forced)

    def seconds_at_work(self, deployment_id: str, process: ProcessRef | None) -> float:
        known = process or self.find_process(deployment_id, None)
        return 0.0 if known is None else self.processes.age_seconds(known)

    def has_begun(self) -> bool:
        return self.processes.has_spawned()

    def claim(self, deployment_id: str) -> None:
        self.lock.write(deployment_id)

    def install(self, deployment: Deployment, artifact: PurePath) -> ProcessRef:
        self.check()
        variables = {
            **self.variables,
            _DEPLOYMENT_ID: deployment.id,
            "MENDER_ARTIFACT_NAME": deployment.artifact_name,
            "MENDER_ARTIFACT_PATH": str(artifact),
            "MENDER_PAYLOAD_TYPE": deployment.payload_type,
        }
        try:
            return self.processes.spawn([str(self.program), str(artifact)], variables)
        except ScriptError as error:
            raise InstallError("UPD02", f"cannot install the update: {error.text}", remedy=error.remedy) from error
