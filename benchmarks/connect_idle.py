"""The cost of an idle ``connect``: memory, threads, wake-ups and CPU, before and after the use of a terminal.

``python -m benchmarks.connect_idle [--seconds 120]``: the installed client with the extra ``[connect]`` is connected to
a dev server over TLS. It is measured before its first use, and again after a user has used a terminal and fetched a
file.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from mender_client.core.wire.deviceconnect import Message, Protocol
from mender_client.core.wire.msgpack import pack
from mender_devserver import DevServer
from mender_devserver.deviceconnect import ConnectedDevice

from .bench import ProcessState, lean_environment, machine, make_device, precise_cpu_seconds

_BARS = "bar: 27 MiB, 6 wake-ups a minute"
_WAITS = "voluntary_ctxt_switches"
_SETTLE_SECONDS = 65.0
"""The time after which an unclosed session is discarded."""
_SHOWN_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Idle:
    """The cost of an idle process."""

    resident_mib: float
    proportional_mib: float
    peak_mib: float
    threads: int
    wakeups_per_minute: float
    cpu_ms_per_minute: float

    def __str__(self) -> str:
        return (
            f"resident {self.resident_mib:.1f} MiB (PSS {self.proportional_mib:.1f}, peak {self.peak_mib:.1f}), "
            f"{self.threads} thread(s), {self.wakeups_per_minute:.1f} wake-ups/min, "
            f"CPU {self.cpu_ms_per_minute:.1f} ms/min"
        )


def _number(path: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", Path(path).read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def watch(pid: int, seconds: float) -> Idle:
    """Let a process settle, and measure it; each of its waits ends with a wake-up, so the waits are counted."""
    time.sleep(_SETTLE_SECONDS)
    before, cpu = _number(f"/proc/{pid}/status", _WAITS), precise_cpu_seconds(pid)
    time.sleep(seconds)
    waits = _number(f"/proc/{pid}/status", _WAITS) - before
    after = ProcessState.of(pid)
    return Idle(
        resident_mib=after.resident_mib,
        proportional_mib=_number(f"/proc/{pid}/smaps_rollup", "Pss") / 1024,
        peak_mib=_number(f"/proc/{pid}/status", "VmHWM") / 1024,
        threads=after.threads,
        wakeups_per_minute=waits * 60 / seconds,
        cpu_ms_per_minute=(precise_cpu_seconds(pid) - cpu) * 1000 * 60 / seconds,
    )


def use(device: ConnectedDevice, file: Path) -> None:
    """Open a terminal, print a megabyte, fetch a file, and close the session."""
    device.send(Message(Protocol.SHELL, "new", "s", {"user_id": "u"}))
    device.send(Message(Protocol.SHELL, "shell", "s", {}, f"head -c {_SHOWN_BYTES} {file}; exit\r".encode()))
    while device.receive().typ != "stop":
        pass
    device.send(Message(Protocol.FILES, "get_file", "f", {}, pack({"path": str(file)})))
    while (message := device.receive()).body:
        device.send(Message(Protocol.FILES, "ack", "f", {"offset": message.props["offset"] + len(message.body)}))
    device.send(Message(Protocol.CONTROL, "close", "f"))


def run(binaries: Path, seconds: float) -> tuple[Idle, Idle]:
    """Measure a program before its first session, and again after one."""
    with tempfile.TemporaryDirectory() as directory, DevServer(directory=Path(directory) / "server") as server:
        server.auto_accept = True
        root = Path(directory) / "device"
        make_device(root, server_url=server.url, certificate=server.certificate, settings={})
        (root / "etc/mender/mender-connect.conf").write_text(json.dumps({"User": "root"}))
        file = root / "file"
        file.write_text("0123456789abcde\n" * (_SHOWN_BYTES // 16))
        program = [str(binaries / "mender-python-client"), "--root", str(root)]
        subprocess.run([*program, "bootstrap"], check=True, capture_output=True)
        process = subprocess.Popen([*program, "connect"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            device = server.connected_device()
            untouched = watch(process.pid, seconds)
            use(device, file)
            return untouched, watch(process.pid, seconds)
        finally:
            process.terminate()
            process.wait()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long to watch each time")
    options = parser.parse_args()
    print(f"connect without a user ({machine()}); {_BARS}")
    with lean_environment("connect") as binaries:
        untouched, used = run(binaries, options.seconds)
    print(f"  untouched:       {untouched}\n  after a session: {used}")


if __name__ == "__main__":
    main()
