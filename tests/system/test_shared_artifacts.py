"""A single download for all devices that are offered the same Artifact."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mender_client.core.ports import Body
from mender_client.core.resume import Continuation, RemoteObject, judge
from mender_client.errors import ErrorKind, NetworkError
from mender_client.system.shared_artifacts import SharedArtifacts

CONTENT = bytes(random.Random(3).randbytes(300_000))
URL = "https://storage/artifacts/one?signature={}"


class Answer:
    """A response of the storage, whose body breaks off once, after ``storage.left`` bytes."""

    def __init__(self, storage: Storage, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.status = status
        self.headers = headers
        self._storage = storage
        self._data = data
        self.is_closed = False

    def readinto(self, buffer: memoryview, /) -> int:
        assert not self.is_closed
        piece = self._data[: min(len(buffer), self._storage.piece)]
        self._storage.left -= len(piece)
        if self._storage.left < 0:
            self._storage.left = 10**9
            raise NetworkError("NET99", "broken off", kind=ErrorKind.BROKEN_OFF)
        self._data = self._data[len(piece) :]
        self._storage.sent += len(piece)
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self.is_closed = True


class Storage:
    """An object store with one object, and the transport of all devices."""

    def __init__(self, content: bytes = CONTENT, etag: str = '"one"') -> None:
        self.content = content
        self.etag = etag
        self.piece = 10_000
        self.left = 10**9
        self.sent = 0
        self.knows_conditions = True
        self.answers: list[tuple[int, str]] = []
        self.refuses = ""
        self.downloads = 0
        self._lock = threading.Lock()

    def open(self, url: str, headers: Mapping[str, str]) -> Answer:
        """As ``Transport.open``."""
        with self._lock:
            status, said, data = self._answer(url, headers)
            self.answers.append((status, url))
        return Answer(self, status, {"etag": self.etag, **said}, data)

    def _answer(self, url: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        if self.refuses and url.endswith(self.refuses):
            return 403, {}, b"denied"
        if self.knows_conditions and headers.get("If-None-Match") == self.etag:
            return 304, {}, b""
        if "Range" in headers and headers.get("If-Range", self.etag) == self.etag:
            first = int(headers["Range"].removeprefix("bytes=").partition("-")[0])
            total = len(self.content)
            span = f"bytes {first}-{total - 1}/{total}"
            return 206, {"content-range": span, "content-length": str(total - first)}, self.content[first:]
        return 200, {"content-length": str(len(self.content))}, self.content

    def rest(self) -> None:
        """As ``Transport.rest``."""


@pytest.fixture
def storage() -> Storage:
    """A store with one object."""
    return Storage()


@pytest.fixture
def fetch(tmp_path: Path, storage: Storage) -> Callable[..., bytes]:
    """Downloads the object as one of the devices, which may already have its first bytes."""
    store: Any = storage  # it has the methods of a transport that are used
    artifacts = SharedArtifacts(tmp_path, lambda _: store)

    def fetch_as(
        device: str, *, has: int = 0, until: int | None = None, pause: Callable[[], None] = lambda: None
    ) -> bytes:
        data = bytearray(CONTENT[:has])
        known = RemoteObject()
        buffer = memoryview(bytearray(7_000))
        for _ in range(20):
            headers = {"Range": f"bytes={len(data)}-"} if data else {}
            body = artifacts.open(store, URL.format(device), headers)
            verdict, known = judge(body.status, body.headers, offset=len(data), known=known)
            assert verdict is Continuation.CONTINUE
            try:
                while count := body.readinto(buffer):
                    data += buffer[:count]
                    pause()
                    if until is not None and len(data) >= until:
                        return bytes(data)
                return bytes(data)
            except NetworkError:
                continue
            finally:
                body.close()
        raise AssertionError("it never ended")

    return fetch_as


Fetch = Callable[..., bytes]


def read_all(body: Body) -> bytes:
    """Read a body to its end, and close it."""
    data, buffer = bytearray(), memoryview(bytearray(7_000))
    with contextlib.closing(body):
        while count := body.readinto(buffer):
            data += buffer[:count]
    return bytes(data)


def test_once_for_all(storage: Storage, fetch: Fetch, tmp_path: Path) -> None:
    """The object is downloaded once; other devices check it with their own links, and no file is left."""
    assert [CONTENT] * 3 == [fetch(name) for name in ("a", "b", "c")]
    assert len(CONTENT) == storage.sent
    assert [200, 304, 304] == [status for status, _ in storage.answers]
    assert ["a", "b", "c"] == [url.rpartition("=")[2] for _, url in storage.answers]
    assert [] == list(tmp_path.iterdir())


def test_all_at_once(storage: Storage, fetch: Fetch) -> None:
    """Devices that download at the same time, some of them slowly, share a single download."""
    found: dict[str, bytes] = {}
    gate = threading.Barrier(8)

    def run(number: int) -> None:
        gate.wait()
        found[str(number)] = fetch(str(number), pause=lambda: None if number % 2 else threading.Event().wait(0.0005))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [CONTENT] * 8 == list(found.values())
    assert len(CONTENT) == storage.sent


def test_whoever_gives_up_takes_nothing_from_the_others(storage: Storage, fetch: Fetch) -> None:
    """If a device gives up, the bytes received so far are kept, and the next device continues the download."""
    fetch("a", until=50_000)
    assert CONTENT == fetch("b")
    assert len(CONTENT) == storage.sent


def test_broken_off(storage: Storage, fetch: Fetch) -> None:
    """A download that breaks off is continued with the next request, and no byte is downloaded twice."""
    storage.left = 120_000
    assert CONTENT == fetch("a")
    assert CONTENT == fetch("b")
    assert len(CONTENT) == storage.sent


def test_broken_off_for_all(storage: Storage, tmp_path: Path) -> None:
    """A download that broke off is continued with the link of the device that asks next."""
    store: Any = storage
    artifacts = SharedArtifacts(tmp_path, lambda _: store)
    storage.left = 120_000
    with pytest.raises(NetworkError):
        read_all(artifacts.open(store, URL.format("a"), {}))
    assert CONTENT == read_all(artifacts.open(store, URL.format("b"), {}))
    assert [(200, URL.format("a")), (206, URL.format("b"))] == storage.answers
    assert len(CONTENT) == storage.sent


def test_what_a_device_has_is_used(storage: Storage, fetch: Fetch) -> None:
    """A device with the first bytes on disk continues from there, whether or not it is the first device."""
    assert CONTENT == fetch("a", has=100_000)
    assert CONTENT == fetch("b", has=200_000)
    assert len(CONTENT) == storage.sent


def test_another_object(storage: Storage, fetch: Fetch) -> None:
    """If the object has changed, all devices get the new one from then on."""
    fetch("a")
    storage.content, storage.etag = CONTENT[::-1], '"two"'
    assert storage.content == fetch("b")
    assert storage.content == fetch("c")
    assert storage.sent <= 3 * len(CONTENT)


def test_no_strong_etag(storage: Storage, fetch: Fetch) -> None:
    """Without a strong ETag, which could identify the object, each device downloads it separately."""
    storage.etag = 'W/"one"'
    assert [CONTENT] * 2 == [fetch("a"), fetch("b")]
    assert len(CONTENT) * 2 == storage.sent


def test_storage_without_conditions(storage: Storage, fetch: Fetch) -> None:
    """If the storage ignores the condition and sends the object, its ETag shows that the object is the same."""
    storage.knows_conditions = False
    assert [CONTENT] * 2 == [fetch("a"), fetch("b")]
    assert len(CONTENT) == storage.sent


def test_a_link_that_is_refused(storage: Storage, tmp_path: Path) -> None:
    """A device whose link the storage refuses gets that response, even if the object was downloaded for others."""
    store: Any = storage
    artifacts = SharedArtifacts(tmp_path, lambda _: store)
    artifacts.open(store, URL.format("a"), {}).close()
    storage.refuses = "b"
    assert 403 == artifacts.open(store, URL.format("b"), {}).status


def test_not_without_tls(storage: Storage, tmp_path: Path) -> None:
    """Downloads without TLS are not shared: someone on the network could have changed them for all devices."""
    store: Any = storage
    artifacts = SharedArtifacts(tmp_path, lambda _: store)
    for name in ("a", "b"):
        artifacts.open(store, URL.format(name).replace("https", "http"), {}).close()
    assert [200, 200] == [status for status, _ in storage.answers]


def test_no_room(storage: Storage, tmp_path: Path) -> None:
    """At most four Artifacts are kept; for a fifth one, the one that has not been read for the longest is dropped."""
    store: Any = storage
    artifacts = SharedArtifacts(tmp_path, lambda _: store)
    for name in ("0", "1", "2", "3", "0", "4", "0", "2", "3", "4", "1"):
        artifacts.open(store, URL.format("a").replace("/one", f"/{name}"), {}).close()
    assert [200] * 4 + [304, 200] + [304] * 4 + [200] == [status for status, _ in storage.answers]


def test_no_room_while_all_are_read(storage: Storage, tmp_path: Path) -> None:
    """While four Artifacts are being read, none of them is dropped: another one is downloaded separately."""
    store: Any = storage
    artifacts = SharedArtifacts(tmp_path, lambda _: store)
    held = [artifacts.open(store, URL.format("a").replace("/one", f"/{number}"), {}) for number in range(4)]
    alone = artifacts.open(store, URL.format("a").replace("/one", "/more"), {})
    assert isinstance(alone, Answer)
    for number in range(4):
        artifacts.open(store, URL.format("b").replace("/one", f"/{number}"), {}).close()
    assert [304] * 4 == [status for status, _ in storage.answers[-4:]]
    for body in held:
        body.close()
