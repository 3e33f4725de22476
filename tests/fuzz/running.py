"""Runs cases one after the other and records the outcome, the time and the memory of each.

A case is generated from its seed alone, so a failure can be reproduced.
"""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Case = TypeVar("Case")
_WATCHED_IS_SLOWER = 3
"""The factor by which measuring the memory slows a case down; a case must be fast without it."""


@dataclass(frozen=True)
class Bounds:
    """Limits for a case.

    Args:
        seconds: processor time.
        memory_bytes: memory that Python uses in addition to that in use before the case.
    """

    seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Args:
        cases: the number of cases tried.
        outcomes: how often each kind of outcome occurred, including "accepted".
        slowest_seconds: the time of the slowest case.
        memory_bytes: the most that a case used; 0 if it wasn't measured.
        failures: descriptions of the failures.
    """

    cases: int
    outcomes: Counter[str]
    slowest_seconds: float
    memory_bytes: int
    failures: tuple[str, ...]


def run_cases(
    cases: int,
    first_seed: int,
    *,
    make: Callable[[int], Case],
    attempt: Callable[[Case, int], str],
    bounds: Bounds,
    memory_every: int = 1,
) -> Result:
    """Try a number of cases.

    Args:
        cases: the number of cases.
        first_seed: the seed of the first; the next ones follow.
        make: generates the case of a seed.
        attempt: tries a case with its seed; returns the outcome, and raises an exception for a failure.
        bounds: the limits for a case.
        memory_every: measure the memory of every n-th case, which makes it slower; 0 for none.
    """
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    slowest, largest = 0.0, 0
    for seed in range(first_seed, first_seed + cases):
        case = make(seed)
        is_watched = memory_every > 0 and seed % memory_every == 0
        if is_watched:
            tracemalloc.start()
        begin = time.process_time()  # other processes may be busy on this machine
        try:
            outcomes[attempt(case, seed)] += 1
        except Exception as error:  # noqa: BLE001 - to find these is what a fuzzer is for
            failures.append(f"seed {seed}: {type(error).__name__}: {str(error)[:500]}")
        seconds = (time.process_time() - begin) / (_WATCHED_IS_SLOWER if is_watched else 1)
        slowest = max(slowest, seconds)
        if seconds > bounds.seconds:
            failures.append(f"seed {seed}: took {seconds:.1f} s")
        if is_watched:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            largest = max(largest, peak)
            if peak > bounds.memory_bytes:
                failures.append(f"seed {seed}: took {peak} bytes")
    return Result(cases, outcomes, slowest, largest, tuple(failures))
