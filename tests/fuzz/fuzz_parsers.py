"""Feeds broken input to every parser: only its own errors may be raised, in little time and memory.

    python tests/fuzz/fuzz_parsers.py [--parser NAME ...] --cases 100000 [--seed N]

Prints for each parser the cases, the outcomes, the longest time and the most memory of a case. A failure prints the
command that repeats it. The parsers are listed in ``parsers.py``; Artifacts have a fuzzer of their own.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.parsers import Parser, all_parsers
from fuzz.running import Bounds, Result, run_cases

BOUNDS = Bounds(seconds=20.0, memory_bytes=32 << 20)


def run(parser: Parser, cases: int, first_seed: int, *, memory_every: int = 10) -> Result:
    """Try a number of cases on one parser.

    Args:
        parser: the parser.
        cases: how many.
        first_seed: the seed of the first; the next ones follow.
        memory_every: measure the memory of every n-th case.
    """

    def make(seed: int) -> object:
        return parser.make(random.Random(f"{parser.name} {seed}"))

    return run_cases(cases, first_seed, make=make, attempt=parser.try_case, bounds=BOUNDS, memory_every=memory_every)


def main(arguments: Sequence[str]) -> int:
    """The command line; returns 1 if there was a failure."""
    logging.getLogger("mender_client").addHandler(logging.NullHandler())  # otherwise warnings go to standard error
    with tempfile.TemporaryDirectory() as directory:
        parsers = all_parsers(Path(directory))
        options = argparse.ArgumentParser(description="Throw broken input at every parser.")
        options.add_argument("--parser", action="append", choices=list(parsers), help="only this one; may be repeated")
        options.add_argument("--cases", type=int, default=100_000, help="how many for each parser")
        options.add_argument("--seed", type=int, default=0, help="the seed of the first case")
        chosen = options.parse_args(arguments)
        return max(_report(parsers[name], chosen.cases, chosen.seed) for name in chosen.parser or parsers)


def _report(parser: Parser, cases: int, seed: int) -> int:
    begin = time.perf_counter()
    result = run(parser, cases, seed)
    outcomes = ", ".join(f"{count} {word}" for word, count in result.outcomes.most_common())
    print(
        f"{parser.name}: {result.cases} cases in {time.perf_counter() - begin:.0f} s, {len(result.failures)} failures, "
        f"the slowest {result.slowest_seconds * 1000:.0f} ms, at most {result.memory_bytes >> 10} KiB: {outcomes}",
        flush=True,
    )
    for failure in result.failures[:20]:
        number = failure.split()[1].rstrip(":")
        print(f"FAILED {failure}; repeat with --parser {parser.name} --cases 1 --seed {number}")
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
