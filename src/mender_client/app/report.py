"""``report``: the sub-updater says how the update went. Written down first, sent second, so that it can't be lost."""

from __future__ import annotations

import random
import sys
from contextlib import closing

from mender_client.core.backoff import Backoff
from mender_client.core.model import Status
from mender_client.core.record import Outcome
from mender_client.errors import Diagnostic, MenderError
from mender_client.system.connection import Timeouts
from mender_client.system.keys import Passphrase, no_passphrase

from .assemble import DeviceParts
from .config import Config
from .devicekey import device_key
from .exitcodes import ExitCode
from .host import Host
from .paths import Paths

_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 15.0


def report(
    config: Config,
    paths: Paths,
    *,
    is_success: bool,
    reason: str,
    timeout_seconds: float,
    passphrase: Passphrase = no_passphrase,
) -> ExitCode:
    """Store the outcome of the update in progress, and report it to the server.

    Returns:
        DONE when the server has it, KEPT when the daemon will send it later, NOTHING when no update is in progress,
        FAILED when it contradicts what was reported before.
    """
    patience = max(timeout_seconds, 1.0)
    timeouts = Timeouts(connect=min(15.0, patience), idle=min(60.0, patience), total=min(120.0, patience))
    key = device_key(config, paths, passphrase)
    with closing(DeviceParts(Host(config, paths, timeouts=timeouts), config, paths, key=key)) as parts:
        return _report(parts, is_success=is_success, reason=reason, timeout_seconds=timeout_seconds)


def _report(parts: DeviceParts, *, is_success: bool, reason: str, timeout_seconds: float) -> ExitCode:
    paths = parts.paths
    deployment_id = parts.lock.read()
    if deployment_id is None:
        print(f"nothing to report: no update is in progress ({paths.update_lock} does not exist)", file=sys.stderr)
        return ExitCode.NOTHING
    if not deployment_id:
        text = f"cannot report: {paths.update_lock} names no deployment"
        raise MenderError("REP02", text, remedy="write the deployment's id back, or remove the file")
    outcome = Status.SUCCESS if is_success else Status.FAILURE
    known = parts.journal.load().outcome_of(deployment_id)
    if known is None:
        known = _note(parts, deployment_id, is_success=is_success, reason=reason)
    if known is not None and known.status is not outcome:
        text = f"cannot report {outcome.value}: deployment {deployment_id} was already reported as {known.status.value}"
        print(Diagnostic("REP01", f"{text}, and the first report is final"), file=sys.stderr)
        return ExitCode.FAILED
    code = _send(parts, timeout_seconds)
    if code is ExitCode.DONE and parts.journal.load().outcome_of(deployment_id) is None:
        # the state file was damaged meanwhile: the report may be lost, and the server accepts a repeated one
        _note(parts, deployment_id, is_success=is_success, reason=reason)
        code = _send(parts, timeout_seconds)
    return code


def _note(parts: DeviceParts, deployment_id: str, *, is_success: bool, reason: str) -> Outcome | None:
    """Write the outcome down; returns the one that stands, which may be another's."""
    try:
        return parts.outcomes.report(deployment_id, is_success=is_success, reporter="the sub-updater", reason=reason)
    except ValueError as error:
        raise MenderError("REP03", f"cannot report: {error}", remedy="report after the update has begun") from error


def _send(parts: DeviceParts, timeout_seconds: float) -> ExitCode:
    end = parts.clock.monotonic() + timeout_seconds
    backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS, tries_per_interval=1)
    while True:
        try:
            parts.outbox.flush()
        except MenderError as error:
            backoff = backoff.after_failure()
            wait = backoff.delay_seconds(random=random.random())  # noqa: S311 - jitter is no secret
            if parts.clock.monotonic() + wait > end:
                text = f"{error.text}; the outcome is stored, and the daemon will report it"
                print(Diagnostic("REP04", text, error.remedy), file=sys.stderr)
                return ExitCode.KEPT
            parts.clock.sleep(wait)
        else:
            return ExitCode.DONE
