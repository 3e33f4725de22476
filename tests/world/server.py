"""A Mender server and its object store without sockets: the dev server's rules behind a ``Transport``.

The requests of a kind can be given faults: no connection, a lost response, or another response in its place.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from mender_client.core.wire.messages import Reply, Request
from mender_client.errors import NetworkError
from mender_devserver import messages
from mender_devserver.artifacts import Artifact
from mender_devserver.deployments import ACTIVE, Deployment, DeviceDeployment
from mender_devserver.device_api import DeviceApi
from mender_devserver.devices import KnownDevice
from mender_devserver.messages import FileSlice
from mender_devserver.routes import route
from mender_devserver.state import ServerState

from .clock import START, WorldClock
from .power import Power

URL = "https://mender.invalid"
STORAGE = "https://storage.invalid"
ENDS = frozenset({"success", "failure", "aborted", "already-installed", "noartifact", "decommissioned"})


@dataclass(frozen=True, slots=True)
class Lost:
    """The server handles the request, but its response is lost."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The server can't be reached."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response in place of the server's; the server doesn't get the request."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


Fault = Lost | Refused | Answer
Rule = Callable[[str, int], "Fault | None"]
"""Determines from a request's kind and its number among those of its kind, from 1, whether there is a fault."""


def at(kind: str, fault: Fault, *numbers: int) -> Rule:
    """A rule for the requests of a kind with these numbers; without numbers, for all of them."""
    return lambda a_kind, number: fault if a_kind == kind and (not numbers or number in numbers) else None


class Server:
    """The server's state and operations for tests.

    Args:
        directory: for the dev server's state; Artifacts may be elsewhere.
        clock: the true time.
    """

    def __init__(self, directory: Path, clock: WorldClock) -> None:
        self.state = ServerState(directory, clock.true_time)
        self.state.devices.auto_accept = True
        self.state.storage_url = STORAGE
        self.api = DeviceApi(self.state)
        self.deployment_id = ""

    def offer(self, path: Path, name: str, device_types: tuple[str, ...] = ("board",), etag: str = "e") -> Artifact:
        """Upload an Artifact."""
        number = len(list(self.state.artifacts))
        artifact = Artifact(f"artifact-{number}", name, device_types, path.stat().st_size, etag, START, path)
        return self.state.artifacts.add(artifact)

    @property
    def device(self) -> KnownDevice:
        """The only device."""
        (device,) = self.state.devices
        return device

    def deploy(self, name: str) -> str:
        """Deploy to the only device; return the deployment id."""
        self.deployment_id = self.state.deploy(name).id
        return self.deployment_id

    def abort(self, deployment_id: str = "") -> None:
        """Abort the deployment, as an operator does."""
        self.state.deployments.abort(deployment_id or self.deployment_id)

    @property
    def deployment(self) -> Deployment:
        """The last deployment."""
        return self.state.deployments.get(self.deployment_id)

    @property
    def on_device(self) -> DeviceDeployment | None:
        """The status of the last deployment on the device."""
        return next(iter(self.deployment.devices.values()), None)

    @property
    def status(self) -> str:
        """The state of the last deployment."""
        return self.deployment.status_of(self.deployment.device_ids[0])

    @property
    def statuses(self) -> list[str]:
        """The statuses that the device has reported, without immediate repetitions."""
        received = self.on_device.received if self.on_device else []
        return [one for one, before in zip(received, [None, *received], strict=False) if one != before]

    @property
    def is_over(self) -> bool:
        """Whether the last deployment has ended."""
        return self.status not in ACTIVE


class WorldBody:
    """A response of the storage, in pieces; see ``core.ports.Body``."""

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        data: bytes,
        piece: int,
        cut_at: int | None,
        note: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.status = status
        self.headers = headers
        self._data = memoryview(data)
        self._piece = piece
        self._left_until_cut = cut_at
        self._note = note

    def readinto(self, buffer: memoryview, /) -> int:
        """The next piece."""
        count = min(self._piece, len(buffer), len(self._data))
        if self._left_until_cut is not None:
            count = min(count, self._left_until_cut)
            if not count and self._data:
                raise NetworkError("cannot read the answer: the connection broke; try again later")
            self._left_until_cut -= count
        buffer[:count] = self._data[:count]
        self._data = self._data[count:]
        self._note(count)
        return count

    def close(self) -> None:
        """Discard the rest."""
        self._data = memoryview(b"")


def _lost(name: str) -> NetworkError:
    return NetworkError(f"cannot {name}: no answer; check the network")


class WorldTransport:
    """The connection to the server; see ``core.ports.Transport``."""

    def __init__(self, server: Server, power: Power, clock: WorldClock) -> None:
        self._server = server
        self._power = power
        self._clock = clock
        self.piece = 4096
        self.rules: list[Rule] = []
        self.is_down = False
        self.cut_bodies_at: Callable[[int], int | None] = lambda number: None
        self.counts: Counter[str] = Counter()
        self.requests: list[tuple[float, str]] = []
        self.sent: list[Request] = []
        self.ranges: list[str] = []
        self.fetched = 0
        self.rests = 0
        self.conflicts = 0
        self.before_request: Callable[[str, int], None] = lambda kind, number: None
        self.hosts_down: set[str] = set()
        self.answer_to: Callable[[Request], Answer | None] = lambda request: None

    def send(self, request: Request) -> Reply:
        """Send a request of the device API."""
        kind = route(urlsplit(request.url).path)[0]
        if kind == "status":
            kind = f"status {json.loads(request.body)['status']}"
        fault = self._note(kind, request.url) or self.answer_to(request)
        self.sent.append(request)
        if isinstance(fault, Lost):
            self._power.do(kind, lambda: self._handle(request), _lost)
            raise _lost(kind)
        if isinstance(fault, Answer):
            answer = fault
            return self._power.do(kind, lambda: Reply(answer.status, answer.headers, answer.body), _lost)
        return self._power.do(kind, lambda: self._handle(request), _lost)

    def _note(self, kind: str, url: str) -> Fault | None:
        self.counts[kind] += 1
        self.requests.append((self._clock.seconds, kind))
        self.before_request(kind, self.counts[kind])
        faults = [fault for rule in self.rules if (fault := rule(kind, self.counts[kind])) is not None]
        if self.is_down or urlsplit(url).netloc in self.hosts_down or any(isinstance(one, Refused) for one in faults):
            raise _lost(kind)
        return next(iter(faults), None)

    def _handle(self, request: Request) -> Reply:
        reply = self._server.api.answer(_as_server_sees(request.method, request.url, request.headers, request.body))
        assert isinstance(reply.body, bytes)
        self.conflicts += reply.status == 409
        return Reply(reply.status, _lower(reply.headers), reply.body)

    def open(self, url: str, headers: Mapping[str, str]) -> WorldBody:
        """Start a download."""
        fault = self._note("download", url)
        self.ranges.append(headers.get("Range", ""))
        if isinstance(fault, Lost):
            raise _lost("download")
        if isinstance(fault, Answer):
            return WorldBody(fault.status, fault.headers, fault.body, self.piece, None)
        request = _as_server_sees("GET", url, headers, b"")
        reply = self._power.do("download", lambda: self._server.state.storage.answer(request), _lost)
        data = _slice(reply.body)
        lower = {**_lower(reply.headers), "content-length": str(len(data))}
        cut_at = self.cut_bodies_at(self.counts["download"])
        return WorldBody(reply.status, lower, data, self.piece, cut_at, self._note_bytes)

    def _note_bytes(self, count: int) -> None:
        self.fetched += count

    def rest(self) -> None:
        """Count the call."""
        self.rests += 1


def _as_server_sees(method: str, url: str, headers: Mapping[str, str], body: bytes) -> messages.Request:
    parts = urlsplit(url)
    lower = {**_lower(headers), "host": parts.netloc}
    return messages.Request(method, parts.path, parts.query, lower, body)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _slice(body: bytes | FileSlice) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.path.read_bytes()[body.start : body.start + body.length]
