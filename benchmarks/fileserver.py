"""nginx as the file server of the download benchmarks, on loopback, with a self-signed certificate."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_CONFIG = """
worker_processes 1;
user root root;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
daemon off;
events {{ worker_connections 64; }}
http {{
  log_format traffic '$bytes_sent $request_length';
  access_log {directory}/access.log traffic;
  sendfile on;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    listen 127.0.0.1:{plain_port};
    ssl_certificate {directory}/server.crt;
    ssl_certificate_key {directory}/server.key;
    root {directory}/files;
    location /slow/ {{ alias {directory}/files/; limit_rate 6250k; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class FileServer:
    """A running file server: put files into ``files``, fetch them below one of the URLs, and trust ``certificate``.

    Below ``slow/``, a reply is limited to 50 Mbit/s.
    """

    url: str
    plain_url: str
    certificate: Path
    files: Path

    def traffic(self) -> tuple[int, int]:
        """The number of requests so far, and the bytes of requests and replies."""
        lines = (self.files.parent / "access.log").read_text().splitlines()
        return len(lines), sum(int(number) for line in lines for number in line.split())


@contextmanager
def nginx(directory: Path) -> Iterator[FileServer]:
    """Run nginx with TLS within the context."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        raise SystemExit("cannot find nginx: install the distribution's nginx package (nginx-light will do)")
    files = directory / "files"
    files.mkdir(parents=True)
    directory.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        port, plain_port = one.getsockname()[1], other.getsockname()[1]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(directory / "server.key"), "-out", str(directory / "server.crt")],
        check=True, capture_output=True,
    )  # fmt: skip
    (directory / "nginx.conf").write_text(_CONFIG.format(directory=directory, port=port, plain_port=plain_port))
    process = subprocess.Popen([program, "-c", str(directory / "nginx.conf"), "-e", str(directory / "error.log")])
    try:
        _wait_for(port)
        yield FileServer(f"https://127.0.0.1:{port}", f"http://127.0.0.1:{plain_port}", directory / "server.crt", files)
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("nginx did not start")
