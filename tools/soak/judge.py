"""Compares the permitted outcomes of a deployment with what happened on device and server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from soak.device import System
from soak.faults import ABORTED, DECOMMISSIONED, FULL, GARBAGE, KILLS, POWER, UNWRITABLE, Draw

MAY_FAIL = {POWER, FULL, UNWRITABLE, GARBAGE}
"""Faults that may make a good update fail before the sub-updater starts; a kill may do so too, see ``_may_fail``."""

LOST, DOUBLED, STUCK, TRACEBACK, ODD = "lost", "done twice", "stuck", "traceback", "inconsistent"


@dataclass(frozen=True, slots=True)
class Case:
    """The course of one deployment.

    Attributes:
        draw: the faults drawn for it.
        met: the faults that actually occurred.
        name: the artifact name.
        before: the software on the device before it.
        after: the software on the device now.
        end: the last status on the server.
        heard: every status that the server received, in order.
        history: the steps that the sub-updater recorded.
        exits: the exit codes of the client.
        said: the output of the programs on the device.
        is_settled: whether both sides became idle in time.
    """

    draw: Draw
    met: Counter[str]
    name: str
    before: System
    after: System
    end: str
    heard: Sequence[str]
    history: Sequence[str]
    exits: Sequence[int]
    said: str
    is_settled: bool

    @property
    def is_committed(self) -> bool:
        """Whether the new system was committed on the device."""
        return "committed" in self.history

    @property
    def installs(self) -> int:
        """How often the sub-updater started an installation."""
        return self.history.count("install")

    @property
    def is_forgotten(self) -> bool:
        """Whether the outcome differs because the state file was replaced by garbage."""
        return bool(self.met[GARBAGE]) and bool(untruths(self))


def judge(case: Case) -> list[tuple[str, str]]:
    """The errors of a deployment, each with its kind."""
    found = [(STUCK, "it is still open, or the device is not idle")] if not case.is_settled else []
    found += [(DOUBLED, text) for text in _doublings(case)]
    if case.is_settled and not case.met[GARBAGE]:
        found += [(LOST, text) for text in untruths(case)]
    if case.is_settled:
        found += [(ODD, text) for text in _differences(case)]
    if "Traceback" in case.said or "Exception ignored" in case.said:
        found.append((TRACEBACK, "a program of the device showed a traceback"))
    return found


def _doublings(case: Case) -> list[str]:
    found = []
    if case.installs > 1:
        found.append(f"it was installed {case.installs} times")
    finals = {status for status in case.heard if status in ("success", "failure")}
    if len(finals) > 1:
        found.append(f"the server received two different final statuses: {list(case.heard)}")
    return found


def untruths(case: Case) -> list[str]:
    """Differences between the status on the server and what happened on the device."""
    allowed = expected_ends(case)
    if case.end in allowed:
        return []
    return [f"the server has {case.end!r} instead of {' or '.join(sorted(allowed))}"]


def expected_ends(case: Case) -> set[str]:
    """The final statuses that are permitted on the server."""
    ends = {end for kind, end in ((ABORTED, "aborted"), (DECOMMISSIONED, "decommissioned")) if case.met[kind]}
    if case.is_committed:
        return ends | {"success"}
    if case.draw.artifact == "other":
        return ends | {"noartifact"}
    if case.draw.artifact == "posing":
        return ends | {"noartifact", "failure"}
    if case.draw.artifact == "broken" or _may_fail(case):
        return ends | {"failure"}
    return ends or {"success"}


def _may_fail(case: Case) -> bool:
    """Whether there is a known reason why a good Artifact was not committed."""
    if case.installs:
        return case.draw.plan != "succeed" or bool(case.met[POWER])
    # killed between the sync of sub-updater.log and the start: whether it started is unknown until the time limit
    is_given_up = bool(case.met[KILLS]) and "(SubUpdaterTimeoutSeconds)" in case.said
    return is_given_up or any(case.met[kind] for kind in MAY_FAIL)


def _differences(case: Case) -> list[str]:
    """Differences between the device and the decision of its sub-updater."""
    found = []
    expected = case.name if case.is_committed else case.before.running
    if case.after.running != expected:
        found.append(f"{case.after.running} runs instead of {expected}")
    if case.after.artifact_name != expected:
        found.append(f"artifact_info says {case.after.artifact_name} instead of {expected}")
    if case.after.boots != f"keep {case.after.runs}":
        found.append(f"{case.after.boots!r} boots next, but {case.after.runs} runs")
    if wrong := [code for code in case.exits if code not in (0, -9) and not (code == 1 and _is_disk_bad(case))]:
        found.append(f"the client ended with {wrong}")
    if case.draw.artifact != "good" and case.installs:
        found.append("a bad Artifact was given to the sub-updater")
    return found


def _is_disk_bad(case: Case) -> bool:
    return bool(case.met[FULL] or case.met[UNWRITABLE])
