"""``gate``: a sub-updater asks whether the update may proceed.

It works without the daemon, which doesn't run while a sub-updater does. When the update begins to wait at a closed
gate, this is reported to the server; with ``--wait``, the server is also asked, at the interval of update polls,
whether the deployment has been aborted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing

from mender_client.client.engine import Held
from mender_client.core.gates import GateFacts, GatePoint, Open, Refused, Verdict
from mender_client.core.machine import State
from mender_client.core.record import Record
from mender_client.core.update import Update
from mender_client.errors import AbortedError, InstallError, MenderError, StorageError
from mender_client.system.connection import Timeouts
from mender_client.system.keys import Passphrase

from .assemble import DeviceParts
from .config import Config
from .devicekey import device_key
from .exitcodes import ExitCode
from .host import Host
from .paths import Paths

LOOK_SECONDS = 4.0
"""How often ``--wait`` checks for new decisions: as often as the client checks whether the lock is removed."""

_TELL_SECONDS = 10.0
_WITH_SUB_UPDATER = (State.HANDING_OVER, State.INSTALLING)


def ask_gate(
    load: Callable[[], Config],
    paths: Paths,
    point: GatePoint,
    *,
    deployment_id: str,
    is_waiting: bool,
    passphrase: Passphrase,
) -> ExitCode:
    """Ask whether the update in progress may pass a gate, and if not, print the reason.

    Args:
        load: loads the settings, and sets up logging accordingly.
        paths: the device's files.
        point: the gate.
        deployment_id: the deployment of the sub-updater that asks; empty when unknown.
        is_waiting: wait as long as the answer is "not yet".
        passphrase: unlocks the device key.

    Returns:
        DONE when it may proceed; LATER when not yet, or when that can't be determined; FAILED when it is refused, or
        aborted on the server.
    """
    try:
        config = load()
        timeouts = None if is_waiting else Timeouts(connect=_TELL_SECONDS, idle=_TELL_SECONDS, total=_TELL_SECONDS)
        host = Host(config, paths, timeouts=timeouts)
        with closing(DeviceParts(host, config, paths, key=device_key(config, paths, passphrase))) as parts:
            return _Asking(parts, point, deployment_id, config.update_poll_seconds).ask(is_waiting=is_waiting)
    except (InstallError, AbortedError) as error:
        print(error.diagnostic, file=sys.stderr)
        return ExitCode.FAILED
    except MenderError as error:
        print(f"not yet: {error}", file=sys.stderr)
        return ExitCode.LATER


class _Asking:
    """Asks at one gate."""

    def __init__(self, parts: DeviceParts, point: GatePoint, deployment_id: str, poll_seconds: float) -> None:
        self._parts = parts
        self._point = point
        self._deployment_id = deployment_id
        self._poll_seconds = poll_seconds
        self._said = ""

    def ask(self, *, is_waiting: bool) -> ExitCode:
        update = self._update()
        if update is None or update.state not in _WITH_SUB_UPDATER:
            return self._ask_only(update)
        before, is_first = update.waiting, True
        while (held := self._parts.gate_keeper.check(update, self._point)) is not None:
            self._say()
            is_new = is_first and (before is None or before.point is not self._point)
            if is_new or is_waiting:
                self._tell(update, is_new=is_new)
            if not is_waiting:
                return ExitCode.LATER
            is_first = False
            self._wait(held)
        return ExitCode.DONE

    def _update(self) -> Update | None:
        record = self._parts.journal.load()
        return record.update_of(self._deployment_id) if self._deployment_id else record.update

    def _ask_only(self, update: Update | None) -> ExitCode:
        """Answer without storing anything, because no sub-updater is running as far as the client knows."""
        verdict = self._verdict() if update is None else self._parts.gate_keeper.verdict(update, self._point)
        if isinstance(verdict, Open):
            return ExitCode.DONE
        is_refused = isinstance(verdict, Refused)
        print(f"{'refused' if is_refused else 'not yet'}: {verdict.reason}", flush=True)
        return ExitCode.FAILED if is_refused else ExitCode.LATER

    def _verdict(self) -> Verdict:
        """The answer when no update is in progress."""
        decisions, now = self._parts.journal.load().decisions, self._parts.clock.now()
        by_hand = None if decisions is None else decisions.verdict(now)
        gates, facts = self._parts.gate_keeper.gates, GateFacts(self._deployment_id, "")
        return by_hand or (Open() if gates is None else gates.verdict(self._point, facts, now))

    def _say(self) -> None:
        """Print where the update waits, if that has changed."""
        update = self._update()
        text = "" if update is None or update.waiting is None else update.waiting.text
        if text != self._said:
            self._said = text
            print(f"not yet: the update {text or 'is waiting'}", flush=True)

    def _tell(self, update: Update, *, is_new: bool) -> None:
        """Report to the server, or ask it; if it can't be reached, the update waits nevertheless."""
        try:
            self._parts.gate_keeper.ask_server(update, self._point, is_new=is_new)
        except (AbortedError, StorageError):
            raise
        except MenderError as error:
            print(f"the server could not be told that the update is waiting: {error}", file=sys.stderr)

    def _wait(self, held: Held) -> None:
        """Wait until the gate must be asked again: at the next poll, when it may open, or after a decision."""
        clock = self._parts.clock
        end = clock.monotonic() + min(self._poll_seconds, held.seconds or self._poll_seconds)
        known = _decisions(self._parts.journal.load())
        while (left := end - clock.monotonic()) > 0 and _decisions(self._parts.journal.load()) == known:
            clock.sleep(min(left, LOOK_SECONDS))


def _decisions(record: Record) -> tuple[object, ...]:
    return record.decisions, None if record.update is None else record.update.decisions
