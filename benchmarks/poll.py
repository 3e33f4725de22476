"""The cost of one idle poll over TLS, in countable operations: ``python -m benchmarks.poll``.

The installed daemon polls a dev server, and strace counts its system calls, its fsyncs, the TLS records that it sends,
and how often it reads its state file. Unlike times, these figures have no noise.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low

from mender_devserver import DevServer

from .bench import lean_environment, machine, make_device

INTERVAL_SECONDS = 1
_CYCLES = 12
_CALL = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(?:[0-9.]+ )?(\w+)\((.*)$")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_STATE_FILE = "journal.json"


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a poll."""

    calls: Counter[str]
    records: int
    state_file_reads: int

    @property
    def syncs(self) -> int:
        """The number of system calls that wait for the disk."""
        return self.calls["fsync"] + self.calls["fdatasync"]


def count(trace: str) -> list[Cost]:
    """The cost of each complete poll in the output of strace; a poll lasts from one request to the next.

    Args:
        trace: the output lines, with all strings in hexadecimal.
    """
    polls: list[list[tuple[str, str]]] = [[]]
    for match in filter(None, map(_CALL.match, trace.splitlines())):
        call = match[1], match[2]
        if _cost([call]).records:
            polls.append([])
        polls[-1].append(call)
    return [_cost(calls) for calls in polls[1:-1]]


def _cost(calls: list[tuple[str, str]]) -> Cost:
    return Cost(
        calls=Counter(name for name, _ in calls),
        records=sum(_records(_first_text(rest)) for name, rest in calls if name in ("write", "sendto", "sendmsg")),
        state_file_reads=sum(
            name.startswith("open") and _STATE_FILE.encode() in _first_text(rest) for name, rest in calls
        ),
    )


def _first_text(arguments: str) -> bytes:
    match = _TEXT.search(arguments)
    return bytes.fromhex(match[1].replace("\\x", "")) if match else b""


def _records(data: bytes) -> int:
    """The number of TLS records with application data in the bytes sent."""
    found = 0
    while data[:2] == b"\x17\x03":
        found += 1
        data = data[5 + int.from_bytes(data[3:5], "big") :]
    return found


def trace(binaries: Path) -> tuple[str, int]:
    """Let the daemon poll under strace for a while; return the trace and the number of polls at the server."""
    with tempfile.TemporaryDirectory() as directory, DevServer(directory=Path(directory) / "server") as server:
        server.auto_accept = True
        root, lines = Path(directory) / "device", Path(directory) / "trace"
        make_device(
            root,
            server_url=server.url,
            certificate=server.certificate,
            settings={"UpdatePollIntervalSeconds": INTERVAL_SECONDS, "RetryPollIntervalSeconds": INTERVAL_SECONDS},
        )
        argv = [str(binaries / "mender-python-client"), "--root", str(root), "daemon"]
        with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as daemon:
            try:
                time.sleep(5 * INTERVAL_SECONDS)  # the first polls include one-time work
                strace = ["strace", "-f", "-xx", "-s", "65536", "-o", str(lines), "-p", str(daemon.pid)]
                before = len(server.requests)
                with subprocess.Popen(strace, stderr=subprocess.DEVNULL) as tracer:
                    time.sleep((_CYCLES + 3) * INTERVAL_SECONDS)
                    seen = len(server.requests) - before
                    tracer.terminate()
            finally:
                daemon.terminate()
        return lines.read_text(), seen


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, help="use this interpreter instead of a new lean environment")
    parser.add_argument("--trace", action="store_true", help="print what strace saw, too")
    options = parser.parse_args()
    if shutil.which("strace") is None:
        raise SystemExit("cannot count system calls: install strace")
    print(f"one idle poll over TLS ({machine()})")
    with nullcontext(options.python.parent) if options.python else lean_environment() as binaries:
        lines, seen = trace(binaries)
    if options.trace:
        print(lines)
    costs = count(lines)
    if not costs:
        raise SystemExit("cannot count anything: no poll was seen")
    for name, bar, values in (
        ("system calls", 32, [sum(cost.calls.values()) for cost in costs]),
        ("fsyncs", 0, [cost.syncs for cost in costs]),
        ("reads of the state file", 0, [cost.state_file_reads for cost in costs]),
    ):
        print(f"  {name:24} {median_low(values):3} (bar {bar}; {len(values)} polls, {min(values)} to {max(values)})")
    sent = len(costs) + 1
    print(f"  {'TLS records out':24} {sent / seen:3.1f} (bar 1; {sent} of them, {seen} polls seen by the server)")
    typical = sorted(costs, key=lambda cost: sum(cost.calls.values()))[len(costs) // 2]
    print("  " + ", ".join(f"{name} {times}" for name, times in typical.calls.most_common()))


if __name__ == "__main__":
    main()
