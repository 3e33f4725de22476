"""``check-update`` and ``send-inventory``: carried out by the daemon if it is running, otherwise by this process."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing

from mender_client.core.client_status import Authorisation, ClientStatus
from mender_client.core.model import Status
from mender_client.errors import MenderError
from mender_client.system.keys import Passphrase
from mender_client.system.locks import DaemonLock, LockFile
from mender_client.system.snapshot import peek_record, read_client_status

from .assemble import DeviceParts
from .config import Config
from .devicekey import device_key
from .exitcodes import ExitCode
from .host import Host
from .paths import Paths

_LOOK_SECONDS = 0.2


def check_update(config: Config, paths: Paths, passphrase: Passphrase, *, is_waiting: bool) -> ExitCode:
    """Make the daemon poll now; without a daemon, ask the server whether there is an update.

    Args:
        config: the settings.
        paths: the device's files.
        passphrase: unlocks the device key.
        is_waiting: wait until the daemon has acted on the result of its poll.

    Returns:
        DONE when there is an update, or the daemon polls; NOTHING when there is none, or one is being installed by the
        sub-updater or in standalone mode. With ``is_waiting``: DONE when an update was handed over or is installed,
        NOTHING when there was none or it waits at a gate, FAILED when the poll or the update has failed.

    Raises:
        MenderError: the daemon can't be signalled, or the server can't be asked.
    """
    current = LockFile(paths.update_lock).read()
    if current is not None:
        which = f"deployment {current or '(unknown)'}"
        print(f"the sub-updater is installing {which}; no update poll until it has reported")
        return ExitCode.NOTHING
    record, _ = peek_record(paths.journal)
    if record.update is None and record.standalone is not None:
        print(record.standalone.text)
        return ExitCode.NOTHING
    before = _Seen(paths)
    pid = _wake_daemon(paths, signal.SIGUSR1, "polling")
    if pid is not None:
        return _await_poll(paths, pid, before) if is_waiting else ExitCode.DONE
    with closing(device_parts(config, paths, passphrase)) as parts:
        update = parts.journal.load().update
        if update is None:
            offer = parts.deployments.next(parts.journal.load().provides(parts.device.provides()))
        else:
            offer = parts.deployments.next(update.provides, update.form)
    if offer is None:
        print("no update")
        return ExitCode.NOTHING
    deployment = offer.deployment
    print(f"update available: {deployment.artifact_name} (deployment {deployment.id}); start the daemon to install it")
    return ExitCode.DONE


def send_inventory(config: Config, paths: Paths, passphrase: Passphrase) -> ExitCode:
    """Make the daemon send the inventory now; without a daemon, send it from this process.

    Raises:
        MenderError: the daemon can't be signalled, or the inventory can't be sent.
    """
    if _wake_daemon(paths, signal.SIGUSR2, "sending the inventory") is not None:
        return ExitCode.DONE
    with closing(device_parts(config, paths, passphrase)) as parts:
        parts.inventory.send(even_if_unchanged=True)
    print("inventory sent")
    return ExitCode.DONE


def device_parts(config: Config, paths: Paths, passphrase: Passphrase) -> DeviceParts:
    """The parts of this device."""
    return DeviceParts(Host(config, paths), config, paths, key=device_key(config, paths, passphrase))


def _wake_daemon(paths: Paths, number: int, doing: str) -> int | None:
    """Signal the daemon; returns its pid, None when none is running."""
    pid = DaemonLock(paths.daemon_lock).holder()
    if pid is None:
        return None
    try:
        if paths.is_of_gateway:
            from .gateway.requests import leave_request

            leave_request(paths, number)
        os.kill(pid, number)
    except OSError as error:
        text = f"cannot signal the daemon (pid {pid}): {error.strerror}"
        raise MenderError("DMN01", text, remedy="run this as the daemon's user, or as root") from error
    print(f"the {'gateway' if paths.is_of_gateway else 'daemon'} (pid {pid}) is {doing} now", flush=True)
    return pid


class _Seen:
    """What the daemon has stored on disk so far."""

    def __init__(self, paths: Paths) -> None:
        status, _ = read_client_status(paths.status) or (ClientStatus(), "")
        record, _ = peek_record(paths.journal)
        self.status = status
        self.update = record.update
        self.outcome = record.outcomes[-1] if record.outcomes else None


def _await_poll(paths: Paths, pid: int, before: _Seen, *, sleep: Callable[[float], None] = time.sleep) -> ExitCode:
    """Wait until the daemon has polled and acted on the result, or has exited; print the result."""
    daemon, asked = DaemonLock(paths.daemon_lock), before.status.counts.requests
    while (seen := _Seen(paths)).status.counts.requests <= asked and daemon.holder() == pid:
        sleep(_LOOK_SECONDS)
    seen = _Seen(paths)  # the daemon may have exited just after writing
    lock = LockFile(paths.update_lock).read()
    if lock is not None:
        print(f"update handed over to the sub-updater (deployment {lock or 'unknown'})")
        return ExitCode.DONE
    outcome, status = seen.outcome, seen.status
    if outcome is not None and outcome != before.outcome:
        because = f": {outcome.reason}" if outcome.reason else ""
        print(f"{outcome.status.value} of {outcome.artifact_name} (deployment {outcome.deployment_id}){because}")
        return ExitCode.DONE if outcome.status is Status.SUCCESS else ExitCode.FAILED
    if status.counts.requests <= asked:
        raise MenderError(
            "DMN06", "cannot determine the result of the poll: the daemon has exited", remedy="check its log"
        )
    if seen.update is not None and seen.update.waiting is not None:
        print(f"{seen.update.artifact_name} (deployment {seen.update.deployment_id}) {seen.update.waiting.text}")
        return ExitCode.NOTHING
    if seen.update is None and status.counts.polls > before.status.counts.polls:
        print("no update")
        return ExitCode.NOTHING
    if status.authorisation is Authorisation.WAITING:
        print(f"pending acceptance on {status.server_url}", file=sys.stderr)
    else:
        print(f"{status.failure.job} failed: {status.failure.text}", file=sys.stderr)
    return ExitCode.FAILED
