"""Evaluates the gates that are configured in ``UpdateGates``: windows, approvals, files and programs.

A gate that can't be evaluated holds the update.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from mender_client import TYPE_CHECKING
from mender_client.core.gate_rules import Deadline, GateCommand, GateRules
from mender_client.core.gates import Closed, GateFacts, GatePoint, Open, Refused, Verdict
from mender_client.core.holding import AHEAD
from mender_client.core.state_scripts import RETRY_LATER
from mender_client.core.text import printable
from mender_client.core.windows import Window, look
from mender_client.dataclass import dataclass, replace
from mender_client.errors import DeviceError, Diagnostic

from .known_time import CLOCK_IS_WRONG, KnownTime, Moment

if TYPE_CHECKING:
    from mender_client.core.ports import GateConditions

    from .speed_plan import SpeedPlan

_logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False, repr=False)
class ConfiguredGates:
    """Evaluates the configured gates; see ``core.ports.Gates``.

    Attributes:
        rules: the conditions of each gate; a gate without conditions is open.
        conditions: gives access to the time zones, files and programs that the conditions refer to.
        time: determines the current time.
        speeds: may hold downloads as well; None if their speed doesn't depend on the time.
    """

    rules: Mapping[GatePoint, GateRules]
    conditions: GateConditions
    time: KnownTime
    speeds: SpeedPlan | None = None

    def __post_init__(self) -> None:
        self._last_fault = ""

    def verdict(self, point: GatePoint, facts: GateFacts, now: datetime) -> Verdict:
        found = self._configured(point, facts, now)
        if not isinstance(found, Open) or point is not GatePoint.DOWNLOAD or self.speeds is None:
            return found
        return self.speeds.closed() or found

    def _configured(self, point: GatePoint, facts: GateFacts, now: datetime) -> Verdict:
        rules = self.rules.get(point)
        if rules is None:
            return Open()
        time = self.time.at(now)
        try:
            found = self._ask(rules, point, facts, time)
            self._last_fault = ""
        except DeviceError as error:
            found = self._broken(point, error)
        return self._in_time(found, rules.deadline, facts, time) if isinstance(found, Closed) else found

    def _ask(self, rules: GateRules, point: GatePoint, facts: GateFacts, time: Moment) -> Verdict:
        """Check all conditions; programs are run last, and only if nothing else holds the update."""
        closed = list(self._closed(rules, facts, time))
        if closed:
            reason = "; ".join(dict.fromkeys(one.reason for one in closed))
            until = next((one.until for one in closed if one.until is not None), None)
            return Closed(reason, until, any(one.needs_approval for one in closed))
        variables = {  # no MENDER_DEPLOYMENT_ID: what the program leaves running would be taken for the sub-updater
            "MENDER_GATE": point.value,
            "MENDER_GATE_DEPLOYMENT_ID": facts.deployment_id,
            "MENDER_GATE_ARTIFACT_NAME": facts.artifact_name,
        }
        answers = (self._run(command, variables) for command in rules.commands)
        return next((answer for answer in answers if not isinstance(answer, Open)), Open())

    def _closed(self, rules: GateRules, facts: GateFacts, time: Moment) -> Iterator[Closed]:
        if rules.windows:
            yield from self._closed_windows(rules.windows, time)
        if rules.is_asking and not facts.is_approved:
            yield Closed("nobody has approved it yet", needs_approval=True)
        for file in rules.files:
            content = self.conditions.content(file.path)
            if not file.holds(content):
                found = printable(content.strip(), limit=40)
                yield Closed(f"{file.path} is {found!r} and not {file.operator} {file.value}")

    def _closed_windows(self, windows: tuple[Window, ...], time: Moment) -> Iterator[Closed]:
        if time.problem:
            if not time.is_ignored:
                yield Closed(CLOCK_IS_WRONG)
            return
        state = look(windows, self.conditions.zone, time.now)
        if not state.is_open:
            until = None if state.changes_at is None else state.changes_at - time.ahead
            yield Closed(f"outside of {' and '.join(one.text for one in windows)}", until)

    def _run(self, command: GateCommand, variables: Mapping[str, str]) -> Verdict:
        code, complaint = self.conditions.run(command.argv, variables)
        if code == 0:
            return Open()
        said = f"{command.argv[0]} says: {complaint}" if complaint else ""
        if not command.may_refuse or code == RETRY_LATER:
            return Closed(said or f"{command.argv[0]} says not yet (exit code {code})")
        return Refused(f"{command.argv[0]} refuses it (exit code {code})" + (f": {complaint}" if complaint else ""))

    def _broken(self, point: GatePoint, error: DeviceError) -> Closed:
        if error.text != self._last_fault:
            self._last_fault = error.text
            text = f"the gate {AHEAD[point]} is broken and stays closed: {error.text}"
            _logger.warning("%s", Diagnostic("GAT01", text, remedy=error.remedy))
        return Closed(f"the gate is broken: {error.text}")

    def _in_time(self, closed: Closed, deadline: Deadline | None, facts: GateFacts, time: Moment) -> Verdict:
        """Apply the deadline to a closed gate; it doesn't apply while the clock is wrong."""
        if time.problem:
            return replace(closed, since=facts.closed_since)
        since = min(facts.closed_since or time.now, time.now)
        if deadline is None:
            return replace(closed, since=since)
        end = since + timedelta(seconds=deadline.seconds)
        if time.now < end:
            until = None if closed.until is None else min(closed.until, end - time.ahead)
            return replace(closed, until=until, since=since)
        waited = f"it has waited since {since:%Y-%m-%d %H:%M} UTC: {closed.reason}"
        if deadline.is_failure:
            return Refused(waited)
        _logger.warning(
            "%s", Diagnostic("GAT04", f"the deadline of the gate has passed, and the update proceeds: {waited}")
        )
        return Open()
