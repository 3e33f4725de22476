"""Downloads, verifies and stores one Artifact with the client's own components, and prints the cost as JSON.

The download benchmarks run it in the lean environment:
``fetch_worker.py URL CA FOLDER NAME DEVICE_TYPE [--stream SEED …]``. With ``--stream`` the payload is streamed into a
file in FOLDER, and blocks that the seeds contain are not downloaded.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from functools import partial
from pathlib import Path

from mender_client.client.download import Downloader
from mender_client.client.download_policy import DownloadPolicy
from mender_client.client.status_tracker import StatusTracker
from mender_client.core.artifact import ArtifactReader, Header
from mender_client.core.model import Deployment, Link, NextForm, Provides
from mender_client.core.record import Record
from mender_client.system.clock import SystemClock
from mender_client.system.digest import choose_digest
from mender_client.system.http import HttpTransport
from mender_client.system.journal import JsonJournal
from mender_client.system.seeds import DeviceSeeds
from mender_client.system.store import ArtifactDirectory
from mender_client.system.tls import TlsSettings


def _write(partition: Path, _: Header, reader: ArtifactReader) -> None:
    buffer = memoryview(bytearray(256 * 1024))
    with partition.open("wb", buffering=0) as file:
        for payload_file in reader.payload_files():
            while count := payload_file.readinto(buffer):
                file.write(buffer[:count])


def main() -> None:
    """Download the Artifact and print the cost."""
    url, ca, directory, name, device_type = sys.argv[1:6]
    is_streamed, seeds = sys.argv[6:7] == ["--stream"], [Path(one) for one in sys.argv[7:]]
    data = Path(directory)
    clock = SystemClock()
    journal = JsonJournal(data / "journal.json")
    deployment = Deployment("bench", name, (device_type,), Link(url))
    provides = Provides(device_type, "bench-0")

    def begun(record: Record) -> Record:
        return record.begun(deployment, provides, NextForm.V1_POST, now="")

    update = journal.update(begun).update
    assert update is not None
    downloader = Downloader(
        tracker=StatusTracker(clock),
        transport=HttpTransport(tls=TlsSettings(ca_file=Path(ca) if ca else None), user_agent="bench"),
        clock=clock,
        store=ArtifactDirectory(data / "artifact.mender"),
        journal=journal,
        policy=DownloadPolicy(),
        random=lambda: 0.5,
        new_digest=choose_digest(),
        seeds=DeviceSeeds([], seeds) if seeds else None,
    )
    start = time.monotonic()
    if is_streamed:
        consume = partial(_write, data / "partition")
        downloader.stream(update, lambda: Link(url), accept=lambda _: None, consume=consume)
    else:
        downloader.fetch(update, lambda: Link(url))
    wall = time.monotonic() - start
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "wall_seconds": wall,
                "cpu_seconds": usage.ru_utime + usage.ru_stime,
                "user": usage.ru_utime,
                "sys": usage.ru_stime,
                "faults": usage.ru_minflt,
                "peak_mib": usage.ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
