"""The storage of a simulated device: in memory, so that it needs no files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

from mender_client.core.model import LogMessage
from mender_client.core.record import Record

_PLENTY_BYTES = 1 << 40


class MemoryJournal:
    """The state file; see ``core.ports.Journal``."""

    __slots__ = ("_record",)

    def __init__(self) -> None:
        self._record = Record()

    def load(self) -> Record:
        return self._record

    def update(self, change: Callable[[Record], Record]) -> Record:
        self._record = change(self._record)
        return self._record

    @contextmanager
    def sending(self) -> Iterator[None]:
        yield


class MemoryMark:
    """The lock file, or the trace of an installation; see ``core.ports.Lock`` and ``installers.callback.Trace``."""

    __slots__ = ("_text",)

    def __init__(self) -> None:
        self._text = ""

    def read(self) -> str | None:
        return self._text or None

    def write(self, text: str) -> None:
        self._text = text

    def remove(self) -> None:
        self._text = ""


class MemoryTrace(MemoryMark):
    """The progress of an installation."""

    __slots__ = ()

    def read(self) -> str:
        return self._text


class PassingArtifact:
    """An Artifact whose bytes are counted and discarded; see ``core.ports.PartialFile``.

    The reader verifies it as it arrives. After a restart nothing is left, and the download starts from the beginning.
    """

    __slots__ = ()

    def readinto(self, buffer: memoryview, /) -> int:  # noqa: ARG002
        return 0

    def write(self, data: memoryview, /) -> None:
        """Discard the bytes."""

    def restart(self) -> None:
        """Do nothing: there is nothing to discard."""

    def seek(self, position: int) -> None:
        """Do nothing: there is no content to seek in."""

    def sync(self) -> None:
        """Do nothing: there is nothing to sync."""

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


class PassingStore:
    """A store that never keeps an Artifact; see ``core.ports.ArtifactStore``."""

    __slots__ = ()
    artifact = Path("/nonexistent/artifact.mender")

    def partial_size(self) -> int:
        return 0

    def open_partial(self) -> PassingArtifact:
        return PassingArtifact()

    def open_rewritten(self) -> object:
        raise NotImplementedError("a simulated device has nothing to put an Artifact together from")

    def adopt_rewritten(self) -> None:
        """There is none."""

    def discard_rewritten(self) -> None:
        """There is none."""

    def commit(self) -> None:
        """Do nothing: the Artifact was verified and discarded."""

    def discard(self) -> None:
        """Do nothing: there is nothing to discard."""

    def free_bytes(self) -> int:
        return _PLENTY_BYTES


class MadeUpLog:
    """A deployment log of a realistic length; see ``core.ports.DeploymentLog``.

    The real log messages of the devices in one process can't be told apart, and would fill its memory.

    Args:
        lines: how many lines a failed device sends.
    """

    __slots__ = ("_lines", "_reason")

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._reason = "the update failed"

    def fail(self, reason: str) -> None:
        """End the log with this line."""
        self._reason = reason

    def begin(self, deployment_id: str) -> None:
        """Nothing is recorded."""

    def end(self) -> None:
        """Nothing is recorded."""

    def trim(self) -> None:
        """Do nothing: the log can't grow."""

    def messages(self, deployment_id: str) -> Sequence[LogMessage]:
        start = datetime.now(timezone.utc) - timedelta(seconds=self._lines)
        steps = [
            LogMessage(start + timedelta(seconds=one), "info", f"deployment {deployment_id}: step {one} of the update")
            for one in range(self._lines - 1)
        ]
        return [*steps, LogMessage(start + timedelta(seconds=self._lines), "error", self._reason)]
