"""Counts the results of a series of kills, and runs one at length."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass
class Tally:
    """The results of a series of kills.

    Attributes:
        kills: processes killed, and power cuts.
        deployments: deployments carried out to their end.
        moments: in which state of the journal each kill found the client.
        faults: what went wrong, and how often; empty when nothing did.
        said: the details of each deployment in which something did.
    """

    kills: int = 0
    deployments: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list, repr=False)

    def note(self, journal: Mapping[str, object]) -> None:
        """Count a kill that found the client with this journal."""
        update = journal.get("update")
        self.moments[str(update["state"]) if isinstance(update, dict) else "no update"] += 1
        self.kills += 1

    def judge(self, faults: Mapping[str, bool], about: Callable[[], str]) -> None:
        """Count the faults of a deployment that has come to its end."""
        for fault, is_there in faults.items():
            if is_there:
                self.faults[fault] += 1
                self.said.append(f"{fault}: {about()}")


class Killer(Protocol):
    """Runs deployments on a device and kills the client in the middle of them."""

    tally: Tally

    def every_change(self) -> int:
        """Kill after the first change of the journal, in the next deployment after the second, and so on.

        Returns:
            How many changes a deployment has.
        """

    def kill_at_random(self) -> None:
        """Kill at some instant of a deployment."""


def run_at_length(description: str, begin: Callable[[Path, random.Random], AbstractContextManager[Killer]]) -> int:
    """Kill at every change of the journal and at many random instants, and print what it came to.

    Args:
        description: for the help.
        begin: gives the killer, in a directory of its own.

    Returns:
        The exit code: 1 when something went wrong.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--kills", type=int, default=200, help="kills at random instants")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="for the instants")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        begin(Path(directory), random.Random(options.seed)) as killer,
    ):
        tally = killer.tally
        print(f"changes of the journal in a deployment: {killer.every_change()}")
        print(f"seed {options.seed}: {tally}", flush=True)
        at_changes = tally.kills
        while tally.kills < options.kills + at_changes:
            killer.kill_at_random()
            if tally.deployments % 25 == 0:
                print(f"seed {options.seed}: {tally}", flush=True)
        print(f"seed {options.seed}: {tally}")
    print("\n".join(tally.said))
    return 1 if tally.faults else 0
