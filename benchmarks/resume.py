"""The cost of interrupted downloads: ``python -m benchmarks.resume``.

A download of 256 MiB is interrupted ten times with ``kill -9``, compared with ``curl -C -``, and one of 64 MiB is cut
after every MiB; nginx serves both through a link of limited speed. The output is the number of bytes transferred
relative to the size, and the wait before the first retry. Over TLS, a cut loses the incomplete record, up to 16 KiB,
since it can't be decrypted; over plain HTTP, no byte is transferred twice.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import socket
import subprocess
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import urlsplit

from mender_client.core.artifact import Compression

from .bench import lean_environment, machine
from .download import served_artifact

_WORKER = Path(__file__).with_name("fetch_worker.py")
_PIECE = 16 * 1024


class Link:
    """A TCP link of limited speed that counts the bytes sent to the client and can cut connections.

    Args:
        port: the server's port on 127.0.0.1.
        bytes_per_second: the speed of the link.
        cut_after_bytes: the number of bytes after which each connection is cut; 0 for never.
    """

    def __init__(self, port: int, *, bytes_per_second: float, cut_after_bytes: int = 0) -> None:
        self._target = port
        self._speed = bytes_per_second
        self._cut_after = cut_after_bytes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.bytes = 0
        self.connected_at: list[float] = []
        self.cut_at: list[float] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connected_at.append(time.monotonic())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIECE)
            server = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._upstream, args=(client, server), daemon=True).start()
            threading.Thread(target=self._downstream, args=(server, client), daemon=True).start()

    def _upstream(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(_PIECE):
                server.sendall(data)
        except OSError:
            return

    def _downstream(self, server: socket.socket, client: socket.socket) -> None:
        began, sent = time.monotonic(), 0
        try:
            while data := server.recv(min(_PIECE, self._cut_after - sent) if self._cut_after else _PIECE):
                client.sendall(data)
                sent += len(data)
                self.bytes += len(data)
                ahead = sent / self._speed - (time.monotonic() - began)
                if ahead > 0.002:
                    time.sleep(ahead)
                if self._cut_after and sent >= self._cut_after:
                    self.cut_at.append(time.monotonic())
                    break
        except OSError:
            pass
        for end in (server, client):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def close(self) -> None:
        """Stop accepting connections."""
        self._listener.close()


def digest(path: Path) -> str:
    """The SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _old(path)


def _old(path: Path) -> str:
    return subprocess.run(["sha256sum", str(path)], check=True, capture_output=True, text=True).stdout.split()[0]


def kills(python: Path, *, mib: int, times: int, seed: int) -> None:
    """Kill the download repeatedly, and let the last run finish."""
    with served_artifact(mib, Compression.NONE) as (server, directory):
        original = server.files / "bench.mender"
        size = original.stat().st_size
        points = sorted(random.Random(seed).sample(range(size // 50, size), times))
        for name in ("this client", "curl -C -"):
            link = Link(urlsplit(server.url).port or 0, bytes_per_second=64e6)
            url = f"https://127.0.0.1:{link.port}/bench.mender"
            data = directory / "data"
            shutil.rmtree(data, ignore_errors=True)
            data.mkdir()
            if name == "this client":
                argv = [str(python), str(_WORKER), url, str(server.certificate), str(data), "bench-1", "bench"]
                partial, whole = data / "artifact.mender.part", data / "artifact.mender"
            else:
                partial = whole = data / "curl"
                argv = ["curl", "-sf", "--cacert", str(server.certificate), "-C", "-", "-o", str(whole), url]
            for point in [*points, None]:
                process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                while point is not None and process.poll() is None:
                    if partial.exists() and partial.stat().st_size >= point:
                        process.kill()
                    time.sleep(0.001)
                process.wait()
            verdict = "identical" if digest(whole) == digest(original) else "DIFFERENT"
            print(
                f"  {times} kills in {mib} MiB, {name:12}: {link.bytes / size:.4f} times the size crossed the link, "
                f"the file is {verdict} (bar 1.02)"
            )
            link.close()


def cuts(python: Path, *, mib: int, is_tls: bool) -> None:
    """Download over a link that is cut after every MiB."""
    with served_artifact(mib, Compression.NONE) as (server, directory):
        original = server.files / "bench.mender"
        port = urlsplit(server.url if is_tls else server.plain_url).port or 0
        link = Link(port, bytes_per_second=64e6, cut_after_bytes=1024 * 1024)
        data = directory / "data"
        data.mkdir()
        url = f"{'https' if is_tls else 'http'}://127.0.0.1:{link.port}/bench.mender"
        began = time.monotonic()
        argv = [str(python), str(_WORKER), url, str(server.certificate), str(data), "bench-1", "bench"]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        seconds, last = time.monotonic() - began, link.connected_at[-1]
        waits = [next(at for at in link.connected_at if at > cut) - cut for cut in link.cut_at if cut < last]
        verdict = "identical" if digest(data / "artifact.mender") == digest(original) else "DIFFERENT"
        print(
            f"  a cut after every MiB of {mib} MiB, {'TLS' if is_tls else 'plain HTTP'}: "
            f"{link.bytes / original.stat().st_size:.4f} times the size crossed the link (bar 1.01), "
            f"{len(link.connected_at)} connections, {seconds:.0f} s, first retry after {waits[0]:.2f} s (bar 2), "
            f"longest wait {max(waits):.2f} s, the file is {verdict}"
        )
        link.close()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="where the kills fall")
    parser.add_argument("--python", type=Path, help="use this interpreter instead of a new lean environment")
    options = parser.parse_args()
    print(f"interrupted downloads ({machine()})")
    with nullcontext(options.python.parent) if options.python else lean_environment() as binaries:
        kills(binaries / "python", mib=256, times=10, seed=options.seed)
        cuts(binaries / "python", mib=64, is_tls=False)
        cuts(binaries / "python", mib=64, is_tls=True)


if __name__ == "__main__":
    main()
