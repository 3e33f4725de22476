"""Run the client under random faults for half an hour, and report the results.

    python tools/soak                                   30 minutes or 500 deployments, whichever comes first
    python tools/soak --minutes 2 --seed 7

The devices are directories, the client is the installed program, the server is the dev server over TLS on 127.0.0.1.
Exit code 1: an update was lost, repeated or stuck, or there was a traceback or an unexplained result; the logs of such
a deployment are kept.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_PROJECT / "tools"), str(_PROJECT / "tests")]

from soak.device import mount_small_disk, set_unwritable  # noqa: E402 - found by the path above
from soak.faults import FULL, UNWRITABLE, WEIGHTS  # noqa: E402
from soak.lane import Lane, Tally  # noqa: E402
from soak.table import make_table  # noqa: E402

_NEWS_S = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak test.

    Returns:
        The exit code.
    """
    options = _parse(arguments)
    begun = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # the devices are switched off after any of them
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as directory:
        kinds, missing = _possible_kinds(Path(directory))
        lanes = [
            Lane(Path(directory) / str(number), number=number, seed=options.seed, kinds=kinds, keep=options.keep)
            for number in range(options.devices)
        ]
        try:
            _run(lanes, options.deployments, begun + options.minutes * 60)
        except KeyboardInterrupt:
            print("interrupted; so far:", file=sys.stderr)
        tally = sum((lane.tally for lane in lanes), Tally())
        late = [line for lane in lanes for line in lane.last_look()]
    took = time.monotonic() - begun
    print(make_table(tally, kinds=kinds, missing=missing, seed=options.seed, devices=options.devices, took_s=took))
    for line in (*tally.findings, *late):
        print(line)
    if tally.findings:
        print(f"the files are kept in {options.keep}")
    return 1 if tally.wrong or late else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak", description="Run the client under random faults.")
    parser.add_argument("--minutes", type=float, default=30.0, help="no deployment is begun after so long")
    parser.add_argument("--deployments", type=int, default=500, help="end when so many are done")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="decides which faults come when")
    parser.add_argument("--devices", type=int, default=1, help="how many at a time, each with a server of its own")
    parser.add_argument("--keep", type=Path, default=Path("soak-findings"), help="where unexplained deployments go")
    return parser.parse_args(arguments)


def _possible_kinds(directory: Path) -> tuple[dict[str, int], dict[str, str]]:
    """The faults that are possible on this machine, with their weights, and why the others are not."""
    missing: dict[str, str] = {}
    probe = directory / "probe"
    probe.mkdir(mode=0o700)
    try:
        set_unwritable(probe, is_unwritable=True)
        set_unwritable(probe, is_unwritable=False)
    except OSError as error:
        missing[UNWRITABLE] = str(error)
    try:
        mount_small_disk(probe)
        subprocess.run(["umount", str(probe)], check=True)
    except OSError as error:
        missing[FULL] = str(error)
    return {kind: weight for kind, weight in WEIGHTS.items() if kind not in missing}, missing


def _run(lanes: Sequence[Lane], deployments: int, end: float) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(len(lanes)) as pool:
        claim = _claims(deployments, end)
        running = [pool.submit(lane.run, claim, stop) for lane in lanes]
        try:
            waiting = set(running)
            while waiting:
                done, waiting = wait(waiting, timeout=_NEWS_S)
                for one in done:
                    one.result()
                tally = sum((lane.tally for lane in lanes), Tally())
                print(f"{tally.deployments} deployments, wrong: {dict(tally.wrong)}", file=sys.stderr, flush=True)
        finally:
            stop.set()


def _claims(deployments: int, end: float) -> Callable[[], bool]:
    numbers = itertools.count()
    return lambda: next(numbers) < deployments and time.monotonic() < end


if __name__ == "__main__":
    sys.exit(main())
