"""The Artifact as one readable stream that resumes broken connections, counts bytes and writes them to disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from mender_client import TYPE_CHECKING
from mender_client.core.resume import Continuation, RemoteObject, judge, range_header
from mender_client.core.text import amount
from mender_client.core.wire.messages import parse_retry_after
from mender_client.dataclass import dataclass
from mender_client.errors import ErrorKind, MenderError, NetworkError

from .pace import Pace, PaceLimits
from .retries import RenewableLink, RetryBudget

if TYPE_CHECKING:
    from mender_client.core.ports import Body, Clock, PartialFile, Transport

_logger = logging.getLogger(__name__)

_FIRST_MEMBER = b"version"
"""Every Artifact begins with this, and no web page does."""


class StartOverError(MenderError):
    """The reply of the storage does not continue the bytes on disk: start from the beginning."""


class AdaptiveError(MenderError):
    """The payload can't be assembled: an ordinary download is required."""


@dataclass(frozen=True)
class Progress:
    """How far a download is, in bytes.

    Attributes:
        done: the bytes available so far.
        total: the size of the Artifact; None if the storage doesn't announce it.
        kept: how many of those available were already on disk when the client last started.
        reused: how many of those available were not downloaded, because the device already had their content.
    """

    done: int
    total: int | None
    kept: int
    reused: int = 0

    @property
    def fetched(self) -> int:
        """How many have been downloaded since the client was started."""
        return self.done - self.kept - self.reused


class _NothingStored:
    """Replaces the partial Artifact if nothing is stored; see ``core.ports.PartialFile``."""

    def readinto(self, buffer: memoryview, /) -> int:  # noqa: ARG002 - there is nothing
        return 0

    def write(self, data: memoryview, /) -> None:
        pass

    def restart(self) -> None:
        pass

    def seek(self, position: int) -> None:
        pass

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


NOTHING_STORED = _NothingStored()


@dataclass(kw_only=True, eq=False, repr=False)
class ArtifactStream:
    """The Artifact's bytes from first to last; see ``core.artifact.Readable``.

    The bytes on disk are read first, then the rest is requested, as often as necessary. An adaptive download requests
    it in parts, and skips those that it doesn't need; bytes after such a gap are not written to disk.

    Attributes:
        partial: the bytes on disk, positioned at their beginning.
        remote_object: what is known about the whole object from an earlier attempt.
        described: called with the properties of the whole object and the number of bytes to come; may raise.
        progressed: called for every piece that is received or skipped.
        alive: called for every piece that is read back from disk, and before each request to the storage.
    """

    transport: Transport
    clock: Clock
    link: RenewableLink
    partial: PartialFile
    remote_object: RemoteObject
    retries: RetryBudget
    described: Callable[[RemoteObject, int | None], None]
    progressed: Callable[[Progress], None]
    alive: Callable[[], None]
    pace_limits: PaceLimits

    def __post_init__(self) -> None:
        self._pace = Pace(self.clock, self.pace_limits)
        self._kept = self._reused = 0
        self._body: Body | None = None
        self._until: int | None = None
        self._body_end: int | None = None
        self._has_gap = False
        self._is_reading_back = True
        self._is_complete = False
        self._refused_links = 0
        self.offset = 0
        self.is_pieced_together = False
        self.is_other_content = False
        self.is_range_ignored = False
        self.is_storing = True

    def ask_until(self, end: int | None) -> None:
        """Limit the next request to the bytes up to an offset; each later one doubles the bytes available.

        None removes the limit: all the rest is requested.
        """
        self._until = end

    @property
    def has_gap(self) -> bool:
        """Whether bytes were skipped, so that those after the gap are not written to disk."""
        return self._has_gap

    @property
    def asks_for_part(self) -> bool:
        """Whether the next request asks for a limited range."""
        return self._until is not None

    @property
    def arriving(self) -> int:
        """The offset up to which bytes are arriving anyway; the current offset if no body is being read."""
        return self.offset if self._body is None else self._body_end or self.remote_object.total or self.offset

    def skip(self, count: int, *, is_resumed: bool = False) -> None:
        """Skip bytes that need not be downloaded.

        Args:
            count: how many.
            is_resumed: whether an earlier attempt downloaded their content; otherwise the device already had it.
        """
        if not count:
            return
        self.close()
        self.offset += count
        self._has_gap = True
        if self._is_reading_back:
            self.partial.seek(self.offset)
        self._kept += count * is_resumed
        self._reused += count * (not is_resumed)
        self._show_progress()

    def readinto(self, buffer: memoryview, /) -> int:
        """Read the next bytes into the buffer, waiting and retrying as long as the policy allows.

        Returns:
            The number of bytes; 0 only when every announced byte has been read.

        Raises:
            StartOverError: the storage's answer does not continue the bytes on disk.
            DownloadError: too many attempts made no progress.
            StorageError: the disk is full or broken.
            SuspendedError: nothing may be downloaded at this time.
            Interrupted: the client was asked to stop.
        """
        if self._is_reading_back:
            count = self.partial.readinto(buffer)
            if count:
                self.offset += count
                self._kept += count
                self.is_pieced_together = True
                self.alive()
                return count
            self._is_reading_back = False
            self.retries.progressed(self.offset)
        while not self._has_all():
            count = self._receive(buffer)
            if count:
                return count
        return 0

    @property
    def is_end_unsure(self) -> bool:
        """Whether the body ended without an announced length, so that it may be truncated."""
        return self._is_complete and self.remote_object.total is None

    def _has_all(self) -> bool:
        return self._is_complete or (self.remote_object.total is not None and self.offset >= self.remote_object.total)

    def _receive(self, buffer: memoryview) -> int:
        """Receive one piece from the network; return 0 if there was none but another attempt may succeed."""
        try:
            if self._body is None:
                self._connect()
                return 0
            count = self._body.readinto(buffer[: self._most_bytes()])
            if not count:
                self._end_body()
                return 0
        except NetworkError as error:
            self.close()
            self._refused_links = 0
            self.retries.failed(error.text, is_refused=error.kind is ErrorKind.REDIRECT)
            return 0
        self._store(buffer[:count])
        try:
            self._pace.received(count)
        except NetworkError as error:
            _logger.info("download interrupted: %s", error.text)
            self.close()
        if self.offset == self._body_end:
            self.close()  # it has been read to its end: the connection can be reused
        return count

    def _most_bytes(self) -> int:
        most = self._pace.piece_bytes
        return most if self._body_end is None else min(most, self._body_end - self.offset)

    def _store(self, data: memoryview) -> None:
        if self.remote_object.total is not None and self.offset + len(data) > self.remote_object.total:
            raise StartOverError("DWN04", "the storage sent more bytes than it announced")
        if not self.offset:
            self.is_other_content = not _FIRST_MEMBER.startswith(bytes(data[: len(_FIRST_MEMBER)]))
        if self.is_storing and not self._has_gap:
            self.partial.write(data)
        self.offset += len(data)
        self._refused_links = 0
        self.retries.progressed(self.offset)
        self._show_progress()

    def shares(self) -> str:
        """Where the bytes have come from, for the log; empty for an ordinary download."""
        if not self._has_gap:
            return ""
        fetched = self.offset - self._kept - self._reused
        resumed = f", resumed {amount(self._kept)}" if self._kept else ""
        return f": fetched {amount(fetched)}, reused {amount(self._reused)}{resumed}"

    def _show_progress(self) -> None:
        self.progressed(Progress(self.offset, self.remote_object.total, self._kept, self._reused))

    def _end_body(self) -> None:
        self.close()
        if self.remote_object.total is None:
            self._is_complete = True  # no length was announced; verification detects a truncated body
        elif self.offset < self._end_of_request(self.remote_object.total, self._body_end):
            text = f"the download was interrupted at byte {self.offset} of {self.remote_object.total}"
            raise NetworkError("DWN05", text, kind=ErrorKind.BROKEN_OFF)

    @staticmethod
    def _end_of_request(total: int, end: int | None) -> int:
        return total if end is None else min(end, total)

    def _connect(self) -> None:
        self._pace.check()
        self.alive()
        uri = self.link.uri()
        if self._until is not None and self.offset >= self._until:
            self._until = 2 * self.offset
        is_bounded = self._until is not None
        try:
            body = self.transport.open(uri, range_header(self.offset, self._until))
        except NetworkError as error:
            if error.kind is ErrorKind.REDIRECT:
                self.link.forget()
            else:
                self.link.unreachable()
            raise
        continuation, remote_object = judge(
            body.status, body.headers, offset=self.offset, known=self.remote_object, is_bounded=is_bounded
        )
        if body.status == 200 and is_bounded:
            self.is_range_ignored, self._until = True, None
        self._body_end = self._until
        if continuation is Continuation.CONTINUE:
            self._body = body
            self._pace = Pace(self.clock, self.pace_limits)
            self._accept(remote_object)
            return
        status, headers = body.status, body.headers
        body.close()
        self._react(continuation, status, headers)

    def _accept(self, remote_object: RemoteObject) -> None:
        if self.offset:
            self.is_pieced_together = True
            if self._until is None and not self._has_gap:
                _logger.info("download resumed at byte %d", self.offset)
        self.remote_object = remote_object
        left = (
            None
            if remote_object.total is None
            else self._end_of_request(remote_object.total, self._until) - self.offset
        )
        self.described(remote_object, left)

    def _react(self, continuation: Continuation, status: int, headers: Mapping[str, str]) -> None:
        """Handle an answer without usable bytes."""
        if continuation is Continuation.COMPLETE:
            self._is_complete = True
            return
        if continuation is Continuation.RESTART and self._has_gap and self.is_range_ignored:
            raise AdaptiveError("DWN24", "the storage ignores the requested ranges")
        if continuation is Continuation.RESTART:
            text = f"the storage's answer ({status}) does not continue the {self.offset} bytes on disk"
            raise StartOverError("DWN06", text)
        if continuation is Continuation.RETRY:
            self._refused_links = 0
            date = headers.get("date", "")
            seconds = parse_retry_after(headers.get("retry-after", ""), now=self.clock.now(), date=date)
            self.retries.failed(f"the storage answered {status}", retry_after_seconds=seconds)
            return
        if self._refused_links:
            self.retries.failed(f"the storage answered {status}, also with a fresh link", is_refused=True)
        else:
            _logger.info("download interrupted: the storage answered %d; asking for a fresh link", status)
        self._refused_links += 1
        self.link.refresh()

    def close(self) -> None:
        """Close the connection."""
        if self._body is not None:
            self._body.close()
            self._body = None
