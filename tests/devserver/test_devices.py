"""Who may talk to the server: identities, keys, tokens."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from devserver.caller import PrivateKey, auth_request, new_key, public_pem
from mender_client.errors import ServerError, UnauthorizedError
from mender_devserver.devices import Device
from mender_devserver.messages import Request
from mender_devserver.state import World

IDENTITY = {"mac": "02:00:00:00:00:01"}


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    """The world's clock."""
    return Clock()


@pytest.fixture
def world(tmp_path: Path, clock: Clock) -> World:
    """A server without a socket."""
    return World(tmp_path, clock)


def ask(world: World, key: PrivateKey, identity: dict[str, Any] | None = None) -> str:
    """Ask for a token."""
    body, headers = auth_request(key, identity or IDENTITY)
    lowered = {name.lower(): value for name, value in headers.items()}
    return world.devices.authorize(Request("POST", "", headers=lowered, body=body))


def refused(world: World, key: PrivateKey, identity: dict[str, Any] | None = None) -> str:
    """Ask for a token, and return the refusal."""
    with pytest.raises(UnauthorizedError) as caught:
        ask(world, key, identity)
    return str(caught.value)


def only_device(world: World) -> Device:
    """The one device."""
    (device,) = world.devices
    return device


@pytest.mark.parametrize("kind", ["rsa", "ec256", "ec384", "ed25519"])
def test_accepted_device_gets_a_token_with_any_kind_of_key(world: World, kind: str) -> None:
    """RSA, ECDSA on both curves and Ed25519 all authorise a device."""
    key = new_key(kind)
    refused(world, key)
    world.devices.accept(only_device(world).id)
    token = ask(world, key)
    assert only_device(world).id == world.devices.authenticate(f"Bearer {token}").id


def test_identity_is_the_same_in_any_order(world: World) -> None:
    """Order and white space of the identity don't matter."""
    key = new_key()
    refused(world, key, {"a": "1", "b": "2"})
    refused(world, key, {"b": "2", "a": "1"})
    assert ["pending"] == [one.status for one in only_device(world).auth_sets]


def test_list_of_one_is_another_identity(world: World) -> None:
    """A value and a list of this one value make two devices."""
    key = new_key()
    refused(world, key, {"mac": "x"})
    refused(world, key, {"mac": ["x"]})
    assert 2 == len(list(world.devices))


def test_tokens_of_one_device_live_side_by_side(world: World) -> None:
    """A second token doesn't end the first."""
    key = new_key()
    world.devices.auto_accept = True
    first, second = ask(world, key), ask(world, key)
    assert first != second
    assert world.devices.authenticate(f"Bearer {first}").id == world.devices.authenticate(f"Bearer {second}").id


def test_token_ends_after_its_life(world: World, clock: Clock) -> None:
    """An expired token is refused without a word."""
    world.devices.auto_accept = True
    world.devices.token_seconds = 60
    token = ask(world, new_key())
    clock.time += timedelta(seconds=60)
    with pytest.raises(UnauthorizedError, match=r"^$"):
        world.devices.authenticate(f"Bearer {token}")


@pytest.mark.parametrize("end", ["reject", "decommission", "revoke_tokens"])
def test_decision_of_the_operator_ends_tokens(world: World, end: str) -> None:
    """Rejecting, decommissioning and revoking end all tokens of a device."""
    world.devices.auto_accept = True
    token = ask(world, new_key())
    getattr(world.devices, end)(only_device(world).id)
    with pytest.raises(UnauthorizedError, match=r"^$"):
        world.devices.authenticate(f"Bearer {token}")


def test_rejected_device_is_not_accepted_by_itself(world: World) -> None:
    """Accepting everybody doesn't take back a rejection."""
    key = new_key()
    world.devices.auto_accept = True
    ask(world, key)
    world.devices.reject(only_device(world).id)
    assert "dev auth: unauthorized" == refused(world, key)


def test_accepting_a_new_key_rejects_the_old_one(world: World) -> None:
    """One key of a device is trusted at a time."""
    old, new = new_key(), new_key()
    world.devices.auto_accept = True
    ask(world, old)
    ask(world, new)
    assert "dev auth: unauthorized" == refused(world, old)


def test_key_is_accepted_by_its_name(world: World) -> None:
    """Among several pending keys the operator may choose."""
    keys = [new_key(), new_key()]
    for key in keys:
        refused(world, key)
    device = only_device(world)
    world.devices.accept(device.id, device.auth_sets[0].id)
    ask(world, keys[0])
    assert ["accepted", "pending"] == [one.status for one in device.auth_sets]


def test_preauthorized_device_needs_the_right_signature(world: World) -> None:
    """A preauthorised identity isn't spent on somebody who can't sign."""
    key, thief = new_key(), new_key()
    world.devices.preauthorize(IDENTITY, public_pem(key))
    body, _ = auth_request(key, IDENTITY)
    _, stolen = auth_request(thief, IDENTITY)
    headers = {"x-men-signature": stolen["X-MEN-Signature"]}
    with pytest.raises(UnauthorizedError, match="signature verification failed"):
        world.devices.authorize(Request("POST", "", headers=headers, body=body))
    assert "preauthorized" == only_device(world).status
    ask(world, key)
    assert "accepted" == only_device(world).status


def test_known_identity_is_not_preauthorized(world: World) -> None:
    """An identity that the server knows already is accepted, not preauthorised."""
    refused(world, new_key())
    with pytest.raises(ServerError, match="accept it instead") as caught:
        world.devices.preauthorize(IDENTITY, public_pem(new_key()))
    assert 409 == caught.value.status


def test_device_is_found_by_the_start_of_its_id(world: World) -> None:
    """An id may be cut as long as it fits one device only."""
    refused(world, new_key())
    device = only_device(world)
    assert device is world.devices.get(device.id[:4])
    refused(world, new_key(), {"mac": "other"})
    for name, status in (("", 404), ("nobody", 404)):
        with pytest.raises(ServerError) as caught:
            world.devices.get(name)
        assert status == caught.value.status


def test_ambiguous_id_is_refused(world: World) -> None:
    """A start that fits several devices is asked to be longer."""
    for number in range(17):  # more devices than there are hexadecimal digits
        refused(world, new_key(), {"n": str(number)})
    starts = [one.id[0] for one in world.devices]
    twice = next(one for one in starts if starts.count(one) > 1)
    with pytest.raises(ServerError, match="give more of its id"):
        world.devices.get(twice)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "Authorization not present in header"),
        ("Basic Zm9v", "unknown Authorization method Basic"),
        ("Bearer", "identity: incorrect token format"),
        ("Bearer a.b.c", ""),
    ],
)
def test_bad_authorization_is_explained(world: World, header: str, message: str) -> None:
    """A header that holds no token is explained; a token that nobody gave is not."""
    with pytest.raises(UnauthorizedError) as caught:
        world.devices.authenticate(header)
    assert message == str(caught.value)


def test_signature_that_is_not_base64_is_wrong(world: World) -> None:
    """Anything but base64 is a wrong signature, not an error of the server."""
    key = new_key()
    world.devices.auto_accept = True
    body, _ = auth_request(key, IDENTITY)
    with pytest.raises(UnauthorizedError, match="signature verification failed"):
        world.devices.authorize(Request("POST", "", headers={"x-men-signature": "é!"}, body=body))
