"""Which devices are authorised: identities, keys, tokens."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from devserver.caller import PrivateKey, auth_request, new_key, public_pem
from mender_client.errors import ServerError, UnauthorizedError
from mender_devserver.devices import MOST_PENDING, MOST_PENDING_KEYS, KnownDevice
from mender_devserver.messages import Request
from mender_devserver.state import ServerState

IDENTITY = {"mac": "02:00:00:00:00:01"}


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    """The clock of the state."""
    return Clock()


@pytest.fixture
def state(tmp_path: Path, clock: Clock) -> ServerState:
    """A server without a socket."""
    return ServerState(tmp_path, clock)


def ask(state: ServerState, key: PrivateKey, identity: dict[str, Any] | None = None) -> str:
    """Ask for a token."""
    body, headers = auth_request(key, identity or IDENTITY)
    lowered = {name.lower(): value for name, value in headers.items()}
    return state.devices.authorize(Request("POST", "", headers=lowered, body=body))


def refused(state: ServerState, key: PrivateKey, identity: dict[str, Any] | None = None) -> str:
    """Ask for a token; return the error of the refusal."""
    with pytest.raises(UnauthorizedError) as caught:
        ask(state, key, identity)
    return str(caught.value)


def only_device(state: ServerState) -> KnownDevice:
    """The only device."""
    (device,) = state.devices
    return device


@pytest.mark.parametrize("kind", ["rsa", "ec256", "ec384", "ed25519"])
def test_accepted_device_gets_a_token_with_any_kind_of_key(state: ServerState, kind: str) -> None:
    """RSA, ECDSA on both curves and Ed25519 keys all authorise a device."""
    key = new_key(kind)
    refused(state, key)
    state.devices.accept(only_device(state).id)
    token = ask(state, key)
    assert only_device(state).id == state.devices.authenticate(f"Bearer {token}").id


def test_identity_is_the_same_in_any_order(state: ServerState) -> None:
    """The order and white space of the identity don't matter."""
    key = new_key()
    refused(state, key, {"a": "1", "b": "2"})
    refused(state, key, {"b": "2", "a": "1"})
    assert ["pending"] == [one.status for one in only_device(state).auth_sets]


def test_list_of_one_is_another_identity(state: ServerState) -> None:
    """A value and a list with only this value are two different devices."""
    key = new_key()
    refused(state, key, {"mac": "x"})
    refused(state, key, {"mac": ["x"]})
    assert 2 == len(list(state.devices))


def test_tokens_of_one_device_live_side_by_side(state: ServerState) -> None:
    """A second token doesn't invalidate the first."""
    key = new_key()
    state.devices.auto_accept = True
    first, second = ask(state, key), ask(state, key)
    assert first != second
    assert state.devices.authenticate(f"Bearer {first}").id == state.devices.authenticate(f"Bearer {second}").id


def test_token_ends_after_its_life(state: ServerState, clock: Clock) -> None:
    """An expired token is refused without an explanation."""
    state.devices.auto_accept = True
    state.devices.token_seconds = 60
    token = ask(state, new_key())
    clock.time += timedelta(seconds=60)
    with pytest.raises(UnauthorizedError, match=r"^$"):
        state.devices.authenticate(f"Bearer {token}")


@pytest.mark.parametrize("end", ["reject", "decommission", "revoke_tokens"])
def test_decision_of_the_operator_ends_tokens(state: ServerState, end: str) -> None:
    """Rejecting, decommissioning and revoking invalidate all tokens of a device."""
    state.devices.auto_accept = True
    token = ask(state, new_key())
    getattr(state.devices, end)(only_device(state).id)
    with pytest.raises(UnauthorizedError, match=r"^$"):
        state.devices.authenticate(f"Bearer {token}")


def test_rejected_device_is_not_accepted_by_itself(state: ServerState) -> None:
    """Accepting all devices doesn't undo a rejection."""
    key = new_key()
    state.devices.auto_accept = True
    ask(state, key)
    state.devices.reject(only_device(state).id)
    assert "dev auth: unauthorized" == refused(state, key)


def test_accepting_a_new_key_rejects_the_old_one(state: ServerState) -> None:
    """Only one key of a device is trusted at a time."""
    old, new = new_key(), new_key()
    state.devices.auto_accept = True
    ask(state, old)
    ask(state, new)
    assert "dev auth: unauthorized" == refused(state, old)


def test_key_is_accepted_by_its_name(state: ServerState) -> None:
    """The operator can choose among several pending keys."""
    keys = [new_key(), new_key()]
    for key in keys:
        refused(state, key)
    device = only_device(state)
    state.devices.accept(device.id, device.auth_sets[0].id)
    ask(state, keys[0])
    assert ["accepted", "pending"] == [one.status for one in device.auth_sets]


def test_preauthorized_device_needs_the_right_signature(state: ServerState) -> None:
    """A preauthorisation isn't used up by a request with a wrong signature."""
    key, thief = new_key(), new_key()
    state.devices.preauthorize(IDENTITY, public_pem(key))
    body, _ = auth_request(key, IDENTITY)
    _, stolen = auth_request(thief, IDENTITY)
    headers = {"x-men-signature": stolen["X-MEN-Signature"]}
    with pytest.raises(UnauthorizedError, match="signature verification failed"):
        state.devices.authorize(Request("POST", "", headers=headers, body=body))
    assert "preauthorized" == only_device(state).status
    ask(state, key)
    assert "accepted" == only_device(state).status


def test_known_identity_is_not_preauthorized(state: ServerState) -> None:
    """An identity that the server knows already is accepted, not preauthorised."""
    refused(state, new_key())
    with pytest.raises(ServerError, match="accept it instead") as caught:
        state.devices.preauthorize(IDENTITY, public_pem(new_key()))
    assert 409 == caught.value.status


def test_device_is_found_by_the_start_of_its_id(state: ServerState) -> None:
    """An id may be abbreviated if it is unique."""
    refused(state, new_key())
    device = only_device(state)
    assert device is state.devices.get(device.id[:4])
    refused(state, new_key(), {"mac": "other"})
    for name, status in (("", 404), ("nobody", 404)):
        with pytest.raises(ServerError) as caught:
            state.devices.get(name)
        assert status == caught.value.status


def test_ambiguous_id_is_refused(state: ServerState) -> None:
    """An abbreviation that fits several devices is refused with the request for a longer one."""
    for number in range(17):  # more devices than there are hexadecimal digits
        refused(state, new_key(), {"n": str(number)})
    starts = [one.id[0] for one in state.devices]
    twice = next(one for one in starts if starts.count(one) > 1)
    with pytest.raises(ServerError, match="give more of its id"):
        state.devices.get(twice)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "Authorization not present in header"),
        ("Basic Zm9v", "unknown Authorization method Basic"),
        ("Bearer", "malformed Authorization header"),
        ("Bearer x", "identity: incorrect token format"),
        ("Bearer a.b.c", ""),
    ],
)
def test_bad_authorization_is_explained(state: ServerState, header: str, message: str) -> None:
    """A malformed Authorization header is explained; an unknown token is not."""
    with pytest.raises(UnauthorizedError) as caught:
        state.devices.authenticate(header)
    assert message == str(caught.value)


def test_signature_that_is_not_base64_is_wrong(state: ServerState) -> None:
    """Anything but base64 is a wrong signature, not an error of the server."""
    key = new_key()
    state.devices.preauthorize(IDENTITY, public_pem(key))
    body, _ = auth_request(key, IDENTITY)
    with pytest.raises(UnauthorizedError, match="signature verification failed"):
        state.devices.authorize(Request("POST", "", headers={"x-men-signature": "é!"}, body=body))


def test_pending_devices_are_not_remembered_without_end(state: ServerState) -> None:
    """Of the undecided devices the newest are kept, with their events; other devices are always kept."""
    key = new_key()
    refused(state, key, {"n": "accepted"})
    state.devices.accept(only_device(state).id)
    for number in range(MOST_PENDING + 5):
        refused(state, key, {"n": str(number)})
    known = [one.identity["n"] for one in state.devices]
    assert ["accepted", *(str(number) for number in range(5, MOST_PENDING + 5))] == known
    told = [event.data["identity"]["n"] for event in state.activity.events() if event.name == "device-pending"]
    assert known == told


def test_pending_keys_are_not_remembered_without_end(state: ServerState) -> None:
    """Of the keys that a device has used the newest are kept, and so is the accepted one."""
    accepted, *others = (new_key() for _ in range(MOST_PENDING_KEYS + 3))
    refused(state, accepted)
    state.devices.accept(only_device(state).id)
    for key in others:
        refused(state, key)
    keys = [one.public_key for one in only_device(state).auth_sets]
    assert [public_pem(accepted), *map(public_pem, others[2:])] == keys


def test_large_request_is_refused(state: ServerState) -> None:
    """An authorisation request that no device would send isn't read."""
    with pytest.raises(ServerError, match="too large") as caught:
        ask(state, new_key(), {"n": "x" * 16 * 1024})
    assert (413, []) == (caught.value.status, list(state.devices))


def test_auto_accept_needs_a_signature(state: ServerState) -> None:
    """A device isn't accepted automatically unless it proves that it owns the key."""
    state.devices.auto_accept = True
    body, _ = auth_request(new_key(), IDENTITY)
    _, stolen = auth_request(new_key(), IDENTITY)
    request = Request("POST", "", headers={"x-men-signature": stolen["X-MEN-Signature"]}, body=body)
    with pytest.raises(UnauthorizedError, match="dev auth: unauthorized"):
        state.devices.authorize(request)
    assert "pending" == only_device(state).status
