"""Runs cases one after the other and watches what comes out, how long each takes, and how much memory.

A case is made from its seed alone, so a failure can be repeated.
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
"""What to look at the memory costs; a case must be fast without it."""


@dataclass(frozen=True)
class Bounds:
    """What a case may take.

    Args:
        seconds: of processor time.
        memory_bytes: of memory that Python has in use beyond what it had before.
    """

    seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Result:
    """What became of a run.

    Args:
        cases: how many were tried.
        outcomes: how often each kind of outcome came, "accepted" among them.
        slowest_seconds: the time of the slowest case.
        memory_bytes: the most that a case had in use; 0 when nobody looked.
        failures: what must not have happened.
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
        cases: how many.
        first_seed: the seed of the first; the next ones follow.
        make: makes the case of a seed.
        attempt: tries a case and its seed; returns what came out, and raises what must not happen.
        bounds: what a case may take.
        memory_every: watch the memory of every so-manieth case, which makes it slower; 0 for none.
    """
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    slowest, largest = 0.0, 0
    for seed in range(first_seed, first_seed + cases):
        case = make(seed)
        is_watched = memory_every > 0 and seed % memory_every == 0
        if is_watched:
            tracemalloc.start()
        begin = time.process_time()  # others may be at work on the machine
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
