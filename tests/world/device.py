"""The complete world: a device with its disk, boot loader and processes, its server, and time.

``World.live`` runs everything until nothing is left to do, and restarts what a blow has ended, as init, a service
manager, a watchdog and, as a last resort, a person with a power switch would.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from mender_client.client.agent import Agent
from mender_client.client.auth import Session
from mender_client.client.configuration import ConfigurationReporter
from mender_client.client.deployments import Deployments
from mender_client.client.download import Downloader
from mender_client.client.download_policy import DownloadPolicy
from mender_client.client.engine import Engine
from mender_client.client.gates import GateKeeper
from mender_client.client.handover import HandOver
from mender_client.client.identity_guard import IdentityGuard
from mender_client.client.inventory import InventorySender
from mender_client.client.outbox import Outbox
from mender_client.client.outcome import Outcomes
from mender_client.client.payload import InstallPolicy, ModuleEffects
from mender_client.client.status_tracker import StatusTracker
from mender_client.core.keyvalue import KeyValues
from mender_client.core.machine import Flow
from mender_client.core.model import Identity, Provides
from mender_client.core.ports import Gates, Observer
from mender_client.core.schedule import Schedule
from mender_client.core.update import ProcessRef
from mender_client.errors import Diagnostic, MenderError, ScriptError, StorageError
from mender_client.installers.sub_updater import SubUpdaterInstaller

from .clock import WorldClock
from .disk import Disk
from .modules import ModuleOptions, WorldModules, WorldScripts
from .power import Blow, Cut, Kind, Power
from .server import URL, Server, WorldTransport
from .stage import Stage
from .stores import ARTIFACT, SUB_UPDATER_LOG, WorldJournal, WorldLock, WorldLog, WorldSeeds, WorldStore
from .subupdater import BOOT, Steps, SubUpdater

TICKS_PER_SECOND = 100
SUB_UPDATER = Path("/usr/share/mender/install")
OLD, NEW = "release-1", "release-2"
_RESTART_SECONDS, _BOOT_SERVICE_SECONDS, _PATIENCE_SECONDS = 10.0, 300.0, 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The behaviour of the sub-updater and its images, and a few settings.

    Args:
        eager_steps: the number of steps of the sub-updater before the client that started it continues.
        has_script: whether the sub-updater exists.
        can_spawn: whether it can be started.
        refuses: it fails before it changes anything.
        write_fails: it fails while it writes the image.
        unhealthy: the image whose health check fails.
        unbootable: the image that doesn't boot.
        step_seconds: the duration of each of its steps.
        rots: a power cut corrupts the whole Artifact on disk.
        dies: it ends halfway and leaves the lock behind.
        is_stuck: it can't be killed, like a process in uninterruptible sleep.
        is_silent: it never reports, and only removes the lock.
        silent_fails: with ``is_silent``, it fails.
        tells_reboot: it reports that it reboots.
        info_after_report: it writes artifact_info between its report and the removal of the lock.
        has_boot_service: it has a service that runs at boot.
        has_operator: an operator power-cycles a device that has been waiting for a long time.
        sub_updater_timeout_seconds: SubUpdaterTimeoutSeconds.
        others: further provides of the device.
        server_urls: the servers.
        policy: the policy of the download.
        modules: the options of the update module; None for a sub-updater.
        is_spooled: SpoolArtifact.
        seeds: the sources of adaptive downloads; None for AdaptiveDownload off.
        gates: UpdateGates.
    """

    eager_steps: int = 0
    has_script: bool = True
    can_spawn: bool = True
    refuses: bool = False
    write_fails: bool = False
    unhealthy: str = ""
    unbootable: str = ""
    step_seconds: float = 1.0
    rots: bool = False
    dies: bool = False
    is_stuck: bool = False
    is_silent: bool = False
    silent_fails: bool = False
    tells_reboot: bool = False
    info_after_report: bool = False
    has_boot_service: bool = True
    has_operator: bool = True
    sub_updater_timeout_seconds: float = 7 * 86400.0
    others: Mapping[str, str] = field(default_factory=dict)
    server_urls: Sequence[str] = (URL,)
    policy: DownloadPolicy = field(default_factory=DownloadPolicy)
    modules: ModuleOptions | None = None
    is_spooled: bool | None = None
    seeds: WorldSeeds | None = None
    gates: Gates | None = None


class Parts(NamedTuple):
    """A client in a new process, and those of its parts that are also used on their own."""

    outbox: Outbox
    engine: Engine
    agent: Agent


class WorldDevice:
    """The device's description of itself; see ``core.ports.DeviceData``."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.device_type = "board"
        self.configuration: str | None = None
        self.id_data = '{"mac":"1"}'
        self.identity_error: MenderError | None = None
        self.provides_error: MenderError | None = None
        self.attributes: list[tuple[str, str]] = [("kernel", "6.1")]

    def identity(self) -> Identity:
        """Its identity."""
        if self.identity_error is not None:
            raise self.identity_error
        return Identity(self.id_data)

    def inventory(self) -> Sequence[KeyValues]:
        """Its inventory."""
        return [KeyValues(tuple(self.attributes), ())]

    def provides(self) -> Provides:
        """The installed software."""
        if self.provides_error is not None:
            raise self.provides_error
        name = (self._world.disk.read(f"info {self._world.running}") or b"").decode()
        return Provides(self.device_type, name, MappingProxyType(dict(self._world.options.others)))


class WorldKeys:
    """A key; see ``core.ports.KeyStore``."""

    def __init__(self) -> None:
        self._key = ed25519.Ed25519PrivateKey.generate()
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        self._public = self._key.public_key().public_bytes(encoding, form).decode()

    @property
    def location(self) -> str:
        """Its location."""
        return "/data/mender-agent.pem"

    def public_key_pem(self) -> str:
        """The public key."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """Sign."""
        return self._key.sign(message)


_KEYS = WorldKeys()


@dataclass(slots=True)
class Process:
    """A running sub-updater."""

    process: ProcessRef
    run: SubUpdater
    steps: Steps
    is_boot_service: bool


class WorldProcesses:
    """Starts the sub-updater; see ``core.ports.Processes``."""

    def __init__(self, world: World) -> None:
        self._world = world

    def spawn(self, argv: Sequence[str], variables: Mapping[str, str]) -> ProcessRef:
        """Start it: the child creates its trace and becomes the sub-updater, whatever happens to the client."""
        starts = self._world.starts.total()
        try:
            return self._spawn(argv[0], dict(variables))
        except Cut as cut:
            is_begun = self.has_spawned() and self._world.options.can_spawn
            if cut.kind is Kind.KILL and is_begun and self._world.starts.total() == starts:
                self._world.spawn(dict(variables), steps=0)
            raise

    def _spawn(self, program: str, variables: dict[str, str]) -> ProcessRef:
        if not self.has_spawned():
            try:
                self._world.disk.write_atomic(SUB_UPDATER_LOG, b"", "leave the trace")
            except StorageError as error:
                raise ScriptError(str(error)) from error
        if not self._world.options.can_spawn:
            raise ScriptError(f"cannot run {program}: exec format error; check its first line")
        return self._world.power.do(
            "spawn", lambda: self._world.spawn(variables, steps=self._world.options.eager_steps)
        )

    def has_spawned(self) -> bool:
        """Whether there is a trace."""
        return self._world.disk.read(SUB_UPDATER_LOG) is not None

    def is_alive(self, process: ProcessRef) -> bool:
        """Whether it runs."""
        running = self._world.process
        return running is not None and running.process == process

    def age_seconds(self, process: ProcessRef) -> float:
        """The seconds since its start."""
        return process.age_seconds(self._world.boot_id, self._world.clock.monotonic(), TICKS_PER_SECOND)

    def stop(self, process: ProcessRef | None, variable: str, value: str, *, is_forced: bool) -> bool:
        """End it; a sub-updater at work ends only when it is killed."""
        if not (process is not None and self.is_alive(process)) and self.find(variable, value) is None:
            return False
        self._world.stops.append(is_forced)
        if is_forced and not self._world.options.is_stuck:
            self._world.process = None
        return True

    def find(self, variable: str, value: str) -> ProcessRef | None:
        """The sub-updater that works on the deployment."""
        assert variable == "MENDER_DEPLOYMENT_ID"
        process = self._world.process
        return process.process if process is not None and process.run.deployment_id == value else None


class World:
    """One device and one server.

    Args:
        stage: the directory of the Artifacts.
        options: the behaviour of the world.
        plan: the blows.
        seed: the seed of the client's random numbers.
    """

    def __init__(
        self, stage: Stage, options: Options | None = None, plan: Mapping[int, Blow] | None = None, *, seed: int = 1
    ) -> None:
        self.stage = stage
        self.options = options or Options()
        self.power = Power(plan)
        self.disk = Disk(self.power)
        self.clock = WorldClock()
        self.server = Server(stage.directory, self.clock)
        self.transport = WorldTransport(self.server, self.power, self.clock)
        self.journal = WorldJournal(self.disk)
        self.lock = WorldLock(self.disk)
        self.store = WorldStore(self.disk)
        self.log = WorldLog(self.disk, self.clock)
        self.device = WorldDevice(self)
        self.random = random.Random(seed).random
        self.running = "A"
        self.process: Process | None = None
        self.client: Agent | None = None
        self.observers: list[Observer] = []
        self.starts: Counter[str] = Counter()
        self._deeds: set[str] = set()
        self.doubled: list[str] = []
        self.calls: list[str] = []
        self.arriving = NEW
        self.stops: list[bool] = []
        self.block_bytes = 64 * 1024 if self.options.seeds else 256
        self.on_block: Callable[[int, bytes], object] = lambda offset, data: None
        self._client_due = 0.0
        self._boot_service_due: float | None = None
        self._boots = 0
        self._pids = 100
        self._waits_since: float | None = None
        self.turns = 0
        self.first_effect = 0
        self.fill("A", OLD)
        self.name("A", OLD)
        self.set_boot({"part": "A", "upgrade_available": 0, "bootcount": 0})
        self.boot_up()

    # -- partitions and boot loader ----------------------------------------------------------------------------

    def fill(self, partition: str, image: str) -> None:
        """Write an image; it doesn't change the artifact name."""
        self.disk.put(f"part {partition}", image.encode())
        self.disk.put(f"info {partition}", b"unnamed")

    def switch(self, partition: str) -> None:
        """Switch to another partition immediately."""
        self.set_boot({"part": partition, "upgrade_available": 0, "bootcount": 0})
        self.running = partition

    def name(self, partition: str, name: str) -> None:
        """Write artifact_info."""
        self.disk.put(f"info {partition}", name.encode())

    def image_in(self, partition: str) -> str:
        """The content of a partition."""
        return (self.disk.read(f"part {partition}") or b"").decode()

    def set_boot(self, boot: Mapping[str, object]) -> None:
        """Write the boot variables."""
        self.disk.put(BOOT, json.dumps(boot).encode())

    @property
    def boot(self) -> dict[str, Any]:
        """The boot variables."""
        return dict(json.loads(self.disk.read(BOOT) or b"{}"))

    def boot_up(self) -> None:
        """Boot loader, kernel, init: the sub-updater's boot service first, then the client."""
        self.clock.boot()
        self._boots += 1
        while not self._load_kernel():
            pass
        self.client = self.process = None
        self._boot_service_due = self.clock.seconds if self.options.has_boot_service else None
        if not self.options.has_boot_service:
            self.start_client()

    def _load_kernel(self) -> bool:
        boot = self.boot
        if boot["upgrade_available"]:
            boot["bootcount"] += 1
            if boot["bootcount"] > 1:
                other = "B" if boot["part"] == "A" else "A"
                boot = {"part": other, "upgrade_available": 0, "bootcount": 0}
            self.set_boot(boot)
        self.running = boot["part"]
        image = self.image_in(self.running)
        assert image in (OLD, NEW), f"the boot loader found {image!r}"
        return image != self.options.unbootable

    @property
    def boot_id(self) -> str:
        """The id of the current boot."""
        return f"boot-{self._boots}"

    # -- processes ---------------------------------------------------------------------------------------------

    def spawn(self, variables: dict[str, str], *, steps: int) -> ProcessRef:
        """Start the sub-updater and let it do a number of steps."""
        run = SubUpdater(self, variables)
        if run.deployment_id in self._deeds:
            self.doubled.append(run.deployment_id)
        self.starts[run.deployment_id] += 1
        process = self._begin(run, run.hand_over(), is_boot_service=False)
        for _ in range(steps):
            if self.process is process:
                self._step_process()
        return process.process

    def _begin(self, run: SubUpdater, steps: Steps, *, is_boot_service: bool) -> Process:
        self._pids += 1
        process = ProcessRef(self._pids, self.boot_id, max(round(self.clock.monotonic() * TICKS_PER_SECOND), 1))
        self.process = Process(process, run, steps, is_boot_service)
        return self.process

    def note_deed(self, deployment_id: str) -> None:
        """The sub-updater has made a durable change."""
        self._deeds.add(deployment_id)

    def start_client(self) -> None:
        """Start the client, unless it is running."""
        if self.client is None:
            self.client = self.new_client()
            self._client_due = self.clock.seconds

    def _step_process(self) -> None:
        """Let the sub-updater do one step."""
        process = self.process
        assert process is not None
        try:
            next(process.steps)
        except StopIteration:
            self._end_process(process, restart=process.run.wants_another_run)
        except Cut as cut:
            if cut.kind is not Kind.KILL:
                raise
            self.power.restored()
            self._end_process(process, restart=True)

    def _end_process(self, process: Process, *, restart: bool) -> None:
        self.process = None
        if process.is_boot_service:
            self._boot_service_due = self.clock.seconds + _BOOT_SERVICE_SECONDS if restart else None
            self.start_client()

    # -- life --------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Let every active process do a step; if there is none, let time pass."""
        self.turns += 1
        try:
            self._turn()
        except Cut as cut:
            self._after(cut)

    def _turn(self) -> None:
        if self.process is None and self._boot_service_due is not None and self.clock.seconds >= self._boot_service_due:
            self._boot_service_due = None
            run = SubUpdater(self, {})
            self._begin(run, run.at_boot(), is_boot_service=True)
        if self.process is not None:
            self.clock.seconds += self.options.step_seconds
            self._step_process()
        if self.client is not None and self.clock.seconds >= self._client_due:
            self._client_due = self.clock.seconds + max(self.client.step(), 0.1)
            if self.client.has_handed_over:
                self.client = None
        if self.process is None:
            self._let_time_pass()

    def _let_time_pass(self) -> None:
        self._call_the_operator()
        wakings = [self._client_due] if self.client is not None else []
        wakings += [] if self._boot_service_due is None else [self._boot_service_due]
        if not wakings:
            self.power.cut(Kind.POWER)  # nothing runs any more: an operator cuts the power
        self.clock.seconds = max(self.clock.seconds, min(wakings))

    def _call_the_operator(self) -> None:
        """A device that waits for a dead sub-updater is power-cycled, if that can help."""
        if self.lock.read() is None or not (self.options.has_boot_service and self.options.has_operator):
            self._waits_since = None
        elif self._waits_since is None:
            self._waits_since = self.clock.seconds
        elif self.clock.seconds - self._waits_since > _PATIENCE_SECONDS:
            self._waits_since = None
            self.power.cut(Kind.POWER)

    def _after(self, cut: Cut) -> None:
        self.power.restored()
        self.journal.sender = None
        if cut.kind is Kind.KILL:  # the client; its service manager restarts it
            self.client = self.new_client()
            self._client_due = self.clock.seconds + _RESTART_SECONDS
            return
        if cut.kind is Kind.REBOOT:
            self.disk.sync_all()
        else:
            self.disk.crash(cut.damage)
            artifact = self.disk.read(ARTIFACT)
            if self.options.rots and artifact is not None:
                self.disk.put(ARTIFACT, artifact[:-1500] + b"x" + artifact[-1499:])
        self.boot_up()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left to do."""
        record = self.journal.load()
        is_idle = self.process is None and self.client is not None and self._boot_service_due is None
        return is_idle and self.server.is_over and record.update is None and not record.outbox and not self.lock.read()

    def live(self, *, most_turns: int = 2000) -> None:
        """Run until nothing happens any more, and a few turns longer to see that it stays quiet.

        Raises:
            AssertionError: it never becomes quiet.
        """
        quiet = 0
        for _ in range(most_turns):
            quiet = quiet + 1 if self.is_quiet else 0
            if quiet > 3:
                return
            self.turn()
        raise AssertionError(f"stuck: status {self.server.status}, record {self.journal.load()}")

    # -- the client --------------------------------------------------------------------------------------------

    def _program_problem(self, path: Path) -> Diagnostic | None:
        is_there = path == SUB_UPDATER and self.options.has_script
        return None if is_there else Diagnostic("FIL11", f"{path} is missing")

    def new_parts(self) -> Parts:
        """The client's parts, created as in a new process."""
        tracker = StatusTracker(self.clock, self.observers)
        session = Session(
            tracker=tracker,
            transport=self.transport,
            clock=self.clock,
            device=self.device,
            keys=_KEYS,
            guard=IdentityGuard(journal=self.journal, keys=_KEYS),
            server_urls=self.options.server_urls,
            tenant_token="tenant",
        )
        deployments = Deployments(session=session, clock=self.clock)
        outbox = Outbox(journal=self.journal, deployments=deployments, log=self.log)
        downloader = Downloader(
            transport=self.transport,
            clock=self.clock,
            store=self.store,
            journal=self.journal,
            policy=self.options.policy,
            random=self.random,
            tracker=tracker,
            seeds=self.options.seeds,
        )
        sub_updater = SubUpdaterInstaller(
            program=SUB_UPDATER,
            variables={"MENDER_DATA_DIR": "/data"},
            lock=self.lock,
            processes=WorldProcesses(self),
            find_problem=self._program_problem,
        )
        keeper = GateKeeper(
            gates=self.options.gates,
            clock=self.clock,
            journal=self.journal,
            outbox=outbox,
            deployments=deployments,
            tracker=tracker,
            elapsed=self.clock.monotonic,
            boot_id=lambda: self.boot_id,
        )
        hand_over = HandOver(
            outbox=outbox,
            deployments=deployments,
            downloader=downloader,
            store=self.store,
            device=self.device,
            lock=self.lock,
            installer=sub_updater,
            sub_updater=sub_updater,
            tracker=tracker,
            gates=keeper,
        )
        modules = WorldModules(self, self.options.modules or ModuleOptions())
        effects = ModuleEffects(
            outbox=outbox,
            deployments=deployments,
            downloader=downloader,
            store=self.store,
            save_provides=modules.save_provides,
            modules=modules,
            scripts=WorldScripts(self, self.options.modules or ModuleOptions()),  # type: ignore[arg-type]
            tracker=tracker,
            clock=self.clock,
            policy=InstallPolicy(is_spooled=self.options.is_spooled),
            random=self.random,
            gates=keeper,
            sync=lambda: self.power.do("sync", self.disk.sync_all),
        )
        flow = Flow.HANDOVER if self.options.modules is None else Flow.MODULES
        engine = Engine(
            clock=self.clock,
            device=self.device,
            journal=self.journal,
            outbox=outbox,
            deployments=deployments,
            store=self.store,
            lock=self.lock,
            log=self.log,
            outcomes=self.new_outcomes(),
            effects_of=lambda flow: hand_over if flow is Flow.HANDOVER else effects,
            tracker=tracker,
            choose_flow=lambda _: flow,
            boot_id=lambda: self.boot_id,
        )
        configuration = ConfigurationReporter(
            session=session, clock=self.clock, read=lambda: self.device.configuration or ""
        )
        agent = Agent(
            clock=self.clock,
            transport=self.transport,
            lock=self.lock,
            sub_updater=sub_updater,
            log=self.log,
            journal=self.journal,
            session=session,
            inventory=InventorySender(
                session=session, clock=self.clock, device=self.device, journal=self.journal, version="1.0"
            ),
            outbox=outbox,
            engine=engine,
            tracker=tracker,
            random=self.random,
            schedule=Schedule.every(inventory_seconds=28800, poll_seconds=1800, retry_seconds=300),
            sub_updater_timeout_seconds=self.options.sub_updater_timeout_seconds,
            report_configuration=lambda: self.device.configuration is None or configuration.send(),
        )
        return Parts(outbox, engine, agent)

    def new_outcomes(self) -> Outcomes:
        """The part that concludes deployments, in a new process."""
        return Outcomes(clock=self.clock, journal=self.journal, log=self.log, lock=self.lock, store=self.store)

    def new_client(self) -> Agent:
        """A client in a new process."""
        return self.new_parts().agent
