"""Changes between the identity that was accepted and the present one: what changed, why, and what to do."""

from __future__ import annotations

import re

import pytest

from mender_client.core.accepted_identity import accepted_identity, explain_change, has_real_value
from mender_client.core.model import AcceptedIdentity, Identity, NewKey
from mender_client.core.record import Record
from mender_client.errors import Diagnostic

ONE = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
OTHER = "-----BEGIN PUBLIC KEY-----\nBBBB\n-----END PUBLIC KEY-----\n"
FILE = "/var/lib/mender/mender-agent.pem"
PLAIN = Identity('{"mac":"1","port":["1","2"]}')
LISTED = Identity('{"mac":["1"],"port":["1","2"]}')
ACCEPTED = accepted_identity(PLAIN, ONE, FILE)


def told(changes: tuple[Diagnostic, ...]) -> str:
    """Text and remedy of each change."""
    return "; ".join(f"{one.text}; {one.remedy}" for one in changes)


def explain(identity: Identity, key: str, location: str = FILE, *, new_key: NewKey | None = None) -> str:
    """The message about a change from what was accepted."""
    return told(explain_change(ACCEPTED, accepted_identity(identity, key, location), identity, new_key))


def test_nothing_to_say() -> None:
    """No message for an unchanged identity and key, wherever the key is stored, or for a device never accepted."""
    assert "" == explain(PLAIN, ONE)
    assert "" == explain(PLAIN, ONE, "/moved.pem")
    assert () == explain_change(None, ACCEPTED, PLAIN, None)


@pytest.mark.parametrize(
    ("id_data", "expected"),
    [
        ('{"mac":""}', False),
        ('{"mac":" "}', False),
        ('{"mac":"00:00:00:00:00:00"}', False),
        ('{"mac":"ff-ff-ff-ff-ff-ff"}', False),
        ('{"mac":"FFFFFFFFFFFF"}', False),
        ('{"mac":["","00:00:00:00:00:00"],"serial":""}', False),
        ('{"mac":"02:00:00:00:00:00"}', True),
        ('{"mac":["00:00:00:00:00:00","02:00:00:00:00:01"]}', True),
        ('{"mac":"00:00:00:00:00:00","serial":"7"}', True),
        ('{"serial":"0"}', True),
        ('{"serial":"ff"}', True),
    ],
)
def test_real_values(id_data: str, expected: bool) -> None:
    """An identity of only empty values and MAC addresses of all zeros or all ones identifies no device."""
    assert expected is has_real_value(Identity(id_data))


def test_what_differs_is_told_with_both_fingerprints() -> None:
    """The message gives the SHA-256 of the accepted and of the present identity and key."""
    now = accepted_identity(Identity('{"mac":"2"}'), OTHER, FILE)
    said = told(explain_change(ACCEPTED, now, Identity('{"mac":"2"}'), None))
    assert f"the identity differs from the one that the server accepted (SHA-256 {ACCEPTED.identity}, now " in said
    assert f"the device key differs from the one that the server accepted (SHA-256 {ACCEPTED.key}, now " in said
    assert now.identity in said
    assert now.key in said


def made(key: str, *, is_forced: bool) -> NewKey:
    """A note of a key that the client generated."""
    return NewKey(accepted_identity(PLAIN, key, FILE).key, is_forced)


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (explain(LISTED, ONE), 'IdentityFormat was changed; .* another device, .*set IdentityFormat to "plain"$'),
        (
            explain(Identity('{"mac":"2"}'), ONE),
            "the output of the identity script has changed; .*what it printed before$",
        ),
        (explain(PLAIN, OTHER), f"{FILE} was replaced; .*accept it on the server, or restore the former key$"),
        (explain(PLAIN, OTHER, "/a.pem"), "names another key, /a.pem instead of .*, or restore Security.AuthPriv"),
        (
            explain(PLAIN, OTHER, new_key=made(OTHER, is_forced=True)),
            "--forcebootstrap has generated a new one; .*accept it on",
        ),
        (explain(PLAIN, OTHER, new_key=made(OTHER, is_forced=False)), f"{FILE} was missing, so a new one was made;"),
        (explain(PLAIN, OTHER, new_key=made(ONE, is_forced=True)), f"{FILE} was replaced;"),
    ],
    ids=["format", "script", "file", "configuration", "forced", "missing", "an older note"],
)
def test_causes(said: str, cause: str) -> None:
    """The message names the cause, if it is known, and the remedy."""
    assert re.search(cause, said), said


def test_from_list_to_plain() -> None:
    """A change of IdentityFormat is recognised in both directions."""
    accepted = AcceptedIdentity(accepted_identity(LISTED, ONE, FILE).identity, ACCEPTED.key, FILE)
    said = told(explain_change(accepted, ACCEPTED, PLAIN, None))
    assert said.endswith('to remain the same device, set IdentityFormat to "list"')


def test_acceptance_ends_the_change() -> None:
    """Once the server accepts the new identity and key, the notes about the change are removed."""
    record = Record(accepted=ACCEPTED, new_key=NewKey("f", is_forced=True), identity_change="said")
    now = accepted_identity(LISTED, OTHER, FILE)
    assert Record(accepted=now) == record.accepted_as(now)
