"""Mutants of the flow MODULES: of its two tables, and of ``result_after``.

Each entry leads to every other state, or gives every other result, in a child process of the tests. The judges are the
updates of the in-memory world that use the entry: one of them must end otherwise, call otherwise, or not end at all.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client.scenarios import Scenario, begin
from client.test_modules import BLOWN, ROADS
from mender_client.core import update
from mender_client.core.machine import RESUME, TRANSITIONS, Event, Flow, InstallerState, Result, State
from world import Answer, Blow, Kind, ModuleOptions, Options, Stage, at, make_stage

Table = dict[Any, Any]
Case = tuple[ModuleOptions, Mapping[int, Blow], tuple[str, int]]
"""The path, the blows by the number of the effect, and which status the server answers with 409."""
_TABLES: Mapping[str, Mapping[State, Any]] = {
    "TRANSITIONS": TRANSITIONS[Flow.MODULES],
    "RESUME": RESUME[Flow.MODULES],
}
_RESULT = "result_after"
_update = cast(Any, update)
_result_after = _update.result_after
_KILLED = [one for one in BLOWN if one.reboot == "Automatic" or one.fails == "ArtifactCommit"]

_TAKEN = ("", 1)
"""The server accepts all statuses."""

_FAIL_TWICE = (
    "ArtifactInstall SupportsRollback",
    "ArtifactInstall ArtifactRollback",
    "ArtifactInstall ArtifactRollback_Enter",
    "ArtifactInstall ArtifactFailure_Enter",
    "ArtifactVerifyReboot ArtifactRollbackReboot_Enter",
    "ArtifactVerifyReboot ArtifactVerifyRollbackReboot",
    "ArtifactVerifyReboot ArtifactRollbackReboot_Leave",
)

NOT_REACHED = {
    (State.DOWNLOADING, Event.EMPTY): "an Artifact without a payload: a row of tests/program/modules",
    (State.VERIFIED, Event.FAULT): "its effect only reports a status, and what can't be sent stays pending",
    (State.ARTIFACT_INSTALL, Event.ABORT): "only a poll in this state could bring it, and none is sent",
    (State.ARTIFACT_REBOOT, Event.ABORT): "only a poll in this state could bring it, and none is sent",
    (State.VERIFY_REBOOT, Event.ABORT): "only a poll in this state could bring it, and none is sent",
}
"""The entries that no update of the world uses, with the reason."""


HARMLESS = {
    State.CLEANUP: "the last state: how the update has gone isn't looked at any more",
    (State.DOWNLOADING, Event.ABORT): "nothing has begun: there is nothing to clean up, and nothing is installed",
    (State.VERIFY_ROLLBACK_REBOOT, Event.AGAIN): "it is repeated until the loop guard ends it, as inconsistent",
}
"""Mutants without a visible effect, with the reason: of a result by its state, others by state and event."""


def is_harmless(entry: Any, value: object) -> bool:
    """Whether there is a reason for a mutant to survive."""
    name, place, key = entry
    if name == _RESULT:
        return bool({place[0], place[:2]} & HARMLESS.keys())
    return (place, key, value) == (State.DOWNLOADING, Event.ABORT, State.FAILED)


class _Row(dict[Any, Any]):
    """A row that records which of its entries are used."""

    def __init__(self, row: Mapping[Any, Any], name: str, state: State, used: set[Any]) -> None:
        super().__init__(row)
        self._place, self._used = (name, state), used

    def __getitem__(self, key: Any) -> Any:
        self._used.add((*self._place, key))
        return super().__getitem__(key)


def outcome(stage: Stage, case: Case) -> object:
    """Everything that is visible of an update."""
    options, blows, refused = case
    device = Options(modules=options, has_boot_service=False, is_spooled=False)
    world = begin(stage, Scenario("mutant", "", device), blows)
    world.calls.clear()
    world.transport.rules.append(at(f"status {refused[0]}", Answer(409), refused[1]))
    try:
        world.live()
    except (AssertionError, KeyError, ValueError) as error:
        return type(error)
    left = world.journal.load()
    name = left.provides(world.device.provides()).artifact_name
    return world.server.statuses, world.calls, world.running, name, left.software and left.software.artifact_name


def cases(stage: Stage) -> Iterator[Case]:
    """Updates that fail in each state, and some that are killed or lose power at each effect."""
    for road in ROADS:
        yield road, {}, _TAKEN
    for refused in (("downloading", 1), ("installing", 1), ("rebooting", 1), ("installing", 2)):
        yield ModuleOptions(reboot="Automatic"), {}, refused
    for fails in _FAIL_TWICE:
        yield ModuleOptions(reboot="Automatic", fails=fails), {}, _TAKEN
        yield ModuleOptions(reboot="Yes", fails=fails), {}, _TAKEN
    for road in _KILLED:
        world = begin(
            stage, Scenario("mutant", "", Options(modules=road, has_boot_service=False, is_spooled=False)), {}
        )
        while not world.is_quiet:
            world.turn()
        for number in range(1, len(world.power.trace) - world.first_effect + 1, 2):
            yield road, {number: Blow(Kind.POWER if number % 4 == 1 else Kind.KILL, after=True)}, _TAKEN


def watch(stage: Stage, chosen: list[Case]) -> tuple[list[object], Mapping[Any, list[int]]]:
    """The outcomes of the cases with the original tables, and the cases that use each entry."""
    used: set[Any] = set()
    users: dict[Any, list[int]] = {}
    for name, table in _TABLES.items():
        for state in table:
            cast(Table, table)[state] = _Row(table[state], name, state, used)

    def result_after(state: State, event: Event, result: Result) -> Result:
        used.add((_RESULT, (state, event, result), None))
        return cast(Result, _result_after(state, event, result))

    _update.result_after = result_after
    outcomes = []
    for number, case in enumerate(chosen):
        used.clear()
        outcomes.append(outcome(stage, case))
        for entry in used:
            users.setdefault(entry, []).append(number)
    _update.result_after = _result_after
    return outcomes, users


def mutants(users: Mapping[Any, list[int]]) -> list[tuple[Any, object]]:
    """Each used entry with each other value."""
    found: list[tuple[Any, object]] = []
    for entry in users:
        name, place, key = entry
        if name == _RESULT:
            found += [(entry, one) for one in Result if one is not _result_after(*place)]
        else:
            found += [(entry, one) for one in State if one is not dict.__getitem__(_TABLES[name][place], key)]
    return found


def survives(
    stage: Stage, mutant: tuple[Any, object], chosen: list[Case], known: list[object], users: list[int]
) -> bool:
    """Whether no case detects a mutant."""
    (name, place, key), value = mutant
    if name == _RESULT:
        _update.result_after = lambda *asked: cast(Result, value) if asked == place else _result_after(*asked)
    else:
        row = cast(Table, _TABLES[name][place])
        original = dict.__getitem__(row, key)
        row[key] = value
    try:
        return all(known[number] == outcome(stage, chosen[number]) for number in users)
    finally:
        if name == _RESULT:
            _update.result_after = _result_after
        else:
            row[key] = original


def main() -> int:
    """Test the mutants; return 1 if one survives, or an entry is never used, without a reason."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, help="try so many")
    sample = parser.parse_args().sample
    logging.getLogger("mender_client").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as directory:
        stage = make_stage(Path(directory))
        chosen = list(cases(stage))
        if sample is not None:
            chosen = random.Random(1).sample(chosen, 12)
        known, users = watch(stage, chosen)
        wanted = mutants(users)
        if sample is not None:
            wanted = random.Random(2).sample(wanted, sample)
        wrong = [one for one in wanted if survives(stage, one, chosen, known, users[one[0]])]
    lines = [f"survives: {entry} -> {value}" for entry, value in wrong if not is_harmless(entry, value)]
    if sample is None:
        entries = [("TRANSITIONS", state, event) for state, row in _TABLES["TRANSITIONS"].items() for event in row]
        entries += [("RESUME", state, InstallerState.NOT_BEGUN) for state in _TABLES["RESUME"]]
        entries = [one for one in entries if one not in users and one[1:] not in NOT_REACHED]
        lines += [f"not reached: {one}" for one in entries if one[2] is not Event.LOOP]  # outside of its bounds
    print(f"{len(wanted)} mutants, {len(chosen)} cases", *lines, sep="\n")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
