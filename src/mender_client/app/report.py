"""``report``: takes the sub-updater's report on the update, and stores it before sending it, so it can't be lost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing

from mender_client.core.backoff import Backoff
from mender_client.core.model import Status
from mender_client.core.record import Outcome
from mender_client.dataclass import replace
from mender_client.errors import AbortedError, ConfigError, Diagnostic, KeyFileError, MenderError, ScriptError
from mender_client.system.clock import jitter
from mender_client.system.connection import Timeouts
from mender_client.system.files import open_own, storage_errors
from mender_client.system.keys import Passphrase, no_passphrase
from mender_client.system.locks import DaemonLock
from mender_client.system.process import ProgramError

from .assemble import DeviceParts
from .command import PROGRAM, completed
from .config import Config
from .devicekey import device_key
from .exitcodes import ExitCode
from .host import Host
from .paths import Paths

_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 15.0


def report(
    load: Callable[[], Config],
    paths: Paths,
    *,
    status: Status,
    reason: str,
    reporter_deployment_id: str = "",
    timeout_seconds: float,
    passphrase: Passphrase = no_passphrase,
    command: str = PROGRAM,
) -> ExitCode:
    """Store the outcome of the update in progress, and report it to the server.

    The outcome is stored even if the configuration is invalid, because the update may have changed it. A failure that
    is reported manually, for a sub-updater that has died, removes the lock as well.

    Args:
        load: loads the settings, and sets up logging accordingly.
        paths: the device's files.
        status: the outcome, or REBOOTING if there is none yet.
        reason: why the update failed.
        reporter_deployment_id: the deployment that the reporting sub-updater was started for; empty when unknown.
        timeout_seconds: how long to try to send the report.
        passphrase: unlocks the device key.
        command: the command that calls the program for this device.

    Returns:
        DONE when the server has it, KEPT when the daemon will send it later, NOTHING when no update is in progress,
        FAILED when it contradicts an earlier report, or comes from the sub-updater of another deployment.
    """
    patience = max(timeout_seconds, 1.0)
    timeouts = Timeouts(connect=min(15.0, patience), idle=min(60.0, patience), total=min(120.0, patience))
    config = Config()
    try:
        config = load()
        key = device_key(config, paths, passphrase)
        host = Host(config, paths, timeouts=timeouts)
    except ConfigError as error:
        offline = Host(Config(), paths, environment={})
        with closing(DeviceParts(offline, replace(config, auth_private_key=""), paths)) as parts:
            code = _store(parts, reporter_deployment_id, status, reason)
        return _keep(error, status, command) if code is ExitCode.DONE else code
    with closing(DeviceParts(host, config, paths, key=key)) as parts:
        code = _store(parts, reporter_deployment_id, status, reason)
        if code is not ExitCode.DONE:
            return code
        failure = _report(parts, status, reason, timeout_seconds=timeout_seconds)
        if failure is not None:
            return _keep(failure, status, command)
        if status is Status.FAILURE and not reporter_deployment_id:
            _free(parts)
        return ExitCode.DONE


def _free(parts: DeviceParts) -> None:
    """Remove the lock of a failed deployment, unless its sub-updater is still running and must remove it itself."""
    deployment_id, sub_updater = parts.lock.read(), parts.sub_updater
    if not deployment_id or sub_updater is None:
        return
    if (process := sub_updater.find_process(deployment_id, None)) is not None:
        text = f"the sub-updater (pid {process.pid}) is still running: it must remove {parts.paths.update_lock}"
    else:
        parts.outcomes.free(deployment_id)
        text = f"no sub-updater is running: removed {parts.paths.update_lock}"
        if DaemonLock(parts.paths.daemon_lock).holder() is None:
            text += "; start the client"
    print(text, file=sys.stderr)


def _report(parts: DeviceParts, status: Status, reason: str, *, timeout_seconds: float) -> MenderError | None:
    """Send the report; returns why that failed, None when it was sent."""
    error = _send(parts, timeout_seconds)
    deployment_id = parts.lock.read()
    if error is None and status.is_final and deployment_id and parts.journal.load().outcome_of(deployment_id) is None:
        # the state file has been damaged meanwhile: the report may be lost, and the server accepts duplicates
        _note(parts, deployment_id, status, reason)
        error = _send(parts, timeout_seconds)
    return error


def _store(parts: DeviceParts, reporter_deployment_id: str, status: Status, reason: str) -> ExitCode:
    """Store the report; returns DONE when it is stored, NOTHING and FAILED as ``report`` does."""
    paths = parts.paths
    deployment_id = parts.lock.read()
    if deployment_id is None:
        print(f"nothing to report: no update is in progress ({paths.update_lock} does not exist)", file=sys.stderr)
        return ExitCode.NOTHING
    if not deployment_id:
        with storage_errors("read", paths.update_lock), open_own(paths.update_lock):
            pass
        text = f"cannot report: {paths.update_lock} names no deployment"
        raise MenderError("REP02", text, remedy="write the deployment's id back, or remove the file")
    if reporter_deployment_id not in ("", deployment_id):
        text = (
            f"cannot report: this is the sub-updater of deployment {reporter_deployment_id}, which is over, but "
            f"{paths.update_lock} is that of {deployment_id}"
        )
        print(Diagnostic("REP07", text, "let it exit without removing the lock"), file=sys.stderr)
        return ExitCode.FAILED
    known = parts.journal.load().outcome_of(deployment_id)
    if known is None:
        known = _note(parts, deployment_id, status, reason)
    if known is not None and known.status is not status:
        text = f"cannot report {status.value}: deployment {deployment_id} was already reported as {known.status.value}"
        print(Diagnostic("REP01", f"{text}, and the first report is final"), file=sys.stderr)
        return ExitCode.FAILED
    return ExitCode.DONE


def _note(parts: DeviceParts, deployment_id: str, status: Status, reason: str) -> Outcome | None:
    """Store the report; returns the final outcome if there is one, which may come from another report."""
    if not status.is_final:
        return parts.journal.update(lambda record: record.telling(deployment_id, status)).outcome_of(deployment_id)
    is_success = status is Status.SUCCESS
    try:
        return parts.outcomes.report(deployment_id, is_success=is_success, reporter="the sub-updater", reason=reason)
    except ValueError as error:
        raise MenderError("REP03", f"cannot report: {error}", remedy="report after the update has begun") from error


def _send(parts: DeviceParts, timeout_seconds: float) -> MenderError | None:
    end = parts.clock.monotonic() + timeout_seconds
    backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS, tries_per_interval=1)
    while True:
        try:
            parts.outbox.flush()
        except AbortedError as error:
            print(error.diagnostic, file=sys.stderr)  # the deployment's pending reports have been dropped
        except MenderError as error:
            backoff = backoff.after_failure()
            wait = backoff.delay_seconds(random=jitter())
            if _is_lasting(error) or parts.clock.monotonic() + wait > end:
                return error
            parts.clock.sleep(wait)
        else:
            return None


def _is_lasting(error: MenderError) -> bool:
    """Whether something on this device must be corrected first; a script that ran and failed may still succeed."""
    return isinstance(error, ConfigError | KeyFileError | ScriptError) and not isinstance(error, ProgramError)


def _keep(error: MenderError, status: Status, command: str) -> ExitCode:
    problems = error.problems if isinstance(error, ConfigError) else (error.diagnostic,)
    for problem in problems[:-1]:
        print(completed(str(problem), command), file=sys.stderr)
    what = "outcome" if status.is_final else "status"
    text = f"{problems[-1].text}; the {what} is stored, and the daemon will report it"
    print(completed(str(Diagnostic("REP04", text, problems[-1].remedy)), command), file=sys.stderr)
    return ExitCode.KEPT
