"""Checks of the device itself: identity, key, clock, the update that is being installed, service."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from mender_client.app.assemble import scripted_device
from mender_client.app.devicekey import device_key
from mender_client.app.observers import Observers
from mender_client.core.client_status import ClientStatus, Failure
from mender_client.core.devicekey import fingerprint, key_type
from mender_client.core.model import Identity
from mender_client.errors import MenderError, ScriptError
from mender_client.system.clock import SystemClock
from mender_client.system.files import LockFile
from mender_client.system.process import ScriptLimits, SystemProcesses, run_script
from mender_client.system.statusfile import read_client_status

from .context import DiagnosticContext
from .findings import CheckResult, fault, ok, parted, skipped, warning

UNIT = "mender-python-client.service"
_START, _DAEMON = f"'systemctl start {UNIT}'", "'mender-python-client daemon', or the script of your init system"
_LONG_SECONDS = 3600.0
_NOBODYS = frozenset({"unknown", "none", "null", "default", "default string", "to be filled by o.e.m.", "serial"})
"""What boards say that nobody has given a number of their own."""


def identity(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The identity script works, and says what the server knows this device by."""
    script = context.paths.identity_script
    if problem := context.trust.program_problem(script):
        yield fault(*parted(problem, f"put the device's identity script at {script}, mode 755"))
        return
    try:
        said = scripted_device(context.config, context.paths, SystemClock(), Observers()).identity()
    except MenderError as error:
        yield fault(*parted(str(error), f"correct {script}"))
        return
    shared = _shared_values(said)
    _ = context.refusal  # the guard compares when the server is asked
    if shared:
        yield fault(
            f"{said.id_data}: {shared} is what other devices may say as well; devices of the same identity are one "
            "device to the server",
            f"make {script} print something that only this device has",
        )
    elif context.record.identity_change:
        yield fault(*parted(context.record.identity_change))
    else:
        yield ok(said.id_data)


def _shared_values(said: Identity) -> str:
    """The value by which this device can't be told from another one; empty when one of them is its own."""
    entries = json.loads(said.id_data).values()
    values = [value for entry in entries for value in (entry if isinstance(entry, list) else [entry])]
    shared = [value for value in values if _is_shared(str(value))]
    return repr(shared[0]) if shared and len(shared) == len(values) else ""


def _is_shared(value: str) -> bool:
    plain = value.strip().lower()
    return plain in _NOBODYS or len(set(plain) - set(":-. ")) < 2


def key(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The device key can be read and used."""
    try:
        store = device_key(context.config, context.paths, context.passphrase)
        if not context.config.auth_private_key and not context.paths.key.exists():
            yield warning("there is none yet", "the daemon makes one, or 'mender-python-client bootstrap'")
            return
        public = store.public_key_pem()
        store.sign(b"can it be used?")
    except MenderError as error:
        found, remedy = parted(str(error), "check its path, owner and mode")
        if "--passphrase-file" in remedy and context.daemon_pid is not None:
            yield skipped(f"{found}, and the daemon has opened it; {remedy} to look at it here")
        else:
            yield fault(found, remedy)
        return
    kind = key_type(public)
    yield ok(f"{kind.value if kind else 'unknown type'}, SHA-256 {fingerprint(public)[:16]}…, {store.location}")


def clock(context: DiagnosticContext) -> Iterator[CheckResult]:
    """Nothing speaks against the time that this device believes it is."""
    shown = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
    try:
        _ = context.obstacle
        clock_problem = context.parts.host.clock_check.clock_problem()
    except MenderError:
        yield skipped(f"it shows {shown}; there is nothing to compare it with")
        return
    remedy = "set it: NTP, a battery, or 'date -s'; until then certificates can't be believed, and the client waits"
    yield fault(f"the clock is wrong: {clock_problem}", remedy) if clock_problem else ok(shown)


def update(context: DiagnosticContext) -> Iterator[CheckResult]:
    """If an update is being installed by the sub-updater, somebody is at work on it."""
    lock = context.paths.update_lock
    deployment_id = LockFile(lock).read()
    if deployment_id is None:
        under_way = context.record.update
        last = context.record.outcomes[-1] if context.record.outcomes else None
        before = f"; the last one: {last.artifact_name or last.deployment_id}, {last.status.value}" if last else ""
        yield ok(f"none{before}" if under_way is None else f"{under_way.artifact_name}: {under_way.state.value}")
        return
    try:
        age = max(0.0, time.time() - lock.stat().st_mtime)
    except FileNotFoundError:
        age = 0.0
    processes, under_way = SystemProcesses(Path("/dev/null")), context.record.update_of(deployment_id)
    process = under_way.process if under_way is not None else None
    worker = process if process is not None and processes.is_alive(process) else None
    worker = worker or (processes.find("MENDER_DEPLOYMENT_ID", deployment_id) if deployment_id else None)
    said = f"{lock} names deployment {deployment_id or '(none)'} for {_duration(age)}"
    if worker is not None:
        at_work = f"{said}; the sub-updater is at work on it (pid {worker.pid})"
        yield ok(at_work) if age < _LONG_SECONDS else warning(at_work, "see what it does in sub-updater.log")
    elif under_way is None and context.record.outcome_of(deployment_id) is None:
        yield fault(
            f"{said}, of which the client knows nothing: a stale lock",
            f"if no update is being installed, remove it: rm {lock}",
        )
    elif process is not None and process.boot_id == processes.boot_id():
        yield fault(
            f"{said}, but the sub-updater has died",
            "see sub-updater.log; then end it: 'mender-python-client report --failure', and remove the lock",
        )
    else:
        yield (fault if age > _LONG_SECONDS else warning)(
            f"{said}, and no sub-updater is at work: it may be between two boots",
            "its boot step ends the update; if none does: 'mender-python-client report --failure', and remove the lock",
        )


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{int(seconds)} s" if minutes < 2 else f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


def daemon(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The daemon runs, and what it does succeeds."""
    pid = context.daemon_pid
    if pid is not None:
        failure = _last_failure(context)
        yield (
            warning(
                f"runs, pid {pid}, but {failure.job} has failed {_often(failure)}({failure.kind}): {failure.text}",
                "it tries again by itself; if no other line has the cause, look at its log",
            )
            if failure
            else ok(f"runs, pid {pid}")
        )
    elif _is_there(context.paths.update_lock):
        yield ok("does not run while the sub-updater is at work; it is started again at the end")
    else:
        yield warning("does not run", f"start it: {_START if _has_systemd(context) else _DAEMON}")


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _last_failure(context: DiagnosticContext) -> Failure | None:
    """What has failed and not succeeded since, as far as the daemon has left it: it may be a minute behind."""
    client_status, _ = read_client_status(context.paths.status) or (ClientStatus(), "")
    return client_status.failure if client_status.failure.in_a_row else None


def _often(failure: Failure) -> str:
    return f"at {failure.at} " if failure.in_a_row == 1 else f"{failure.in_a_row} times since {failure.since} "


def _has_systemd(context: DiagnosticContext) -> bool:
    return context.paths.root == Path("/") and Path("/run/systemd/system").is_dir()


def service(context: DiagnosticContext) -> Iterator[CheckResult]:
    """The service manager starts the client at boot."""
    if not _has_systemd(context):
        yield skipped("no systemd here")
        return
    remedy = f"install it with 'mender-python-client setup', and 'systemctl enable {UNIT}'"
    try:
        run_script(["systemctl", "is-enabled", UNIT], limits=ScriptLimits(seconds=10.0))
    except ScriptError:
        yield warning(f"{UNIT} is not enabled", remedy)
    else:
        yield ok(f"{UNIT} is enabled")
