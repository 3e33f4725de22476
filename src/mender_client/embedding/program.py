"""What the embedding program supplies: the description of its device and the installer; see ``app.program.Program``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.app.paths import Paths
from mender_client.core.machine import Event, Flow
from mender_client.core.model import Deployment, Software
from mender_client.dataclass import dataclass
from mender_client.installers.callback import CallbackInstaller, InstallFunction
from mender_client.system.marker_file import MarkerFile

from .description import DescribedDevice

if TYPE_CHECKING:
    from mender_client.client.outcome import Outcomes
    from mender_client.core.ports import Lock

    from .modules import EmbeddedModules, MakeModule


@dataclass(kw_only=True, eq=False, repr=False)
class EmbeddingProgram:
    """A program that embeds a client.

    Attributes:
        install: installs Artifacts; None if the program calls ``download`` and ``report`` itself.
        modules: the update modules by payload type; None if they don't install.
        reboot: reboots the device for update modules.
    """

    device: DescribedDevice
    paths: Paths
    install: InstallFunction | None
    modules: Mapping[str, MakeModule] | None
    reboot: Callable[[], object] | None

    @property
    def flow(self) -> Flow:
        """How deployments are carried out."""
        return Flow.HANDOVER if self.modules is None else Flow.MODULES

    def make_installer(self, lock: Lock, outcomes: Outcomes) -> CallbackInstaller:
        """Make the object that hands an Artifact to the program."""

        def conclude(deployment_id: str, is_installed: bool) -> None:
            outcomes.conclude(deployment_id, Event.SUCCESS if is_installed else Event.FAILURE)

        return CallbackInstaller(
            self.install or (_keep if self.modules is None else _refuse),
            conclude=conclude,
            lock=lock,
            trace=MarkerFile(self.paths.data / "install.trace"),
        )

    def make_modules(self, is_stopping: Callable[[], bool]) -> EmbeddedModules:
        """Make the object that calls the update modules."""
        # imported late: not every program has update modules
        from mender_client.system.module_tree import ModuleTree

        from .modules import EmbeddedModules

        return EmbeddedModules(
            self.modules or {}, tree=ModuleTree(self.paths.module_tree), reboot=self.reboot, is_stopping=is_stopping
        )

    def save_provides(self, software: Software) -> str:
        """Write nothing: the description belongs to the program, and keeps its artifact name."""
        name = self.device.provides().artifact_name
        return "" if name == software.artifact_name else name


def _keep(artifact: Path, deployment: Deployment) -> None:
    """Leave the installation to the program, which calls ``report``."""


def _refuse(artifact: Path, deployment: Deployment) -> None:  # noqa: ARG001 - whatever it is
    """Refuse an update begun by an earlier version of the program, which would have installed it itself."""
    raise RuntimeError("the program installs by update modules now")
