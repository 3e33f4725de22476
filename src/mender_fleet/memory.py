"""What a simulated device keeps: in memory, so that it costs no file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

from mender_client.core.model import LogMessage
from mender_client.core.record import Record

_PLENTY_BYTES = 1 << 40


class MemoryJournal:
    """The record; see ``core.ports.Journal``."""

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
    """The lock, and the trace of an installation; see ``core.ports.Lock`` and ``installers.callback.Trace``."""

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
    """How far an installation has come."""

    __slots__ = ()

    def read(self) -> str:
        return self._text


class PassingArtifact:
    """An Artifact that is counted and forgotten; see ``core.ports.PartialFile``.

    The reader verifies it as it comes. After a restart there is nothing, and the download begins anew.
    """

    __slots__ = ()

    def readinto(self, buffer: memoryview, /) -> int:  # noqa: ARG002
        return 0

    def write(self, data: memoryview, /) -> None:
        """Forget the bytes."""

    def restart(self) -> None:
        """There is nothing to forget."""

    def seek(self, position: int) -> None:
        """There is nothing to go to."""

    def sync(self) -> None:
        """There is nothing to sync."""

    def close(self) -> None:
        """There is nothing to close."""


class PassingStore:
    """The place for an Artifact that is never kept; see ``core.ports.ArtifactStore``."""

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
        """The Artifact was verified, and is gone."""

    def discard(self) -> None:
        """There is nothing to discard."""

    def free_bytes(self) -> int:
        return _PLENTY_BYTES


class MadeUpLog:
    """The log of a deployment, as long as a real one; see ``core.ports.DeploymentLog``.

    What the devices of one process log can't be told apart, and would fill its memory.

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
        """It can't grow."""

    def messages(self, deployment_id: str) -> Sequence[LogMessage]:
        start = datetime.now(timezone.utc) - timedelta(seconds=self._lines)
        steps = [
            LogMessage(start + timedelta(seconds=one), "info", f"deployment {deployment_id}: step {one} of the update")
            for one in range(self._lines - 1)
        ]
        return [*steps, LogMessage(start + timedelta(seconds=self._lines), "error", self._reason)]
