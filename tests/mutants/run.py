"""Print what became of every mutant of the state tables: ``python tests/mutants/run.py``.

Exit code 1 when one survives without a reason, or a reason stands for one that is caught.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from client.scenarios import new_stage
from mutants.harmless import REASONS, reason_for
from mutants.tables import Verdict, judge_all, mutants

_ENOUGH_JUDGES = 10
"""The number of cases that must have judged a mutant in a sample to call it a survivor."""


def main() -> int:
    """Judge the mutants, print the results, and return whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--judges", type=int, default=200, help="cases per entry (default 200)")
    parser.add_argument("--sample", type=int, default=0, help="mutants, of a fixed seed (default all)")
    parser.add_argument("--every", type=int, default=1, help="play only every so-manieth case (default all)")
    parser.add_argument("--quiet", action="store_true", help="print survivors and the sum only")
    arguments = parser.parse_args()
    logging.getLogger("mender_client").setLevel(logging.CRITICAL)
    begin = time.monotonic()
    accused = random.Random(1).sample(mutants(), arguments.sample) if arguments.sample else mutants()
    with tempfile.TemporaryDirectory() as directory:
        verdicts = judge_all(
            new_stage(Path(directory)),
            most_judges=arguments.judges,
            processes=os.cpu_count() or 1,
            accused=accused,
            every=arguments.every,
        )
    seconds = time.monotonic() - begin
    return report(verdicts, seconds=seconds, is_quiet=arguments.quiet, is_sample=bool(arguments.sample))


def report(verdicts: list[Verdict], *, seconds: float, is_quiet: bool, is_sample: bool = False) -> int:
    """Print the table; return 1 if something needs attention."""
    caught = [one for one in verdicts if one.evidence]
    harmless = [one for one in verdicts if not one.evidence and reason_for(one.mutant)]
    # a sample of the cases hardly reaches some entries: it gives no evidence about their mutants
    judged = [one for one in verdicts if one.judges >= _ENOUGH_JUDGES or not is_sample]
    survivors = [one for one in judged if not one.evidence and not reason_for(one.mutant)]
    used = {reason for one in harmless for reason in (str(one.mutant), str(one.mutant).partition(" ->")[0])}
    stale = [] if is_sample else sorted(set(REASONS) - used)
    if not is_quiet:
        for one in caught:
            print(f"caught    {one.mutant}\n          by {one.evidence}")
        for one in harmless:
            print(f"harmless  {one.mutant}\n          {reason_for(one.mutant)}")
    for one in survivors:
        print(f"SURVIVES  {one.mutant} ({one.judges} cases had a look)")
    for reason in stale:
        print(f"STALE     a reason is given for {reason}, but it is caught")
    print(
        f"{len(verdicts)} mutants: {len(caught)} caught, {len(harmless)} harmless, {len(survivors)} survive; "
        f"{len(stale)} stale reasons; {seconds:.0f} s"
    )
    return 1 if survivors or stale else 0


if __name__ == "__main__":
    sys.exit(main())
