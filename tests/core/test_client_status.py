"""The status of the client: information for others, on which nothing depends."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mender_client.core.client_status import (
    STOPPED,
    WAITING,
    Authorisation,
    ClientStatus,
    Download,
    decode_client_status,
    headline,
)
from mender_client.core.machine import ENDS, State
from mender_client.core.metrics import render_metrics
from mender_client.core.record import Message, MessageKind, Record
from mender_client.errors import (
    ErrorKind,
    KeyFileError,
    MenderError,
    NetworkError,
    NotAcceptedError,
    ScriptError,
    ServerError,
    StorageError,
)

FULL = (
    ClientStatus()
    .begun("t0", version="1.0", python="3.11.2")
    .contacted("https://mender.example.com", "t1")
    .judged(Authorisation.ACCEPTED, "t1")
    .answered("t1")
    .fetched(100, 20)
    .failed("poll", NetworkError("cannot reach it", kind=ErrorKind.REFUSED), "t2", in_a_row=1)
    .remembering(Record(outbox=(Message("d", MessageKind.LOG),), totals={"succeeded": 2}))
    .does("downloading", "t3", deployment_id="d", artifact_name="release-2")
    .downloads(Download(1, 2, 3, 4))
    .planned(next_poll="t4", next_inventory="t5")
)


def test_there_and_back() -> None:
    """A status survives a round trip through JSON."""
    assert FULL == decode_client_status(json.loads(json.dumps(asdict(FULL))))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(asdict(FULL))), JSON) | JSON)
def test_anything_is_read(document: object) -> None:
    """Any content is read without an error; an invalid field gets its value in a new status."""
    client_status = decode_client_status(document)
    assert client_status == decode_client_status(json.loads(json.dumps(asdict(client_status))))
    render_metrics(client_status)
    headline(client_status)


def test_next_life() -> None:
    """A client that starts keeps the totals, the last contact and the last failure, and nothing else."""
    again = FULL.begun("t9", version="1.1", python="3.12.0")
    assert (FULL.counts, FULL.contact, FULL.polled) == (again.counts, again.contact, again.polled)
    assert ("t2", 0) == (again.failure.at, again.failure.in_a_row)
    assert ("starting", Authorisation.UNKNOWN, "", Download()) == (
        again.doing, again.authorisation, again.next_poll, again.download
    )  # fmt: skip


def test_failures_in_a_row() -> None:
    """Consecutive failures keep the time of the first; a success ends them, and the last failure stays visible."""
    twice = FULL.failed("poll", NetworkError("again", kind=ErrorKind.REFUSED), "t6", in_a_row=2)
    assert ("t2", "t6", 2) == (twice.failure.since, twice.failure.at, twice.failure.in_a_row)
    assert {"refused": 2} == twice.counts.failures
    assert twice == twice.recovered("inventory")
    assert ("again", 0) == (twice.recovered("poll").failure.text, twice.recovered("poll").failure.in_a_row)


def test_another_deployment() -> None:
    """The download of a deployment is kept through its states and not shown for the next deployment."""
    assert Download(1, 2, 3, 4) == FULL.does("verified", "t6", deployment_id="d").download
    assert Download() == FULL.does("downloading", "t6", deployment_id="e").download


def test_since() -> None:
    """An activity that continues keeps its start time."""
    waiting = FULL.does(WAITING, "t6")
    assert waiting is waiting.does(WAITING, "t7")
    judged = waiting.judged(Authorisation.WAITING, "t8")
    assert ("t8", "t8") == (judged.authorised_since, judged.judged(Authorisation.WAITING, "t9").authorised_since)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NetworkError("x", kind=ErrorKind.DNS), "dns"),
        (ServerError("x", status=503), "server-5xx"),
        (ServerError("x", status=99999), "server"),
        (NotAcceptedError("x", status=401), "not-accepted"),
        (StorageError("x"), "storage"),
        (ScriptError("x"), "script"),
        (KeyFileError("x"), "key"),
        (MenderError("x"), "other"),
    ],
)
def test_kinds(error: MenderError, kind: str) -> None:
    """Each failure has one of a small number of kinds."""
    assert kind == error.kind.value


@pytest.mark.parametrize(
    ("client_status", "line"),
    [
        (ClientStatus(), "starting"),
        (FULL, "downloading release-2 (deployment d): 50 %"),
        (FULL.recovered("poll").does(WAITING, "t"), "waiting for the next poll"),
        (FULL.does(WAITING, "t"), "waiting to try again; poll failed once: cannot reach it"),
        (
            FULL.recovered("poll").judged(Authorisation.WAITING, "t").does(WAITING, "t"),
            "pending acceptance on https://mender.example.com",
        ),
        (FULL.does(STOPPED, "t"), "stopped"),
    ],
)
def test_headline(client_status: ClientStatus, line: str) -> None:
    """A single line says what the client is doing and why."""
    assert line == headline(client_status)


def test_every_state_has_a_headline() -> None:
    """Every state of an update has a headline that names its Artifact and its deployment."""
    for state in set(State) - ENDS:
        line = headline(FULL.does(state.value, "t", deployment_id="d", artifact_name="release-2"))
        assert "release-2 (deployment d): " in line


def test_news() -> None:
    """The passing of time is no change of status; a new activity or a recovery is."""
    assert FULL.news == FULL.contacted("x", "t9").planned(next_poll="t8", next_inventory="t9").answered("t9").news
    assert (
        FULL.news == FULL.failed("poll", NetworkError("cannot reach it", kind=ErrorKind.REFUSED), "t9", in_a_row=2).news
    )
    assert FULL.news != FULL.recovered("poll").news
    assert FULL.news != FULL.does(WAITING, "t").news
