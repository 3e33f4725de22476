"""Run a command and pause the processes below it at random instants, so that races between processes show.

    python tests/pauses.py make test                             at most 2 processes at once, for up to 0.4 s each
    python tests/pauses.py --at-once 8 --longest 1 make test     as on a machine that is far too busy

A pause can come between any two instructions of a process, and others continue meanwhile: at most a quarter of them is
paused. Processes with a controlling terminal are left alone: a shell notices that its job was stopped.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

_INTERVAL_S = 0.01
_NO_TERMINAL = "0"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parse(arguments)
    rng = random.Random(options.seed)
    command = subprocess.Popen(options.command)
    paused: dict[int, float] = {}
    count = 0
    try:
        while command.poll() is None:
            now = time.monotonic()
            for pid in [pid for pid, end in paused.items() if end <= now]:
                del paused[pid]
                _send(pid, signal.SIGCONT)
            running = [pid for pid in _below(command.pid) if pid not in paused]
            if len(paused) < min(options.at_once, len(running) // 3):
                pid = rng.choice(running)
                if _send(pid, signal.SIGSTOP):
                    paused[pid] = now + rng.random() * options.longest
                    count += 1
            time.sleep(_INTERVAL_S)
    finally:
        for pid in paused:
            _send(pid, signal.SIGCONT)
        command.wait()
        print(f"{count} pauses, seed {options.seed}", file=sys.stderr)
    return command.returncode


def _below(top: int) -> list[int]:
    """The descendants of a process that can be paused."""
    children: dict[int, list[int]] = {}
    pausable = set[int]()
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
            state, parent, _, _, terminal = file.read().rpartition(")")[2].split()[:5]
            children.setdefault(int(parent), []).append(int(name))
            if terminal == _NO_TERMINAL and state in "RSD":
                pausable.add(int(name))
    found, todo = [], [top]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return [pid for pid in found if pid in pausable]


def _send(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it has just ended
        return False
    return True


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="pause the processes below a command at random instants")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="chooses processes and durations")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="at most so many at once (default: 2)")
    parser.add_argument("--longest", type=float, default=0.4, metavar="S", help="the longest pause (default: 0.4 s)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the command")
    options = parser.parse_args(arguments)
    if not options.command:
        parser.error("no command")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
