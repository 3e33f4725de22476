"""Checks of the device itself: who it is, its key, its clock, the update in the sub-updater's hands, its service."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from mender_client.app.assemble import scripted_device
from mender_client.app.devicekey import device_key
from mender_client.app.watch import Watch
from mender_client.core.devicekey import fingerprint, key_type
from mender_client.core.model import Identity
from mender_client.core.situation import Failure, Situation
from mender_client.errors import MenderError, ScriptError
from mender_client.system.clock import SystemClock
from mender_client.system.files import LockFile
from mender_client.system.process import ScriptLimits, SystemProcesses, run_script
from mender_client.system.statusfile import read_situation

from .findings import Look, fault, ok, parted, skipped, warning
from .patient import Patient

UNIT = "mender-python-client.service"
_START, _DAEMON = f"'systemctl start {UNIT}'", "'mender-python-client daemon', or the script of your init system"
_LONG_SECONDS = 3600.0
_NOBODYS = frozenset({"unknown", "none", "null", "default", "default string", "to be filled by o.e.m.", "serial"})
"""What boards say that nobody has given a number of their own."""


def identity(patient: Patient) -> Iterator[Look]:
    """The identity script works, and says what the server knows this device by."""
    script = patient.paths.identity_script
    if problem := patient.trust.program_fault(script):
        yield fault(*parted(problem, f"put the device's identity script at {script}, mode 755"))
        return
    try:
        said = scripted_device(patient.config, patient.paths, SystemClock(), Watch()).identity()
    except MenderError as error:
        yield fault(*parted(str(error), f"correct {script}"))
        return
    shared = _shared_values(said)
    _ = patient.refusal  # the guard compares when the server is asked
    if shared:
        yield fault(
            f"{said.id_data}: {shared} is what other devices may say as well; devices of the same identity are one "
            "device to the server",
            f"make {script} print something that only this device has",
        )
    elif patient.record.identity_change:
        yield fault(*parted(patient.record.identity_change))
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


def key(patient: Patient) -> Iterator[Look]:
    """The device key can be read and used."""
    try:
        store = device_key(patient.config, patient.paths, patient.passphrase)
        if not patient.config.auth_private_key and not patient.paths.key.exists():
            yield warning("there is none yet", "the daemon makes one, or 'mender-python-client bootstrap'")
            return
        public = store.public_key_pem()
        store.sign(b"can it be used?")
    except MenderError as error:
        found, remedy = parted(str(error), "check its path, owner and mode")
        if "--passphrase-file" in remedy and patient.daemon_pid is not None:
            yield skipped(f"{found}, and the daemon has opened it; {remedy} to look at it here")
        else:
            yield fault(found, remedy)
        return
    kind = key_type(public)
    yield ok(f"{kind.value if kind else 'unknown type'}, SHA-256 {fingerprint(public)[:16]}…, {store.location}")


def clock(patient: Patient) -> Iterator[Look]:
    """Nothing speaks against the time that this device believes it is."""
    shown = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
    try:
        _ = patient.obstacle
        doubt = patient.world.clock_witness.doubt()
    except MenderError:
        yield skipped(f"it shows {shown}; there is nothing to compare it with")
        return
    remedy = "set it: NTP, a battery, or 'date -s'; until then certificates can't be believed, and the client waits"
    yield fault(f"the clock is wrong: {doubt}", remedy) if doubt else ok(shown)


def update(patient: Patient) -> Iterator[Look]:
    """If an update is in the sub-updater's hands, somebody is at work on it."""
    lock = patient.paths.update_lock
    deployment_id = LockFile(lock).read()
    if deployment_id is None:
        under_way = patient.record.update
        last = patient.record.outcomes[-1] if patient.record.outcomes else None
        before = f"; the last one: {last.artifact_name or last.deployment_id}, {last.status.value}" if last else ""
        yield ok(f"none{before}" if under_way is None else f"{under_way.artifact_name}: {under_way.state.value}")
        return
    try:
        age = max(0.0, time.time() - lock.stat().st_mtime)
    except FileNotFoundError:
        age = 0.0
    processes, under_way = SystemProcesses(Path("/dev/null")), patient.record.update_of(deployment_id)
    hands = under_way.hands if under_way is not None else None
    worker = hands if hands is not None and processes.is_alive(hands) else None
    worker = worker or (processes.find("MENDER_DEPLOYMENT_ID", deployment_id) if deployment_id else None)
    said = f"{lock} names deployment {deployment_id or '(none)'} for {_duration(age)}"
    if worker is not None:
        at_work = f"{said}; the sub-updater is at work on it (pid {worker.pid})"
        yield ok(at_work) if age < _LONG_SECONDS else warning(at_work, "see what it does in sub-updater.log")
    elif under_way is None and patient.record.outcome_of(deployment_id) is None:
        yield fault(
            f"{said}, of which the client knows nothing: a stale lock",
            f"if no update is being installed, remove it: rm {lock}",
        )
    elif hands is not None and hands.boot_id == processes.boot_id():
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


def daemon(patient: Patient) -> Iterator[Look]:
    """The daemon runs, and what it does succeeds."""
    pid = patient.daemon_pid
    if pid is not None:
        failure = _last_failure(patient)
        yield (
            warning(
                f"runs, pid {pid}, but {failure.job} has failed {_often(failure)}({failure.kind}): {failure.text}",
                "it tries again by itself; if no other line has the cause, look at its log",
            )
            if failure
            else ok(f"runs, pid {pid}")
        )
    elif _is_there(patient.paths.update_lock):
        yield ok("does not run while the sub-updater is at work; it is started again at the end")
    else:
        yield warning("does not run", f"start it: {_START if _has_systemd(patient) else _DAEMON}")


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _last_failure(patient: Patient) -> Failure | None:
    """What has failed and not succeeded since, as far as the daemon has left it: it may be a minute behind."""
    situation, _ = read_situation(patient.paths.status) or (Situation(), "")
    return situation.failure if situation.failure.in_a_row else None


def _often(failure: Failure) -> str:
    return f"at {failure.at} " if failure.in_a_row == 1 else f"{failure.in_a_row} times since {failure.since} "


def _has_systemd(patient: Patient) -> bool:
    return patient.paths.root == Path("/") and Path("/run/systemd/system").is_dir()


def service(patient: Patient) -> Iterator[Look]:
    """The service manager starts the client at boot."""
    if not _has_systemd(patient):
        yield skipped("no systemd here")
        return
    remedy = f"install it with 'mender-python-client setup', and 'systemctl enable {UNIT}'"
    try:
        run_script(["systemctl", "is-enabled", UNIT], limits=ScriptLimits(seconds=10.0))
    except ScriptError:
        yield warning(f"{UNIT} is not enabled", remedy)
    else:
        yield ok(f"{UNIT} is enabled")
