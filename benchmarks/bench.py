"""The common parts of the benchmarks: a lean environment, a device directory, a counting proxy, process statistics."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


@contextmanager
def lean_environment(*extras: str, source: Path = PROJECT) -> Iterator[Path]:
    """A virtual environment with the client of a source tree and the named extras; yields its ``bin`` directory."""
    with tempfile.TemporaryDirectory(prefix="mender-bench-") as directory:
        venv.create(directory, with_pip=True)
        python = Path(directory) / "bin" / "python"
        wanted = f"[{','.join(extras)}]" if extras else ""
        subprocess.run([str(python), "-m", "pip", "install", "-q", f"{source}{wanted}"], check=True)
        yield python.parent


def make_device(root: Path, *, server_url: str, certificate: Path | None, settings: dict[str, object]) -> None:
    """Make a device directory for ``--root``."""
    for directory in ("etc/mender", "var/lib/mender", "usr/share/mender/identity", "usr/share/mender/inventory"):
        (root / directory).mkdir(parents=True)
    (root / "var/lib/mender/device_type").write_text("device_type=bench\n")
    (root / "etc/mender/artifact_info").write_text("artifact_name=bench-1\n")
    config: dict[str, object] = {"ServerURL": server_url, **settings}
    if certificate is not None:
        shutil.copy(certificate, root / "etc/mender/server.crt")
        config["ServerCertificate"] = "/etc/mender/server.crt"
    (root / "etc/mender/mender.conf").write_text(json.dumps(config))
    make_script(root / "usr/share/mender/identity/mender-device-identity", "echo mac=02:00:00:00:00:01")
    make_script(root / "usr/share/mender/install", "exit 0")


def make_script(path: Path, body: str) -> None:
    """Write an executable shell script."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@dataclass(frozen=True, slots=True)
class ProcessState:
    """The state of a process as reported by the kernel."""

    resident_mib: float
    threads: int
    cpu_seconds: float
    context_switches: int

    @classmethod
    def of(cls, pid: int) -> ProcessState:
        """Return the current state of a process; the CPU time excludes its children."""
        status = Path(f"/proc/{pid}/status").read_text()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()

        def number(name: str) -> int:
            match = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
            if match is None:
                raise SystemExit(f"cannot find {name} of process {pid}: has it ended?")
            return int(match[1])

        return cls(
            resident_mib=number("VmRSS") / 1024,
            threads=number("Threads"),
            cpu_seconds=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
            context_switches=number("voluntary_ctxt_switches") + number("nonvoluntary_ctxt_switches"),
        )


def precise_cpu_seconds(pid: int) -> float:
    """The CPU time of a single-threaded process, with nanosecond resolution."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


class CountingProxy:
    """Forwards TCP to a server and counts connections and bytes; TLS passes through unchanged.

    Args:
        port: the server's port on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.bytes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._target))
            for source, sink in ((client, server), (server, client)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self.bytes += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        """Stop accepting connections."""
        self._listener.close()


def machine() -> str:
    """Describe the machine on which the figures are measured, in one line."""
    return f"Python {sys.version.split()[0]}, {ssl.OPENSSL_VERSION}, {os.cpu_count()} cores"
