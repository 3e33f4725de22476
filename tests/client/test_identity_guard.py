"""The device doesn't change its identity on the server without a warning, from the daemon or from a command."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest

from mender_client.client.identity_guard import IdentityGuard
from mender_client.core.model import Identity
from mender_client.core.record import Record
from mender_client.errors import NotReadyError
from world import Stage, World

from .acting import run_for, started

BEFORE = Identity('{"mac":"1"}')
AFTER = Identity('{"mac":"2"}')


class Keys:
    """A key that can be exchanged."""

    def __init__(self) -> None:
        self.body = "AAAA"
        self.location = "/key.pem"

    def public_key_pem(self) -> str:
        """The public key."""
        return f"-----BEGIN PUBLIC KEY-----\n{self.body}\n-----END PUBLIC KEY-----\n"

    def sign(self, message: bytes) -> bytes:
        """Nobody asks for it."""
        raise AssertionError(message)


class Memory:
    """A journal; see ``core.ports.Journal``."""

    def __init__(self) -> None:
        self._record = Record()

    def load(self) -> Record:
        """What is remembered."""
        return self._record

    def update(self, change: Callable[[Record], Record]) -> Record:
        """Remember something else."""
        self._record = change(self._record)
        return self._record

    def sending(self) -> AbstractContextManager[None]:
        """Nothing is sent."""
        return nullcontext()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings and errors in the log."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture
def world(stage: Stage) -> World:
    """A device that the server has accepted."""
    return started(World(stage))


def test_acceptance_is_remembered(world: World) -> None:
    """With the first token, the state file records the accepted identity, but neither key nor identity themselves."""
    accepted = world.journal.load().accepted
    assert accepted is not None
    assert (64, 64, "/data/mender-agent.pem") == (len(accepted.identity), len(accepted.key), accepted.key_location)


def test_change_is_told_before_the_server_is_asked(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """After a restart of a device with another identity the warning comes before the request."""
    world.server.state.devices.auto_accept = False
    world.device.id_data = AFTER.id_data
    world.client = world.new_client()
    said: list[int] = []
    world.transport.before_request = lambda kind, number: said.append(len(warnings(caplog)))
    run_for(world, 1)
    assert 1 == said[0]
    assert "the output of the identity script has changed" in warnings(caplog)[0]
    assert world.journal.load().identity_change == warnings(caplog)[0]


NOBODY = Identity('{"mac":"00:00:00:00:00:00"}')


def test_no_address_yet(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Before the network interface has its address the server isn't asked; with it the device goes on by itself."""
    real = world.device.id_data
    world.device.id_data = NOBODY.id_data
    world.client = world.new_client()
    asked = world.transport.counts["auth"]
    run_for(world, 60)
    assert asked == world.transport.counts["auth"]
    assert any("none of its values identifies a device" in text for text in warnings(caplog))
    world.device.id_data = real
    run_for(world, 600)
    assert asked + 1 == world.transport.counts["auth"]


def test_accepted_without_an_address() -> None:
    """A device that the server once accepted with such an identity goes on with it, and with no other of the kind."""
    guard = IdentityGuard(journal=Memory(), keys=Keys())
    guard.accept(NOBODY)
    guard.check(NOBODY)
    with pytest.raises(NotReadyError):
        guard.check(Identity('{"mac":""}'))


def test_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A change is logged once by each process, however often the server is asked; another change is logged as well."""
    keys, journal = Keys(), Memory()
    guard = IdentityGuard(journal=journal, keys=keys)
    guard.accept(BEFORE)
    for identity in (BEFORE, AFTER, AFTER, AFTER):
        guard.check(identity)
    assert 1 == len(warnings(caplog))
    keys.body = "BBBB"
    guard.check(AFTER)
    assert 2 == len(warnings(caplog))
    IdentityGuard(journal=journal, keys=keys).check(AFTER)
    assert 4 == len(warnings(caplog))


def test_acceptance_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    """When the server accepts the changed device, or the device is again what it was, status has nothing to show."""
    keys, journal = Keys(), Memory()
    guard = IdentityGuard(journal=journal, keys=keys)
    guard.accept(BEFORE)
    guard.check(AFTER)
    assert journal.load().identity_change
    guard.check(BEFORE)
    assert "" == journal.load().identity_change
    guard.check(AFTER)
    guard.accept(AFTER)
    assert "" == journal.load().identity_change
    guard.check(AFTER)
    assert 2 == len(warnings(caplog))


def test_a_full_disk_keeps_nobody_from_asking(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A journal that can't be written costs the memory and a warning, not the token."""
    world.disk.refuses = lambda what: what == "write the journal"
    world.device.id_data = AFTER.id_data
    world.client = world.new_client()
    asked = world.transport.counts["auth"]
    run_for(world, 1)
    assert asked + 1 == world.transport.counts["auth"]
    assert any(text.startswith("cannot store the identity that the server accepted") for text in warnings(caplog))
