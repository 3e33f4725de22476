"""The composition root: the parts of one device, and how they are connected.

Only this module, ``server_parts`` and ``host`` know both the workflow and the I/O adapters. Each part is created, and
its module imported, on first use, so that a command loads only what it needs.
"""

from __future__ import annotations

import os
import time
from collections import ChainMap
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.core.machine import Flow
from mender_client.system.clock import jitter
from mender_client.system.locks import LockFile
from mender_client.system.trust import Trust

from .config import Config
from .host import Host
from .installer import chooses_sub_updater, has_configuration_module, module_problem, sub_updater_problem
from .parts import deployment_log, own_program, verify_keys
from .paths import Paths
from .server_parts import ServerParts

if TYPE_CHECKING:
    from mender_client.client.agent import Agent
    from mender_client.client.decisions import UpdateDecisions
    from mender_client.client.download import Downloader
    from mender_client.client.engine import Effects, Engine
    from mender_client.client.gates import GateKeeper
    from mender_client.client.handover import HandOver
    from mender_client.client.outbox import Outbox
    from mender_client.client.outcome import Outcomes
    from mender_client.client.pace import PaceLimits
    from mender_client.client.payload import ModuleEffects
    from mender_client.client.scripts import StateScripts
    from mender_client.client.standalone import Standalone
    from mender_client.client.stream import Progress
    from mender_client.client.sync_scripts import SyncScripts
    from mender_client.core.artifact import NewDigest
    from mender_client.core.model import Deployment, Software
    from mender_client.core.ports import Installer, Journal, KeyStore, Lock, Modules, SubUpdater
    from mender_client.system.calls import Calls
    from mender_client.system.deploymentlog import DeploymentLogFile
    from mender_client.system.seeds import DeviceSeeds
    from mender_client.system.signatures import VerifyKeys
    from mender_client.system.store import ArtifactDirectory

    from .gates import DeviceGates
    from .program import Program

_OF_UPDATES = ("downloader", "hand_over", "module_effects", "calls", "modules", "verify_keys")
"""The parts that only an update uses, and that nothing else refers to."""


def _boot_id() -> str:
    from mender_client.system.process_table import ProcessTable

    return ProcessTable().boot_id()


class DeviceParts(ServerParts):
    """The parts of one device, each created on first use.

    Args:
        progressed: shows the progress of downloads; None to write log lines instead.
        program: as for ``ServerParts``; without one, the device's sub-updater or update modules install updates.
        announce: as for ``SystemProcesses``.

    The other arguments are those of ``ServerParts``.
    """

    def __init__(
        self,
        host: Host,
        config: Config,
        paths: Paths,
        *,
        key: KeyStore | None = None,
        journal: Journal | None = None,
        progressed: Callable[[Progress], None] | None = None,
        program: Program | None = None,
        announce: Callable[[bool], None] = lambda _: None,
    ) -> None:
        super().__init__(host, config, paths, key=key, journal=journal, program=program)
        self.lock: Lock = LockFile(paths.update_lock)
        self._progressed = progressed
        self._announce = announce

    def close(self) -> None:
        """Stop recording the deployment log, and close connections and file descriptors."""
        if "log" in self.__dict__:
            self.log.end()
        super().close()

    def forget_update(self) -> None:
        """Release the memory that only an update uses; the next update creates these parts again."""
        for name in _OF_UPDATES:
            self.__dict__.pop(name, None)

    # -- the device -----------------------------------------------------------------------------------------------

    @property
    def save_provides(self) -> Callable[[Software], str]:
        return (self._program or self.scripted_device).save_provides

    @cached_property
    def store(self) -> ArtifactDirectory:
        from mender_client.system.store import ArtifactDirectory

        return ArtifactDirectory(self.paths.artifact)

    @cached_property
    def log(self) -> DeploymentLogFile:
        return deployment_log(self._config, self.paths)

    @cached_property
    def verify_keys(self) -> VerifyKeys | None:
        return verify_keys(self._config, self.paths)

    @cached_property
    def outbox(self) -> Outbox:
        from mender_client.client.outbox import Outbox

        return Outbox(journal=self.journal, deployments=self.deployments, log=self.log)

    # -- updates --------------------------------------------------------------------------------------------------

    @cached_property
    def outcomes(self) -> Outcomes:
        from mender_client.client.outcome import Outcomes

        return Outcomes(clock=self.clock, journal=self.journal, log=self.log, lock=self.lock, store=self.store)

    @cached_property
    def pace_limits(self) -> PaceLimits:
        from mender_client.client.pace import PaceLimits

        config = self._config
        limit = config.download_speed_limit
        return PaceLimits(
            most_bytes_per_second=limit if isinstance(limit, int) else 0,
            least_bytes_per_second=config.download_minimum_rate,
            window_seconds=config.download_stall_seconds,
            plan=None if self.gates is None else self.gates.speeds,
        )

    @cached_property
    def downloader(self) -> Downloader:
        from mender_client.client.download import Downloader
        from mender_client.client.download_policy import DownloadPolicy
        from mender_client.system.capacity import DeviceCapacity

        config = self._config
        partitions = [Path(part) for part in (config.rootfs_part_a, config.rootfs_part_b) if part]
        return Downloader(
            transport=self.transport,
            clock=self.clock,
            store=self.store,
            journal=self.journal,
            policy=DownloadPolicy(
                tries_without_progress=config.retry_download_count,
                patience_seconds=config.retry_download_seconds,
                longest_wait_seconds=config.retry_poll_seconds,
                reserve_bytes=config.download_reserve_bytes,
                pace=self.pace_limits,
                check_signature=self.verify_keys,
                payload_types=config.payload_types,
                capacity=DeviceCapacity(partitions),
            ),
            random=jitter,
            tracker=self.tracker,
            progressed=self._progressed,
            new_digest=self.new_digest,
            seeds=None if config.adaptive_download == "off" else self._seeds(partitions),
        )

    @property
    def new_digest(self) -> NewDigest | None:
        """Begins the hash of a download in another thread; None to hash in the thread that receives it."""
        from mender_client.system.digest import choose_digest

        return choose_digest()

    def _seeds(self, partitions: Sequence[Path]) -> DeviceSeeds | None:
        """The files and partitions that an adaptive download searches for blocks; None if there are none."""
        others = [self.paths.below_root(path) for path in self._config.adaptive_seeds]
        if not (partitions or others):
            return None
        from mender_client.system.seeds import DeviceSeeds

        return DeviceSeeds(partitions, others)

    @cached_property
    def installer(self) -> Installer:
        if self._program is not None:
            return self._program.make_installer(self.lock, self.outcomes)
        from mender_client.installers.sub_updater import SubUpdaterInstaller
        from mender_client.system.process import SystemProcesses

        paths, config = self.paths, self._config
        return SubUpdaterInstaller(
            program=paths.sub_updater,
            variables={
                "MENDER_CLIENT": own_program(),
                "MENDER_DATA_DIR": str(paths.data),
                "MENDER_ROOT": "" if paths.root == Path("/") else str(paths.root),
                "MENDER_ROOTFS_PART_A": config.rootfs_part_a,
                "MENDER_ROOTFS_PART_B": config.rootfs_part_b,
                **paths.variables,
            },
            lock=self.lock,
            processes=SystemProcesses(paths.sub_updater_log, self._announce),
            find_problem=lambda _: sub_updater_problem(config, paths, Trust.below(paths.root)),
        )

    @cached_property
    def sub_updater(self) -> SubUpdater | None:
        """The installer if it is the device's sub-updater; not loaded for a gateway's device without one."""
        if self.paths.is_of_gateway and not os.path.lexists(self.paths.sub_updater):
            return None
        from mender_client.installers.sub_updater import SubUpdaterInstaller

        return self.installer if isinstance(self.installer, SubUpdaterInstaller) else None

    @cached_property
    def gates(self) -> DeviceGates | None:
        """The configured gates and download speeds; None if there are none."""
        if not self._config.has_gates:
            return None
        from .gates import DeviceGates

        return DeviceGates(self._config, self.paths, self.host, self._is_stopping)

    def _effects_of(self, flow: Flow) -> Effects:
        """The effects of a flow; their modules are loaded when an update first needs them."""
        return self.hand_over if flow is Flow.HANDOVER else self.module_effects

    @cached_property
    def hand_over(self) -> HandOver:
        from mender_client.client.handover import HandOver

        return HandOver(
            outbox=self.outbox,
            deployments=self.deployments,
            downloader=self.downloader,
            store=self.store,
            device=self.device,
            lock=self.lock,
            installer=self.installer,
            sub_updater=self.sub_updater,
            tracker=self.tracker,
            gates=self.gate_keeper,
        )

    @cached_property
    def decisions(self) -> UpdateDecisions:
        """Stores operators' decisions about updates."""
        from mender_client.client.decisions import UpdateDecisions

        return UpdateDecisions(clock=self.clock, journal=self.journal)

    @cached_property
    def gate_keeper(self) -> GateKeeper:
        """Lets updates pass the gates, or wait at them."""
        from mender_client.client.gates import GateKeeper

        return GateKeeper(
            gates=None if self.gates is None else self.gates.configured,
            clock=self.clock,
            journal=self.journal,
            outbox=self.outbox,
            deployments=self.deployments,
            tracker=self.tracker,
            elapsed=lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
            boot_id=_boot_id,
        )

    @cached_property
    def calls(self) -> Calls:
        """Runs update modules and state scripts."""
        from mender_client.system.calls import Calls

        return Calls(
            environment=ChainMap({**self.paths.moved(), **self.paths.variables}, os.environ),
            is_stopping=self._is_stopping,
            alive=self.tracker.alive,
        )

    def _is_stopping(self) -> bool:
        return self.clock.is_stopping

    @cached_property
    def modules(self) -> Modules:
        if self._program is not None:
            return self._program.make_modules(self._is_stopping)
        from mender_client.installers.modules import UpdateModules
        from mender_client.system.module_tree import ModuleTree

        trust = Trust.below(self.paths.root)
        return UpdateModules(
            directory=self.paths.modules_directory,
            tree=ModuleTree(self.paths.module_tree),
            calls=self.calls,
            find_problem=lambda module: module_problem(module, self.paths, trust),
            seconds=self._config.module_timeout_seconds,
            is_rebooted_by_client=not self.paths.is_of_gateway,
        )

    @cached_property
    def state_scripts(self) -> StateScripts:
        from mender_client.client.scripts import StateScripts
        from mender_client.system.scripts import StateScriptDirectory

        config, paths, calls = self._config, self.paths, self.calls
        find_problem = Trust.below(paths.root).permission_problem

        def directory(path: Path) -> StateScriptDirectory:
            return StateScriptDirectory(path=path, calls=calls, find_problem=find_problem)

        return StateScripts(
            root=directory(paths.root_scripts) if self._program is None else None,
            artifact=directory(paths.artifact_scripts),
            clock=self.clock,
            alive=self.tracker.alive,
            seconds=config.state_script_timeout_seconds,
            retry_interval_seconds=config.state_script_retry_seconds,
            retry_timeout_seconds=config.state_script_patience_seconds,
        )

    @cached_property
    def module_effects(self) -> ModuleEffects:
        from mender_client.client.payload import InstallPolicy, ModuleEffects

        config = self._config
        return ModuleEffects(
            outbox=self.outbox,
            deployments=self.deployments,
            downloader=self.downloader,
            store=self.store,
            save_provides=self.save_provides,
            modules=self.modules,
            scripts=self.state_scripts,
            tracker=self.tracker,
            clock=self.clock,
            policy=InstallPolicy(
                is_spooled={"always": True, "never": False}.get(config.spool_artifact),
                longest_wait_seconds=config.retry_poll_seconds,
                retries=config.retry_poll_count,
            ),
            random=jitter,
            gates=self.gate_keeper,
            sync=os.sync,
        )

    def standalone(self, *, begun: Callable[[], None], stops: frozenset[str]) -> Standalone:
        """The object that carries out a standalone command; arguments as for ``Standalone``."""
        from mender_client.client.standalone import Standalone

        return Standalone(
            clock=self.clock,
            journal=self.journal,
            device=self.device,
            lock=self.lock,
            modules=self.modules,
            scripts=self.state_scripts,
            save_provides=self.save_provides,
            begun=begun,
            stops=stops,
        )

    def choose_flow(self, deployment: Deployment) -> Flow:
        """The flow for a deployment (Installer); a configuration prefers its update module to the sub-updater."""
        if self._program is not None:
            return self._program.flow
        if not chooses_sub_updater(self._config, self.paths):
            return Flow.MODULES
        is_by_module = deployment.is_configuration and has_configuration_module(self._config, self.paths)
        return Flow.MODULES if is_by_module else Flow.HANDOVER

    @cached_property
    def sync_scripts(self) -> SyncScripts:
        from mender_client.client.sync_scripts import SyncScripts

        return SyncScripts(lambda: self.state_scripts, lambda: not chooses_sub_updater(self._config, self.paths))

    def _has_sync_scripts(self) -> bool:
        """Whether there may be state scripts around polls; for the many devices of a gateway, look first."""
        is_spared = self.paths.is_of_gateway and not os.path.isdir(self.paths.root_scripts)
        return self._program is None and not is_spared

    @cached_property
    def engine(self) -> Engine:
        from mender_client.client.engine import Engine

        return Engine(
            clock=self.clock,
            device=self.device,
            journal=self.journal,
            outbox=self.outbox,
            deployments=self.deployments,
            store=self.store,
            lock=self.lock,
            log=self.log,
            outcomes=self.outcomes,
            effects_of=self._effects_of,
            tracker=self.tracker,
            choose_flow=self.choose_flow,
            boot_id=_boot_id,
        )

    @cached_property
    def agent(self) -> Agent:
        from mender_client.client.agent import Agent
        from mender_client.core.schedule import Schedule

        schedule = Schedule.every(
            inventory_seconds=self._config.inventory_poll_seconds,
            poll_seconds=self._config.update_poll_seconds,
            retry_seconds=self._config.retry_poll_seconds,
        )
        return Agent(
            clock=self.clock,
            transport=self.transport,
            lock=self.lock,
            sub_updater=self.sub_updater,
            log=self.log,
            journal=self.journal,
            session=self.session,
            inventory=self.inventory,
            outbox=self.outbox,
            engine=self.engine,
            tracker=self.tracker,
            random=jitter,
            schedule=schedule,
            sub_updater_timeout_seconds=self._config.sub_updater_timeout_seconds,
            sync_scripts=self.sync_scripts if self._has_sync_scripts() else None,
            report_configuration=self.report_configuration if self._program is None else lambda: None,
        )
