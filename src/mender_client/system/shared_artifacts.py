"""A single download for all devices that are offered the same Artifact.

The first device starts the download, and the others read it at their own pace: a device that reaches the end of the
stored data reads more from the network, for all. So a slow device doesn't delay the others, and a device that gives up
doesn't affect them.

The storage decides whether an Artifact is the same: each device asks, with its own link, whether the object still has
this ETag. Only downloads over TLS are shared, so that no one on the network can change an Artifact for all devices; and
each device verifies what it reads.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from mender_client import TYPE_CHECKING
from mender_client.core.resume import ContentRange, parse_content_length, parse_content_range
from mender_client.errors import ErrorKind, NetworkError

from .netfaults import origin

if TYPE_CHECKING:
    from mender_client.core.ports import Body

    from .http import HttpTransport

_PIECE_BYTES = 256 * 1024
_MOST_ARTIFACTS = 4
_MOST_REMEMBERED = 100
_MOST_OF_FREE_SPACE = 0.5
_UNUSED_SECONDS = 3600.0


class _Opening:
    """A lock for the threads that open the same Artifact, and their number."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads = 0


class SharedArtifacts:
    """The shared Artifacts, in unlinked files, which disappear with the process however it ends.

    Args:
        directory: a directory on the file system that is to hold them.
        new_transport: makes a transport for one download, which obeys the rules for links of the given one.
    """

    def __init__(self, directory: Path, new_transport: Callable[[HttpTransport], HttpTransport]) -> None:
        self._directory = directory
        self._new_transport = new_transport
        self._lock = threading.Lock()
        self._opening: dict[str, _Opening] = {}
        self._shared: dict[str, _Shared] = {}
        self._alone: set[str] = set()

    def open(self, own: HttpTransport, url: str, headers: Mapping[str, str]) -> Body:
        """As ``Transport.open``; a request that can't be shared, such as a range with an end, uses ``own`` alone.

        Args:
            own: the transport for the device's own requests.
            url: the device's link.
            headers: as for ``Transport.open``.
        """
        offset = _offset(headers)
        key = f"{origin(url)}{urlsplit(url).path}"
        if offset is None or urlsplit(url).scheme != "https" or key in self._alone:
            return own.open(url, headers)
        with self._alone_with(key):
            shared = self._shared.get(key)
            if shared is None:
                shared = self._begin(own, key, url)
            elif shared.is_broken:
                shared = self._continue(own, key, url, shared)
            elif not _is_same(own, url, shared):
                self._drop(key)
                shared = None
            reader = None if shared is None else shared.reader(offset)
        return own.open(url, headers) if reader is None else reader

    @contextmanager
    def _alone_with(self, key: str) -> Iterator[None]:
        """Prevent other threads from opening the same Artifact meanwhile."""
        with self._lock:
            opening = self._opening.setdefault(key, _Opening())
            opening.threads += 1
        try:
            with opening.lock:
                yield
        finally:
            with self._lock:
                opening.threads -= 1
                if not opening.threads:
                    del self._opening[key]

    def _begin(self, own: HttpTransport, key: str, url: str) -> _Shared | None:
        """Begin a download; None if it can't be shared."""
        with self._ask(own, url, {}) as (answer, transport):
            total, etag = parse_content_length(answer.headers), answer.headers.get("etag", "")
            if answer.status != 200:
                return None
            if not total or not etag.startswith('"'):  # there is no strong validator to compare
                self._alone.add(key)
                return None
            if not self._has_room(total):
                return None
            with suppress(OSError):
                self._shared[key] = _Shared(self._directory, etag, total, answer, transport)
        return self._shared.get(key)

    def _continue(self, own: HttpTransport, key: str, url: str, broken: _Shared) -> _Shared | None:
        """Continue a download that was broken off; None if that is impossible."""
        with self._ask(own, url, {"Range": f"bytes={broken.count}-", "If-Range": broken.etag}) as (answer, transport):
            if broken.continues_with(answer, transport):
                return broken
            if answer.status in (200, 206, 416):
                self._drop(key)  # the object has changed
        return None

    @contextmanager
    def _ask(self, own: HttpTransport, url: str, headers: Mapping[str, str]) -> Iterator[tuple[Body, HttpTransport]]:
        """Request an object over a new connection, which is closed unless a shared download uses the response."""
        transport = self._new_transport(own)
        answer = None
        try:
            answer = transport.open(url, headers)
            yield answer, transport
        finally:
            if not any(one.has_taken(answer) for one in list(self._shared.values())):
                if answer is not None:
                    answer.close()
                transport.rest()

    def _has_room(self, total: int) -> bool:
        """Whether there is space for a download; Artifacts without readers are dropped if there are too many."""
        unused = sorted((one.used_at, key) for key, one in list(self._shared.items()) if not one.readers)
        while len(self._shared) >= _MOST_ARTIFACTS and unused:
            self._drop(unused.pop(0)[1])
        with suppress(OSError):
            state = os.statvfs(self._directory)
            free = state.f_bavail * state.f_frsize
            return len(self._shared) < _MOST_ARTIFACTS and total <= free * _MOST_OF_FREE_SPACE
        return False

    def _drop(self, key: str) -> None:
        if (shared := self._shared.pop(key, None)) is not None:
            shared.retire()

    def expire(self) -> None:
        """Drop the Artifacts that no device has read for an hour."""
        if len(self._alone) > _MOST_REMEMBERED:
            self._alone.clear()
        before = time.monotonic() - _UNUSED_SECONDS
        for key, one in list(self._shared.items()):
            if not one.readers and one.used_at < before:
                self._drop(key)

    def close(self) -> None:
        """Drop all Artifacts."""
        for key in list(self._shared):
            self._drop(key)


def _is_same(own: HttpTransport, url: str, shared: _Shared) -> bool:
    """Ask the storage, with the device's own link, whether the object is the one being shared.

    Raises:
        NetworkError: the storage didn't answer.
    """
    answer = own.open(url, {"If-None-Match": shared.etag})
    answer.close()
    return answer.status == 304 or (answer.status == 200 and answer.headers.get("etag") == shared.etag)


class _Shared:
    """A shared download; the data received so far is in a file.

    Raises:
        OSError: the file can't be created.
    """

    def __init__(self, directory: Path, etag: str, total: int, body: Body, transport: HttpTransport) -> None:
        name = directory / f".artifact.{os.urandom(8).hex()}.tmp"
        self._descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(name)
        self.etag = etag
        self.total = total
        self.count = 0
        self.readers = 0
        self.used_at = time.monotonic()
        self.is_broken = False
        self._body: Body | None = body
        self._transport = transport
        self._lock = threading.Lock()
        self._is_retired = False

    def has_taken(self, answer: Body | None) -> bool:
        """Whether the download is read from this response."""
        return answer is not None and self._body is answer

    def reader(self, offset: int) -> SharedBody | None:
        """A reader for one device, starting at this offset; None if the file has been closed meanwhile."""
        with self._lock:
            if self._descriptor < 0:
                return None
            self.readers += 1
            self.used_at = time.monotonic()
        return SharedBody(self, offset)

    def continues_with(self, answer: Body, transport: HttpTransport) -> bool:
        """Continue with a response if it is the rest of the object; returns whether it is."""
        expected = ContentRange(self.count, self.total - 1, self.total)
        said = parse_content_range(answer.headers.get("content-range", ""))
        if answer.status != 206 or said != expected or answer.headers.get("etag") != self.etag:
            return False
        with self._lock:
            self._body, self._transport, self.is_broken = answer, transport, False
        return True

    def read(self, offset: int, buffer: memoryview) -> int:
        """Read stored data, or else from the network; raises the same errors as ``Body.readinto``."""
        while self.count <= offset < self.total:
            self._pull(offset)
        return os.preadv(self._descriptor, [buffer], offset)

    def _pull(self, offset: int) -> None:
        with self._lock:
            if self.count > offset:
                return  # another thread has read it meanwhile
            if self._body is None:
                raise NetworkError("GTW11", "the download that others share was interrupted", kind=ErrorKind.BROKEN_OFF)
            try:
                piece = memoryview(bytearray(min(_PIECE_BYTES, self.total - self.count)))
                got = self._body.readinto(piece)
                os.pwrite(self._descriptor, piece[:got], self.count)
            except OSError as error:
                self._end(is_broken=True)
                text = f"the download that others share can't be stored: {error.strerror}"
                raise NetworkError("GTW12", text, kind=ErrorKind.BROKEN_OFF) from error
            except BaseException:
                self._end(is_broken=True)
                raise
            self.count += got
            if self.count >= self.total:
                self._end(is_broken=False)

    def _end(self, *, is_broken: bool) -> None:
        self.is_broken = is_broken
        if self._body is not None:
            self._body.close()
            self._body = None
        self._transport.rest()

    def left(self) -> None:
        """Note that a device has closed its reader."""
        with self._lock:
            self.readers -= 1
            self.used_at = time.monotonic()
            self._free()

    def retire(self) -> None:
        """Accept no more readers, and close the file after the last one."""
        with self._lock:
            self._is_retired = True
            self._free()

    def _free(self) -> None:
        if self._is_retired and not self.readers and self._descriptor >= 0:
            self._end(is_broken=True)
            os.close(self._descriptor)
            self._descriptor = -1


class SharedBody:
    """The response as a device reads it; see ``core.ports.Body``."""

    def __init__(self, shared: _Shared, offset: int) -> None:
        self._shared: _Shared | None = shared
        self._offset = offset
        self.status = 206 if offset else 200
        self.headers: Mapping[str, str] = {"etag": shared.etag, "content-length": str(shared.total - offset)}
        if offset:
            span = f"bytes {offset}-{shared.total - 1}/{shared.total}"
            self.headers = {**self.headers, "content-range": span}

    def readinto(self, buffer: memoryview, /) -> int:
        count = 0 if self._shared is None else self._shared.read(self._offset, buffer)
        self._offset += count
        return count

    def close(self) -> None:
        if self._shared is not None:
            self._shared.left()
            self._shared = None


def _offset(headers: Mapping[str, str]) -> int | None:
    """The offset of a request for the rest of an object; None for any other range."""
    wanted = headers.get("Range", "bytes=0-")
    first = wanted.removeprefix("bytes=").removesuffix("-")
    return int(first) if wanted == f"bytes={first}-" and first.isdecimal() else None
