"""The server's replies, read where the program reads them: in the session that made the request."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fuzz.mutations import json_case, mutate_bytes, mutate_text
from fuzz.parsers import Parser
from mender_client.client.auth import Session
from mender_client.client.deployments import Deployments
from mender_client.client.identity_guard import IdentityGuard
from mender_client.client.inventory import InventorySender
from mender_client.client.status_tracker import StatusTracker
from mender_client.core.keyvalue import KeyValues
from mender_client.core.model import Identity, LogMessage, Provides, Status, is_deployment_id
from mender_client.core.record import Record
from mender_client.core.wire.messages import Reply, Request
from mender_client.errors import ServerError

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
RECORDINGS = Path(__file__).resolve().parents[1] / "contract" / "device-api.jsonl"
STATUSES = (100, 200, 201, 204, 206, 301, 400, 401, 403, 404, 405, 409, 413, 429, 500, 502, 503, 599, 999)
_TOKEN = b"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjE3OTI3MDcyMDAsIm5iZiI6LTYyMTM1NTk2ODAwfQ.c2lnbmF0dXJl"
_OFFER = {
    "id": "b8ee7aee-51b0-4a9c-a8a3-2f1a5a3d8f0e",
    "artifact": {
        "id": "9b3c6a4e",
        "artifact_name": "release-2",
        "source": {"uri": "https://storage.example.com/a?X-Signature=s", "expire": "2026-01-02T00:00:00Z"},
        "device_types_compatible": ["board"],
    },
}
_KINDS = {"auth": "/auth_requests", "next": "/next", "status": "/status", "log": "/log", "inventory": "/attributes"}
_PROVIDES = Provides("board", "release-1", MappingProxyType({"rootfs-image.version": "1"}))


@dataclass(frozen=True)
class Case:
    """The server's responses to consecutive requests; the last one is repeated."""

    replies: tuple[Reply, ...]


@dataclass
class Scripted:
    """A transport that responds from a list, and checks that each request could be sent."""

    replies: Sequence[Reply]
    sent: int = field(default=0)

    def send(self, request: Request) -> Reply:
        """Return the next reply."""
        for text in (request.method, request.url, *request.headers, *request.headers.values()):
            assert text.isascii(), "a request that can't be written"
            assert text.isprintable(), "a request that would inject a header"
        assert " " not in request.url
        self.sent += 1
        assert self.sent < 20, "the client goes in circles"
        return self.replies[min(self.sent, len(self.replies)) - 1]

    def open(self, url: str, headers: Mapping[str, str]) -> Any:
        """Downloads don't occur here."""
        raise NotImplementedError

    def rest(self) -> None:
        """Do nothing."""


class StillClock:
    """A clock that stands still."""

    def now(self) -> datetime:
        """Always the same."""
        return NOW

    def monotonic(self) -> float:
        """Always the same."""
        return 0.0

    def sleep(self, seconds: float) -> None:
        """Return without waiting."""


class SmallDevice:
    """A device and its key."""

    def identity(self) -> Identity:
        """Its identity."""
        return Identity('{"mac":"1"}')

    def provides(self) -> Provides:
        """The installed artifact name."""
        return _PROVIDES

    def inventory(self) -> Sequence[KeyValues]:
        """Its inventory."""
        return [KeyValues((("color", "blue"),), ())]

    location = "a test"

    def load(self) -> Record:
        """Nothing is stored."""
        return Record()

    def update(self, change: Callable[[Record], Record]) -> Record:
        """Nothing is kept."""
        return change(Record())

    def public_key_pem(self) -> str:
        """Its key, which isn't checked."""
        return "a key"

    def sign(self, message: bytes) -> bytes:
        """A signature, which isn't checked."""
        return message[:3]


def parsers() -> list[Parser]:
    """The parsers of this module."""
    return [
        Parser("authorisation", lambda rng: Case((_auth_reply(rng),)), _authorise, (ServerError,)),
        Parser("next-deployment", _after_token("next", _OFFER), _next, (ServerError,)),
        Parser("status-reply", _after_token("status"), _status, (ServerError,)),
        Parser("log-reply", _after_token("log"), _log, (ServerError,)),
        Parser("inventory-reply", _after_token("inventory"), _inventory, (ServerError,)),
    ]


@cache
def recorded(kind: str) -> tuple[Reply, ...]:
    """The replies of the open-source server to requests of the given kind."""
    lines = map(json.loads, RECORDINGS.read_text("utf-8").splitlines())
    return tuple(
        Reply(
            line["response"]["status"],
            {name.lower(): value for name, value in line["response"]["headers"].items()},
            line["response"]["body"].encode(),
        )
        for line in lines
        if line["request"]["path"].partition("?")[0].endswith(_KINDS[kind])
    )


def _changed(rng: random.Random, reply: Reply, documents: Sequence[Any] = ()) -> Reply:
    status = rng.choice(STATUSES) if rng.randrange(3) == 0 else reply.status
    headers = dict(reply.headers)
    if rng.randrange(3) == 0:
        headers["retry-after"] = mutate_text(rng, rng.choice(("5", "Wed, 21 Oct 2026 07:28:00 GMT")))
    try:
        document = json.loads(reply.body)
    except ValueError:
        document = {"error": "unauthorized", "request_id": "1"}
    body = rng.choice((reply.body, mutate_bytes(rng, reply.body), *[json_case(rng, [document, *documents])] * 4))
    return Reply(status, headers, body)


def _auth_reply(rng: random.Random) -> Reply:
    if rng.randrange(2):
        return _changed(rng, rng.choice(recorded("auth")))
    return Reply(
        200,
        {},
        rng.choice(
            (_TOKEN, mutate_bytes(rng, _TOKEN), mutate_text(rng, _TOKEN.decode()).encode("utf-8", "surrogatepass"))
        ),
    )


def _after_token(kind: str, *documents: Any) -> Callable[[random.Random], Case]:
    def make(rng: random.Random) -> Case:
        token = Reply(200, {}, _TOKEN)
        first = _changed(rng, rng.choice(recorded(kind)), documents)
        if documents and rng.randrange(2):
            first = Reply(200, {}, json_case(rng, documents))
        return Case((token, first, token if first.status == 401 else first, _changed(rng, rng.choice(recorded(kind)))))

    return make


def _session(case: Case) -> Session:
    device: Any = SmallDevice()
    return Session(
        transport=Scripted(case.replies),
        clock=StillClock(),
        device=device,
        keys=device,
        guard=IdentityGuard(journal=device, keys=device),
        server_urls=["https://mender.example.com"],
        tracker=StatusTracker(StillClock()),
    )


def _authorise(case: Case) -> str:
    token = _session(case).authorise()
    assert token.value.isprintable()
    assert len(token.value) < 40 or token.value not in repr(token)
    return "accepted"


def _next(case: Case) -> str:
    offer = Deployments(session=_session(case), clock=StillClock()).next(_PROVIDES)
    if offer is None:
        return "nothing to do"
    deployment = offer.deployment
    assert is_deployment_id(deployment.id)
    assert 0 < len(deployment.artifact_name) <= 1024
    assert not any(ord(character) < 32 for character in deployment.artifact_name)
    assert len(deployment.link.uri) < 40 or deployment.link.uri not in repr(deployment)
    deployment.artifact_name.encode()
    return "accepted"


def _status(case: Case) -> str:
    Deployments(session=_session(case), clock=StillClock()).send_status("d1", Status.INSTALLING)
    return "accepted"


def _log(case: Case) -> str:
    Deployments(session=_session(case), clock=StillClock()).send_log("d1", [LogMessage(NOW, "info", "a line")])
    return "accepted"


class NoJournal:
    """A device that stores nothing."""

    def load(self) -> Record:
        """Nothing."""
        return Record()


def _inventory(case: Case) -> str:
    device: Any = SmallDevice()
    journal: Any = NoJournal()
    InventorySender(session=_session(case), clock=StillClock(), device=device, journal=journal, version="1").send()
    return "accepted"
