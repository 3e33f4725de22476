"""An Artifact that can be refused because of its header is refused before its payload of 64 MiB is downloaded."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mender_client.client.download import Downloader
from mender_client.client.download_policy import DownloadPolicy
from mender_client.client.status_tracker import StatusTracker
from mender_client.core.artifact import (
    ArtifactSpec,
    Compression,
    PayloadSource,
    Readable,
    SignatureCheck,
    rootfs_image,
    write_artifact,
)
from mender_client.core.model import Deployment, Link, NextForm, Provides
from mender_client.errors import ArtifactError
from mender_client.system.clock import SystemClock
from mender_client.system.http import HttpTransport
from mender_client.system.journal import JsonJournal
from mender_client.system.store import ArtifactDirectory
from mender_client.system.tls import TlsSettings

SIZE = 64 * 1024 * 1024
MOST_FETCHED = 256 * 1024
PLAIN = rootfs_image("release-2", ["board"], compression=Compression.NONE)


class _Zeros:
    def __init__(self) -> None:
        self._left = SIZE

    def readinto(self, buffer: memoryview, /) -> int:
        count = min(self._left, len(buffer))
        buffer[:count] = bytes(count)
        self._left -= count
        return count


@contextmanager
def zeros() -> Iterator[Readable]:
    """A payload of 64 MiB."""
    yield _Zeros()


def no_key_made_it(_: bytes, signature: bytes) -> None:
    """The check of a key with which no signature in these tests was made."""
    raise ArtifactError("cannot accept the Artifact: its signature was made by none of the keys")


def write(path: Path, spec: ArtifactSpec, *, is_signed: bool, is_lying: bool) -> None:
    """Write the Artifact; if ``is_lying``, its manifest has a wrong digest for the header."""
    with path.open("w+b") as out:
        sign = (lambda manifest: b"s" * 64) if is_signed else None
        write_artifact(out, spec, [PayloadSource("rootfs.img", SIZE, zeros)], sign=sign)
        if is_lying:
            out.seek(0)
            head = out.read(8192)
            digest = re.search(rb"[0-9a-f]{64}(?=  header\.tar)", head)
            assert digest is not None
            out.seek(digest.start())
            out.write(b"0" * 64)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send until the client closes the connection."""
        with suppress(ConnectionError):
            super().copyfile(source, outputfile)


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve a directory over plain HTTP; yields the base URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(directory))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


CASES: dict[str, tuple[ArtifactSpec, bool, SignatureCheck | None, str]] = {
    "wrong device type": (replace(PLAIN, device_types=("other",)), False, None, "device_type"),
    "missing signature": (PLAIN, False, no_key_made_it, "it is not signed"),
    "wrong signature": (PLAIN, True, no_key_made_it, "none of the keys"),
    "unmet depends": (replace(PLAIN, depends_groups=("beta",)), False, None, "artifact_group"),
    "lying manifest": (PLAIN, False, None, "header"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused_after_the_header(tmp_path: Path, case: str) -> None:
    """If an Artifact of 64 MiB is refused because of its header, less than 256 KiB of it have been stored."""
    spec, is_signed, check, words = CASES[case]
    artifact = tmp_path / "big.mender"
    write(artifact, spec, is_signed=is_signed, is_lying=case == "lying manifest")
    with served(tmp_path) as base:
        link = f"{base}/{artifact.name}"
        store = ArtifactDirectory(tmp_path / "artifact.mender")
        journal = JsonJournal(tmp_path / "journal.json")
        deployment = Deployment("dep-1", "release-2", ("board",), Link(link))
        provides = Provides("board", "release-1")
        update = journal.update(lambda record: record.begun(deployment, provides, NextForm.V1_POST, now="")).update
        assert update is not None
        downloader = Downloader(
            tracker=StatusTracker(SystemClock()),
            transport=HttpTransport(tls=TlsSettings(), user_agent="test"),
            clock=SystemClock(),
            store=store,
            journal=journal,
            policy=DownloadPolicy(check_signature=check),
            random=lambda: 0.0,
        )
        with pytest.raises(ArtifactError, match=words):
            downloader.fetch(update, lambda: Link(link))
    assert 0 < store.partial_size() < MOST_FETCHED
