"""Stream an image into a partition, compared with curl and sha256sum: ``python -m benchmarks.install``.

The partition is a file. The client streams 512 MiB over HTTPS from nginx on loopback into an update module that writes
them to it, and verifies the data on the way; the other tools download to the same file and compute its checksum. They
are run alternately several times, and the fastest run of each counts. The files are written to TMPDIR.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mender_client.core.artifact import Compression

from .bench import lean_environment, machine
from .download import Cost, in_turn, run_command, served_artifact

_MIB = 512
_MODULE = """\
#!/bin/sh
[ "$1" = Download ] || exit 0
while read -r file <stream-next && [ -n "$file" ]; do cat "$file" >"{partition}"; done
"""


def make_device(root: Path, certificate: Path, partition: Path) -> None:
    """Create a device with the update module in a directory."""
    module = root / "usr/share/mender/modules/v3/rootfs-image"
    for directory in (module.parent, root / "etc/mender", root / "var/lib/mender"):
        directory.mkdir(parents=True)
    module.write_text(_MODULE.format(partition=partition))
    module.chmod(0o755)
    (root / "etc/mender/server.crt").write_bytes(certificate.read_bytes())
    (root / "etc/mender/mender.conf").write_text(
        json.dumps({"ServerURL": "https://localhost", "ServerCertificate": "/etc/mender/server.crt"})
    )
    (root / "var/lib/mender/device_type").write_text("device_type=bench\n")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="runs of each; the fastest counts")
    options = parser.parse_args()
    print(machine())
    print(f"{_MIB} MiB over https into a partition, streamed and verified")
    with lean_environment() as binaries, served_artifact(_MIB, Compression.NONE) as (server, directory):
        partition, root, url = directory / "partition", directory / "root", f"{server.url}/bench.mender"
        make_device(root, server.certificate, partition)
        fetch = f"curl -sf --cacert {server.certificate} {url} >{partition} && sha256sum {partition}"
        client = [str(binaries / "mender-python-client"), "--root", str(root), "-l", "error"]

        def install() -> Cost:
            cost = run_command([*client, "install", url])  # without rollback, it is committed immediately
            assert partition.stat().st_size == _MIB * 1024 * 1024
            return cost

        costs = in_turn(
            {"curl, then sha256sum": lambda: run_command(["sh", "-c", fetch]), "install": install}, options.times
        )
    peer, ours = costs.values()
    print(
        f"  wall: {ours.wall_seconds / peer.wall_seconds:.2f} times curl and sha256sum (bar 1.3); "
        f"peak memory of the client: {ours.peak_mib:.1f} MiB (bar 34)"
    )


if __name__ == "__main__":
    main()
