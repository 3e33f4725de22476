"""The results of a soak test, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from soak.judge import DOUBLED, LOST, ODD, STUCK, TRACEBACK
from soak.lane import Tally


def make_table(
    tally: Tally, *, kinds: Iterable[str], missing: Mapping[str, str], seed: int, devices: int, took_s: float
) -> str:
    """Format the table.

    Args:
        tally: the results.
        kinds: the faults that were possible.
        missing: the faults that were not possible on this machine, with the reason.
        seed: the seed of the soak test.
        devices: the number of devices.
        took_s: the duration in seconds.
    """
    rows: list[tuple[str, object]] = [
        ("deployments", tally.deployments),
        *((f"ended as {end} on the server", count) for end, count in sorted(tally.ends.items())),
        ("faults injected", sum(tally.met.values())),
        *((kind, tally.met[kind]) for kind in sorted(kinds)),
        *((kind, f"left out here: {reason}") for kind, reason in missing.items()),
        *((f"**{kind}**", f"**{tally.wrong[kind]}**") for kind in (LOST, DOUBLED, STUCK, TRACEBACK, ODD)),
        ("outcomes lost with a state file replaced by garbage", tally.forgotten),
        ("longest time that a deployment was open", f"{tally.longest_s:.0f} s"),
        ("devices, seed, time", f"{devices}, {seed}, {took_s / 60:.1f} min"),
    ]
    return "\n".join(["| what | result |", "|---|---|", *(f"| {what} | {result} |" for what, result in rows)])
