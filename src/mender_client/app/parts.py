"""Parts of a device that some commands need on their own; each module is imported when its part is created."""

from __future__ import annotations

import logging
import os
import sys

from mender_client import TYPE_CHECKING
from mender_client.errors import Diagnostic

if TYPE_CHECKING:
    from mender_client.system.clock import SystemClock
    from mender_client.system.deploymentlog import DeploymentLogFile
    from mender_client.system.device import ScriptedDevice
    from mender_client.system.signatures import VerifyKeys

    from .config import Config
    from .observers import Observers
    from .paths import Paths

_logger = logging.getLogger(__name__)


def deployment_log(config: Config, paths: Paths) -> DeploymentLogFile:
    """The log of the last deployment."""
    from mender_client.system.deploymentlog import DeploymentLogFile

    directory = paths.below_root(config.update_log_path) if config.update_log_path else paths.data
    return DeploymentLogFile(directory / "deployment.log", paths.sub_updater_log)


def scripted_device(config: Config, paths: Paths, clock: SystemClock, observers: Observers) -> ScriptedDevice:
    """The device as its scripts and files describe it."""
    from mender_client.core.model import IdentityFormat
    from mender_client.system.device import ScriptedDevice
    from mender_client.system.trust import Trust

    def is_stopping() -> bool:
        observers.alive()  # scripts have time limits, so a running script is not a hang
        return clock.is_stopping

    type_file = config.device_type_file
    return ScriptedDevice(
        identity_script=paths.identity_script,
        identity_format=IdentityFormat(config.identity_format),
        inventory_directory=paths.inventory_directory,
        device_type_file=paths.below_root(type_file) if type_file else paths.device_type,
        artifact_info_file=paths.artifact_info,
        find_problem=Trust.below(paths.root).permission_problem,
        is_stopping=is_stopping,
        identity_values=paths.identity_values,
        device_type=paths.given_device_type,
        variables=paths.variables,
    )


def verify_keys(config: Config, paths: Paths) -> VerifyKeys | None:
    """The keys that verify signatures, not read yet; None if none is configured, which accepts every Artifact."""
    if not config.artifact_verify_keys:
        return None
    from mender_client.system.crypto import choose_backend
    from mender_client.system.signatures import VerifyKeys

    files = [paths.below_root(file) for file in config.artifact_verify_keys]
    return VerifyKeys(config.artifact_verify_setting, files, choose_backend())


def own_program() -> str:
    """The path of this program, which the sub-updater runs to report; it may be in a virtual environment."""
    name = "mender-python-client"
    archive: str | None = getattr(__spec__.loader, "archive", None)
    if archive is not None:  # the zipapp, whatever it is called
        if not os.access(archive, os.X_OK):
            text = f"the sub-updater cannot run {archive} to report"
            _logger.warning("%s", Diagnostic("FIL01", text, "make it executable"))
        return os.path.abspath(archive)
    called = os.path.abspath(sys.argv[0])
    beside = os.path.join(os.path.dirname(sys.executable), name)
    for path in (called, beside):
        if os.path.basename(path).startswith(name) and os.access(path, os.X_OK):
            return path
    from shutil import which  # an installed program rarely gets here

    return which(name) or name
