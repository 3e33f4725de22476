"""Mutants of TRANSITIONS and RESUME of the flow HANDOVER: each entry leads to every other state, or is missing.

This is the one place where the client's own code is changed on purpose, and only in a child process: the tables are
dictionaries, a mutant is one changed entry, and the updates of the in-memory world are the judges.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from client.scenarios import BY_NAME, TRACE, begin, check, effects, live, random_blows, single_blows
from mender_client.core.machine import RESUME, TRANSITIONS, Event, Flow, InstallerState, State
from world import Blow, Kind, Stage

ROADS = (
    "healthy",
    "at-once",
    "half-at-once",
    "refused-at-once",
    "write-fails",
    "unhealthy",
    "dies",
    "silent-success",
    "silent-failure",
    "script-missing",
    "cannot-spawn",
    "cannot-spawn-alone",
    "slow",
    "rot",
    "lock-unwritable",
    "wrong-device",
    "aborted-early",
    "aborted-in-download",
)
"""The paths through every reachable entry."""
_BLOWS = (Blow(Kind.POWER), Blow(Kind.KILL), Blow(Kind.FAULT), Blow(Kind.FAULT, after=True))
_TELL_LITTLE = ("append", "auth", "inventory", "next")
"""Effects that occur in one state so often that they aren't all tested."""
_PAIRS = 6
_LOOPS = ("download", "status installing", "write update.lock", TRACE)
"""Effects at which a client dies in each of its lives, until the loop guard ends the update."""

Key = Event | InstallerState
Entry = tuple[str, State, Key]
Case = tuple[str, tuple[tuple[int | str, Blow], ...]]
"""A path, and its blows: each at the number of an effect, or at every effect of a name."""
_TABLES: Mapping[str, Mapping[State, Mapping[Any, State]]] = {
    "TRANSITIONS": TRANSITIONS[Flow.HANDOVER],
    "RESUME": RESUME[Flow.HANDOVER],
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed entry; if ``to`` is None, the entry is missing."""

    table: str
    state: State
    key: Key
    to: State | None

    @property
    def entry(self) -> Entry:
        """The entry that it changes."""
        return (self.table, self.state, self.key)

    def __str__(self) -> str:
        after = "nothing" if self.to is None else self.to.name
        return f"{self.table}[{self.state.name}][{self.key.name}] -> {after}"


def entries() -> list[Entry]:
    """Every entry of both tables."""
    return [(name, state, key) for name, table in _TABLES.items() for state, row in table.items() for key in row]


def mutants() -> list[Mutant]:
    """Every change to one entry."""
    return [
        Mutant(*entry, to)
        for entry in entries()
        for to in (*State, None)
        if to is not _TABLES[entry[0]][entry[1]][entry[2]]
    ]


def _row(table: str, state: State) -> MutableMapping[Key, State]:
    return cast(MutableMapping[Key, State], _TABLES[table][state])


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """The tables with a mutant in them."""
    row = _row(mutant.table, mutant.state)
    original = row.pop(mutant.key)
    if mutant.to is not None:
        row[mutant.key] = mutant.to
    try:
        yield
    finally:
        row[mutant.key] = original


class _Watched(dict[Key, State]):
    """A row that records which of its entries are used."""

    def __init__(self, row: Mapping[Key, State], table: str, state: State, used: set[Entry]) -> None:
        super().__init__(row)
        self._place = (table, state)
        self._used = used

    def __getitem__(self, key: Key) -> State:
        self._used.add((*self._place, key))
        return super().__getitem__(key)


@contextmanager
def watched() -> Iterator[set[Entry]]:
    """The original tables, and a set that is filled with the entries that are used."""
    used: set[Entry] = set()
    originals = {(name, state): row for name, table in _TABLES.items() for state, row in table.items()}
    for (name, state), row in originals.items():
        cast(Any, _TABLES[name])[state] = _Watched(row, name, state, used)
    try:
        yield used
    finally:
        for (name, state), row in originals.items():
            cast(Any, _TABLES[name])[state] = row


def cases(stage: Stage) -> list[Case]:
    """Updates with blows that together use every reachable entry."""
    found = _loops(stage)
    for name in ROADS:
        road = BY_NAME[name]
        trace = effects(stage, road)
        found.append((name, ()))
        found += [
            (name, ((number, blow),))
            for number, blow in single_blows(trace, road)
            if is_chosen(name, trace[number - 1], blow)
        ]
        if not (road.only_client or road.is_plain):
            found += [(name, tuple(random_blows(seed, len(trace), 2).items())) for seed in range(_PAIRS)]
    return found


def _loops(stage: Stage) -> list[Case]:
    """Updates that end in a loop; one more kill before it changes the state in which the loop guard ends the update."""
    kill, trace = Blow(Kind.KILL), effects(stage, BY_NAME["healthy"])
    earlier: list[tuple[tuple[int | str, Blow], ...]] = [(), *(((trace.index(one) + 1, kill),) for one in _LOOPS)]
    return [("healthy", ((effect, kill), *more)) for effect in _LOOPS for more in earlier]


def is_chosen(road: str, effect: str, blow: Blow) -> bool:
    """Some blows for each path; a kill right after the hand-over matters if the sub-updater still works."""
    if effect.startswith(_TELL_LITTLE):
        return False
    return blow in _BLOWS or (road == "slow" and blow.kind is Kind.KILL)


def play(stage: Stage, case: Case) -> None:
    """Play a case; raise an exception if anything is wrong at its end."""
    name, blows = case
    loops = {effect: blow for effect, blow in blows if isinstance(effect, str)}
    once = {number: blow for number, blow in blows if isinstance(number, int)}
    if not loops:
        live(stage, BY_NAME[name], once)
        return
    world = begin(stage, BY_NAME[name], once)
    world.power.always |= loops
    world.live()
    check(world)
    assert {State.FAILED.value: 1} == world.journal.load().totals, "the loop began again"


def uses(stage: Stage, case: Case) -> frozenset[Entry]:
    """The entries that a case uses."""
    with watched() as used:
        play(stage, case)
    return frozenset(used)


def judge(stage: Stage, mutant: Mutant, judges: Iterable[Case]) -> str:
    """The error of a case with a mutant; empty if there is none."""
    with applied(mutant):
        for case in judges:
            try:
                play(stage, case)
            except Exception as error:  # noqa: BLE001 - a mutant may break in any way, and each of them tells on it
                return f"{case[0]}: {type(error).__name__}: {str(error).splitlines()[0][:80] if str(error) else ''}"
    return ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The fate of a mutant: the case that detected it, and the number of cases that judged it."""

    mutant: Mutant
    evidence: str
    judges: int


_work: tuple[Stage, Mapping[Entry, list[Case]]] | None = None


def _uses_of(case: Case) -> tuple[Case, frozenset[Entry]]:
    assert _work is not None
    return case, uses(_work[0], case)


def _judge(mutant: Mutant) -> Verdict:
    assert _work is not None
    judges = _work[1].get(mutant.entry, [])
    return Verdict(mutant, judge(_work[0], mutant, judges), len(judges))


def judge_all(
    stage: Stage, *, most_judges: int, processes: int, accused: Sequence[Mutant] | None = None, every: int = 1
) -> list[Verdict]:
    """Judge every mutant, in child processes.

    Args:
        stage: the directory of the Artifacts.
        most_judges: the number of cases using an entry that judge its mutants; they are spread over the paths.
        processes: the number of processes.
        accused: the mutants to judge; None: all.
        every: only every n-th case is played at all.
    """
    global _work
    context = multiprocessing.get_context("fork")
    _work = (stage, {})
    with context.Pool(processes) as pool:
        by_entry: dict[Entry, list[Case]] = {}
        for case, used in pool.imap_unordered(_uses_of, cases(stage)[::every], chunksize=20):
            for entry in used:
                by_entry.setdefault(entry, []).append(case)
    _work = (stage, {entry: spread(sorted(found, key=repr), most_judges) for entry, found in by_entry.items()})
    with context.Pool(processes) as pool:
        return pool.map(_judge, mutants() if accused is None else accused, chunksize=4)


def spread(found: list[Case], most: int) -> list[Case]:
    """At most the given number of cases, from all parts of the list, those without blows first."""
    plain = [case for case in found if not case[1]]
    others = [case for case in found if case[1]]
    step = max(1, len(others) // most)
    return plain + others[::step][:most]
