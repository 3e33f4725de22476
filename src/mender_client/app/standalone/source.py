"""The source of the Artifact for ``install``: a file, standard input, or a web server."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack

from mender_client.app.artifact.files import STANDARD_INPUT, FileStream
from mender_client.app.assemble import DeviceParts
from mender_client.app.config import Config
from mender_client.app.progress import ProgressBar
from mender_client.client.retries import RenewableLink, RetryBudget
from mender_client.client.stream import NOTHING_STORED, ArtifactStream, Progress
from mender_client.core.artifact.stream import Readable
from mender_client.core.model import Link
from mender_client.core.resume import RemoteObject
from mender_client.system.clock import jitter


def is_address(source: str) -> bool:
    """Whether an Artifact comes from a web server."""
    return source.startswith(("http://", "https://"))


def open_source(parts: DeviceParts, config: Config, source: str, stack: ExitStack) -> Readable:
    """Open an Artifact for reading.

    Args:
        parts: the parts of the device.
        config: the settings.
        source: the path of a file, an http or https address, or ``-`` for standard input.
        stack: closes the Artifact at the end.

    Raises:
        StorageError: the file can't be opened.
    """
    progressed = ProgressBar(sys.stderr) if sys.stderr.isatty() else lambda _: None
    if is_address(source):
        stream = _download(parts, config, source, progressed)
        stack.callback(stream.close)
        return stream
    file = stack.enter_context(FileStream(source, lambda: parts.clock.is_stopping))
    if source == STANDARD_INPUT:
        _empty_standard_input()
    total = os.path.getsize(source) if source != STANDARD_INPUT and os.path.isfile(source) else None
    return _Shown(file, total, progressed)


def _empty_standard_input() -> None:
    """Replace standard input by /dev/null, so that modules and scripts, which inherit it, don't read the Artifact."""
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.close(nothing)


def _download(parts: DeviceParts, config: Config, url: str, progressed: Callable[[Progress], None]) -> ArtifactStream:
    """A download that fails immediately if it can't begin, and is retried as configured once it has begun."""
    retries = RetryBudget(
        clock=parts.clock,
        limit=0,
        patience_seconds=0.0,
        longest_wait_seconds=config.retry_poll_seconds,
        random=jitter,
        interrupted=lambda: None,
    )

    def received(progress: Progress) -> None:
        retries.limit, retries.patience_seconds = config.retry_download_count, config.retry_download_seconds
        progressed(progress)

    return ArtifactStream(
        transport=parts.transport,
        clock=parts.clock,
        link=RenewableLink(link=Link(url), renew=lambda: Link(url)),
        partial=NOTHING_STORED,
        remote_object=RemoteObject(),
        retries=retries,
        described=lambda _, __: None,
        progressed=received,
        alive=lambda: None,
        pace_limits=parts.pace_limits,
    )


class _Shown:
    """Reads a file, and shows the progress."""

    def __init__(self, file: FileStream, total: int | None, progressed: Callable[[Progress], None]) -> None:
        self._file = file
        self._total = total
        self._progressed = progressed
        self._done = 0

    def readinto(self, buffer: memoryview, /) -> int:
        """As ``FileStream``."""
        count = self._file.readinto(buffer)
        self._done += count
        if count:
            self._progressed(Progress(self._done, self._total, 0))
        return count
