"""Checks of the device itself: identity, key, clock, the update in progress, daemon and service."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from mender_client.app.file_checks import identity_problem
from mender_client.app.formatting import span
from mender_client.app.setting_faults import DIRECTORY_REMEDY, directory_problem
from mender_client.app.sub_updater_process import look_at_sub_updater, stuck_sub_updater_pid
from mender_client.core.client_status import ClientStatus, Failure
from mender_client.core.devicekey import fingerprint, key_type
from mender_client.core.model import Identity
from mender_client.core.sub_updater_state import SubUpdaterState, remedy_of_absence
from mender_client.core.update import Update
from mender_client.errors import MenderError, ScriptError
from mender_client.system.files import AS_CLIENT
from mender_client.system.locks import LockFile
from mender_client.system.process import ScriptLimits, run_script
from mender_client.system.snapshot import read_client_status

from .context import DiagnosticContext, is_there
from .results import CheckResult, Verdict, fault, ok, reported, skipped, warning

UNIT, BOOT_UNIT = "mender-python-client.service", "mender-sub-updater.service"
_START, _DAEMON = f"'systemctl start {UNIT}'", "'mender-python-client daemon', or the script of your init system"
_LONG_SECONDS = 3600.0
_NOBODYS = frozenset({"unknown", "none", "null", "default", "default string", "to be filled by o.e.m.", "serial"})
"""Serial numbers of boards to which none was assigned."""


def identity(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The identity script works, and its output is unique to this device."""
    script = context.paths.identity_script
    is_run = context.paths.identity_values is None
    if is_run and (problem := identity_problem(context.paths, context.trust)):
        yield reported(Verdict.FAULT, problem)
        return
    try:
        identity = context.identity
    except MenderError as error:
        yield reported(Verdict.FAULT, error.diagnostic, f"correct {script}")
        return
    if shared := _shared_values(identity):
        yield fault(
            f"{identity.id_data}: other devices may have {shared} as well; devices with the same identity are one "
            "device to the server",
            f"make {script} print something that is unique to this device",
        )
    elif context.identity_changes:
        yield from (reported(Verdict.FAULT, change) for change in context.identity_changes)
    else:
        yield ok(identity.id_data)


def _shared_values(identity: Identity) -> str:
    """A value that other devices may have as well; empty if any of the values is unique."""
    entries = json.loads(identity.id_data).values()
    values = [value for entry in entries for value in (entry if isinstance(entry, list) else [entry])]
    shared = [value for value in values if _is_shared(str(value))]
    return repr(shared[0]) if shared and len(shared) == len(values) else ""


def _is_shared(value: str) -> bool:
    plain = value.strip().lower()
    return plain in _NOBODYS or len(set(plain) - set(":-. ")) < 2


def key(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The device key can be read and used."""
    try:
        public = context.key.public_key_pem()
        context.key.sign(b"test")
    except MenderError as error:
        if error.diagnostic.code == "KEY04":  # there is none
            yield _missing_key(context)
        elif "--passphrase-file" in error.remedy and context.daemon_pid is not None:
            yield skipped(f"{error.text}, and the daemon has decrypted it; to check it here, {error.remedy}")
        else:
            yield reported(Verdict.FAULT, error.diagnostic, "check its path, owner and mode")
        return
    kind = key_type(public)
    location = context.key.location
    yield ok(f"{kind.value if kind else 'unknown type'}, SHA-256 {fingerprint(public)[:16]}…, {location}")


def _missing_key(context: DiagnosticContext) -> CheckResult:
    """The result if there is no key: the client generates it if it can; the data directory has a check of its own."""
    path = Path(context.key.location)
    if context.config.auth_private_key and (problem := directory_problem(path.parent)):
        return fault(f"cannot generate {path}: {problem}", DIRECTORY_REMEDY)
    remedy = "start the daemon, or run 'mender-python-client bootstrap'; either generates one"
    return warning(f"there is no {path} yet", remedy)


def clock(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The time of this device is plausible."""
    shown = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
    try:
        _ = context.obstacle
        clock_problem = context.parts.host.clock_check.clock_problem()
    except MenderError:
        yield skipped(f"{shown}; there is nothing to compare it with")
        return
    remedy = "set it (NTP, a battery, or 'date -s'); until then no certificate is accepted, and the client waits"
    yield fault(f"the clock is wrong: {clock_problem}", remedy) if clock_problem else ok(shown)


def update(context: DiagnosticContext) -> Iterator[CheckResult]:
    """If an update is being installed, the sub-updater is running."""
    lock = context.paths.update_lock
    deployment_id = LockFile(lock).read()
    if deployment_id is None:
        in_progress = context.record.update
        last = context.record.outcomes[-1] if context.record.outcomes else None
        before = f"; the last one: {last.artifact_name or last.deployment_id}, {last.status.value}" if last else ""
        described = "" if in_progress is None else _described(in_progress)
        decisions = context.record.decisions
        if (stuck := stuck_sub_updater_pid(context.record, context.daemon_pid)) is not None:
            found = f"the sub-updater (pid {stuck}) is still running, although its deployment is over"
            yield warning(found + before, "see the kernel log for what it is waiting for; reboot if it does not exit")
        elif in_progress is None and (standalone := context.record.standalone) is not None:
            yield warning(standalone.text, "finish it with 'mender-python-client commit', 'rollback' or 'resume'")
        elif decisions is not None and decisions.hold is not None:
            found = f"{described or 'none in progress'}; all updates are {decisions.hold.text}{before}"
            yield warning(found, "'mender-python-client continue --all' ends this")
        else:
            yield ok(described or f"none in progress{before}")
        return
    try:
        age = max(0.0, time.time() - lock.stat().st_mtime)
    except FileNotFoundError:
        age = 0.0
    state, pid = look_at_sub_updater(deployment_id, context.record)
    which = f"deployment {deployment_id}" if deployment_id else "an unknown deployment"
    locked = f"{which} has held {lock} for {span(age)}"
    is_long = age > _LONG_SECONDS
    if state is SubUpdaterState.AT_WORK:
        found = f"{state.value} (pid {pid}); {locked}"
        yield warning(found, "see sub-updater.log for what it is doing") if is_long else ok(found)
    elif state is SubUpdaterState.REPORTED:
        yield warning(f"{state.value}; {locked}", "keep the client running, which does both")
    elif context.record.update_of(deployment_id) is None:
        found = f"stale lock: {locked}; the client does not know this deployment"
        yield fault(found, f"{remedy_of_absence(is_known=False)}: rm {lock}")
    else:
        is_fault = is_long or state is SubUpdaterState.DIED
        yield (fault if is_fault else warning)(f"{state.value}; {locked}", remedy_of_absence(is_known=True))


def _described(update: Update) -> str:
    return f"{update.artifact_name}: {update.state.value if update.waiting is None else update.waiting.text}"


def daemon(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The daemon is running, and no failure is unresolved."""
    lock = context.paths.daemon_lock
    if is_there(lock) and not os.access(lock, os.R_OK):
        yield fault(f"cannot check {lock}: Permission denied", AS_CLIENT)
        return
    pid = context.daemon_pid
    if pid is not None:
        if failure := _last_failure(context):
            once, many = f"at {failure.at}", f"{failure.in_a_row} times since {failure.since}"
            failed = f"{failure.job} has failed {once if failure.in_a_row == 1 else many}"
            found = f"running (pid {pid}), but {failed} ({failure.kind}): {failure.text}"
            yield warning(found, "it retries automatically; if no other line shows the cause, see its log")
        else:
            yield ok(f"running (pid {pid})")
        return
    deployment_id = LockFile(context.paths.update_lock).read()
    state = None if deployment_id is None else look_at_sub_updater(deployment_id, context.record)[0]
    if state is SubUpdaterState.AT_WORK:
        yield ok("not running while the sub-updater runs, which starts it again when it is done")
    else:
        why = "" if state is None else f": {state.value}"
        yield warning(f"not running{why}", f"start it: {_START if _has_systemd(context) else _DAEMON}")


def _last_failure(context: DiagnosticContext) -> Failure | None:
    """The last failure without a later success, according to the status file, which may be a minute old."""
    client_status, _ = read_client_status(context.paths.status) or (ClientStatus(), "")
    return client_status.failure if client_status.failure.in_a_row else None


def _has_systemd(context: DiagnosticContext) -> bool:
    return context.paths.root == Path("/") and Path("/run/systemd/system").is_dir()


def service(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The service manager starts the client at boot, and runs the sub-updater's boot step first, if there is one."""
    if not _has_systemd(context):
        yield skipped("there is no systemd")
        return
    yield from unit_results(context.paths.sub_updater, _is_enabled)


def _is_enabled(unit: str) -> bool:
    try:
        run_script(["systemctl", "is-enabled", unit], limits=ScriptLimits(seconds=10.0))
    except ScriptError:
        return False
    return True


def unit_results(sub_updater: Path, is_enabled: Callable[[str], bool]) -> Iterator[CheckResult]:
    """Whether the required units are enabled.

    Args:
        sub_updater: the sub-updater; that of this package must be run at boot, others have their own mechanisms.
        is_enabled: whether a unit is enabled.
    """
    if is_enabled(UNIT):
        yield ok(f"{UNIT} is enabled")
    else:
        remedy = f"run 'systemctl enable {UNIT}'; 'mender-python-client setup --install-unit' installs it"
        yield warning(f"{UNIT} is not enabled", remedy)
    if not _has_boot_step(sub_updater):
        return
    if is_enabled(BOOT_UNIT):
        yield ok(f"{BOOT_UNIT} is enabled")
    else:
        installs = "'mender-python-client setup --install-sub-updater --install-unit' installs it"
        remedy = f"run 'systemctl enable {BOOT_UNIT}'; {installs}"
        yield fault(f"{BOOT_UNIT} is not enabled: no update would be committed", remedy)


def _has_boot_step(sub_updater: Path) -> bool:
    try:
        return b"--boot" in sub_updater.read_bytes()
    except OSError:
        return False
