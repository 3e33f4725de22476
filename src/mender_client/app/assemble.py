"""The seam: configuration and paths become real objects, and those become a client.

The only place that knows both the workflow and the hands.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mender_client import __version__
from mender_client.client.agent import Agent, Parts
from mender_client.client.auth import Session
from mender_client.client.deployments import Deployments
from mender_client.client.download import Downloader, DownloadPolicy
from mender_client.client.engine import Engine
from mender_client.client.handover import HandOver
from mender_client.client.identity_guard import IdentityGuard
from mender_client.client.inventory import InventorySender
from mender_client.client.outbox import Outbox
from mender_client.client.outcome import Outcomes
from mender_client.client.pace import PaceLimits
from mender_client.client.status_tracker import StatusTracker
from mender_client.client.stream import Progress
from mender_client.core.machine import Flow
from mender_client.core.model import IdentityFormat
from mender_client.core.ports import DeviceData, Installer
from mender_client.core.schedule import Schedule
from mender_client.installers.sub_updater import SubUpdaterInstaller, SubUpdaterSettings
from mender_client.system.clock import SystemClock
from mender_client.system.clockevidence import ClockCheck
from mender_client.system.crypto import choose_backend
from mender_client.system.deploymentlog import DeploymentLogFile
from mender_client.system.device import ScriptedDevice
from mender_client.system.digest import choose_digest
from mender_client.system.files import LockFile
from mender_client.system.http import HttpTransport, Timeouts
from mender_client.system.journal import JsonJournal
from mender_client.system.process import SystemProcesses
from mender_client.system.store import ArtifactDirectory
from mender_client.system.tls import TlsSettings
from mender_client.system.trust import Trust

from .config import Config
from .devicekey import device_key
from .observers import Observers
from .paths import Paths

if TYPE_CHECKING:
    from mender_client.core.ports import KeyStore
    from mender_client.core.proxies import Proxies
    from mender_client.system.signatures import VerifyKeys

_logger = logging.getLogger(__name__)


def _warn_of_plain_http(server_urls: Sequence[str]) -> None:
    for url in server_urls:
        if not url.startswith("http:"):
            continue
        # imported where there is no TLS: every other device does without the memory
        from mender_client.core.internal_address import is_internal_address

        if not is_internal_address(urlsplit(url).hostname or ""):
            _logger.warning(
                "%s is reached without TLS: whoever stands between can read the token and answer as the server; "
                "use an https address",
                url,
            )


@dataclass(frozen=True, slots=True)
class World:
    """The real objects that a command works with."""

    clock: SystemClock
    transport: HttpTransport
    clock_check: ClockCheck
    session: Session
    inventory: InventorySender
    deployments: Deployments
    journal: JsonJournal
    outbox: Outbox
    log: DeploymentLogFile
    lock: LockFile
    device: DeviceData
    installer: Installer
    outcomes: Outcomes
    engine: Engine
    client: Agent
    tracker: StatusTracker
    verify_keys: VerifyKeys | None

    def close(self) -> None:
        """Give connections, descriptors and the place in the log back."""
        self.transport.rest()
        self.clock.close()
        logging.getLogger("mender_client").removeHandler(self.log)


def verify_keys(config: Config, paths: Paths) -> VerifyKeys | None:
    """The keys that sign Artifacts, not read yet; None when none is configured and every Artifact is accepted."""
    if not config.artifact_verify_keys:
        return None
    # imported where keys are configured: an idle daemon does without the memory
    from mender_client.system.signatures import VerifyKeys

    files = [paths.below_root(file) for file in config.artifact_verify_keys]
    return VerifyKeys(config.artifact_verify_setting, files, choose_backend())


def scripted_device(config: Config, paths: Paths, clock: SystemClock, observers: Observers) -> ScriptedDevice:
    """The device as its scripts and files describe it."""

    def is_stopping() -> bool:
        observers.alive()  # a script has a time limit: while one runs nothing hangs
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
    )


def assemble(
    config: Config,
    paths: Paths,
    *,
    key: KeyStore | None = None,
    journal: JsonJournal | None = None,
    timeouts: Timeouts | None = None,
    progressed: Callable[[Progress], None] | None = None,
    device: DeviceData | None = None,
    installer: Callable[[LockFile, Outcomes], Installer] | None = None,
    observers: Observers | None = None,
    environment: Mapping[str, str] = os.environ,
) -> World:
    """Build everything that talks to the server.

    Args:
        config: the settings.
        paths: where everything lies.
        key: the device key; None: the configured one, without a passphrase.
        journal: the client's memory; None: the one on disk.
        timeouts: the time limits of the network; None: the usual ones.
        progressed: shows how far a download is; None writes log lines.
        device: says what this device is; None: its scripts and files.
        installer: makes what installs Artifacts, and gets the lock file and what concludes deployments; None: the
            device's sub-updater does.
        watch: who looks on.
        environment: has the variables that name proxies.

    Raises:
        ConfigError: a certificate, a key or a proxy that is configured can't be used.
    """
    if config.skip_verify:
        _logger.warning("SkipVerify is set: every server is trusted, and whoever stands between can install anything")
    _warn_of_plain_http(config.server_urls)
    observers = observers or Observers()
    clock = SystemClock(observers.alive, beat_seconds=observers.beat_seconds)
    tracker = StatusTracker(clock, observers.members, observers.client_status)
    user_agent = f"mender-python-client/{__version__}"
    clock_check = ClockCheck([paths.journal, paths.key, paths.artifact_info])
    transport = HttpTransport(
        tls=_tls(config, paths),
        user_agent=user_agent,
        timeouts=timeouts or Timeouts(idle=config.download_stall_seconds),
        clock_check=clock_check,
        proxies=_proxies(environment),
    )
    device = device or scripted_device(config, paths, clock, observers)
    journal = journal or JsonJournal(paths.journal)
    keys = key or device_key(config, paths)
    session = Session(
        transport=transport,
        clock=clock,
        device=device,
        keys=keys,
        guard=IdentityGuard(journal=journal, keys=keys),
        server_urls=config.server_urls,
        tenant_token=config.tenant_token,
        tracker=tracker,
    )
    inventory = InventorySender(session=session, clock=clock, device=device, version=__version__)
    deployments = Deployments(session=session, clock=clock)
    lock = LockFile(paths.update_lock)
    log = _deployment_log(config, paths)
    store = ArtifactDirectory(paths.artifact)
    outbox = Outbox(journal=journal, deployments=deployments, log=log)
    artifact_keys = verify_keys(config, paths)
    downloader = Downloader(
        transport=transport,
        clock=clock,
        store=store,
        journal=journal,
        policy=DownloadPolicy(
            tries_without_progress=config.retry_download_count,
            longest_wait_seconds=config.retry_poll_seconds,
            reserve_bytes=config.download_reserve_bytes,
            pace=PaceLimits(
                most_bytes_per_second=config.download_speed_limit,
                least_bytes_per_second=config.download_minimum_rate,
                window_seconds=config.download_stall_seconds,
            ),
            check_signature=artifact_keys,
        ),
        random=random.random,
        tracker=tracker,
        progressed=progressed,
        new_digest=choose_digest(),
    )
    outcomes = Outcomes(clock=clock, journal=journal, log=log, lock=lock, store=store)
    applied_by: Installer
    sub_updater: SubUpdaterInstaller | None = None
    if installer is not None:
        applied_by = installer(lock, outcomes)
    else:
        applied_by = sub_updater = _sub_updater(config, paths, lock)
    hand_over = HandOver(
        outbox=outbox,
        deployments=deployments,
        downloader=downloader,
        store=store,
        device=device,
        lock=lock,
        installer=applied_by,
        sub_updater=sub_updater,
        tracker=tracker,
    )
    engine = Engine(
        clock=clock,
        device=device,
        journal=journal,
        outbox=outbox,
        deployments=deployments,
        store=store,
        lock=lock,
        log=log,
        outcomes=outcomes,
        flows={Flow.HANDOVER: hand_over},
        tracker=tracker,
    )
    parts = Parts(
        clock=clock,
        transport=transport,
        lock=lock,
        sub_updater=sub_updater,
        log=log,
        journal=journal,
        session=session,
        inventory=inventory,
        outbox=outbox,
        engine=engine,
        tracker=tracker,
        random=random.random,
    )
    schedule = Schedule.every(
        inventory_seconds=config.inventory_poll_seconds,
        poll_seconds=config.update_poll_seconds,
        retry_seconds=config.retry_poll_seconds,
    )
    client = Agent(parts, schedule, sub_updater_timeout_seconds=config.sub_updater_timeout_seconds)
    return World(
        clock=clock,
        transport=transport,
        clock_check=clock_check,
        session=session,
        inventory=inventory,
        deployments=deployments,
        journal=journal,
        outbox=outbox,
        log=log,
        lock=lock,
        device=device,
        installer=applied_by,
        outcomes=outcomes,
        engine=engine,
        client=client,
        tracker=tracker,
        verify_keys=artifact_keys,
    )


def _tls(config: Config, paths: Paths) -> TlsSettings:
    def located(path: str) -> Path | None:
        return paths.below_root(path) if path else None

    return TlsSettings(
        ca_file=located(config.server_certificate),
        verify=not config.skip_verify,
        certificate=located(config.client_certificate),
        key=located(config.client_key),
    )


def _proxies(environment: Mapping[str, str]) -> Proxies | None:
    if not any(name.lower().endswith("_proxy") for name in environment):
        return None
    # imported where a proxy is configured: an idle daemon does without the memory
    from mender_client.core.proxies import read_proxies

    proxies = read_proxies(environment)
    for proxy in dict.fromkeys((proxies.https, proxies.http)):
        if proxy is not None:
            _logger.info("servers are reached through the proxy %s", proxy)
    return proxies


def _deployment_log(config: Config, paths: Paths) -> DeploymentLogFile:
    directory = paths.below_root(config.update_log_path) if config.update_log_path else paths.data
    log = DeploymentLogFile(directory / "deployment.log", paths.sub_updater_log)
    logger = logging.getLogger("mender_client")
    for handler in logger.handlers:
        handler.addFilter(log.tag)
    logger.addHandler(log)
    return log


def _sub_updater(config: Config, paths: Paths, lock: LockFile) -> SubUpdaterInstaller:
    settings = SubUpdaterSettings(
        program=paths.sub_updater,
        variables={
            "MENDER_CLIENT": own_program(),
            "MENDER_DATA_DIR": str(paths.data),
            "MENDER_ROOT": "" if paths.root == Path("/") else str(paths.root),
            "MENDER_ROOTFS_PART_A": config.rootfs_part_a,
            "MENDER_ROOTFS_PART_B": config.rootfs_part_b,
        },
    )
    return SubUpdaterInstaller(
        settings,
        lock=lock,
        processes=SystemProcesses(paths.sub_updater_log),
        find_problem=Trust.below(paths.root).program_problem,
    )


def own_program() -> str:
    """The path of this program, for a sub-updater that has to call it back; it may live in a virtual environment."""
    name = "mender-python-client"
    archive: str | None = getattr(__spec__.loader, "archive", None)
    if archive is not None:  # the zipapp, whatever it is called
        if not os.access(archive, os.X_OK):
            _logger.warning("the sub-updater cannot call %s back: make it executable", archive)
        return os.path.abspath(archive)
    called = os.path.abspath(sys.argv[0])
    beside = os.path.join(os.path.dirname(sys.executable), name)
    for path in (called, beside):
        if os.path.basename(path).startswith(name) and os.access(path, os.X_OK):
            return path
    return shutil.which(name) or name
