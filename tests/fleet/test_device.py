"""A simulated device and the dev server: the real client, without a disk."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devserver.caller import make_artifact
from fleet.test_parts import SEED, options
from mender_client.core.model import Deployment
from mender_client.embedding.description import DeviceDescription
from mender_client.errors import ServerError
from mender_client.system.tls import TlsSettings
from mender_devserver import DevServer, Fault
from mender_fleet.acceptance import Acceptance, Waiting, fingerprint, management_of
from mender_fleet.device import PowerCutError, SimulatedDevice, read_settings
from mender_fleet.hardware import DerivedKey, make_identity, make_inventory
from mender_fleet.options import settings_of
from mender_fleet.traffic import DOWNLOAD, ToldTransport

PAYLOAD_BYTES = 300_000


class Heard:
    """The events that a device's transport reports."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, int]] = []
        self.may_fail = False
        self.errors: list[str] = []
        self.offers = 0
        self.refusals = 0
        self.sent_bytes = 0
        self.statuses: list[str] = []
        self.downloaded: Callable[[int], None] = lambda _: None

    def requested(self, method: str, name: str, seconds: float, size_bytes: int, error: Exception | None) -> None:
        """A request was made."""
        assert error is None or self.may_fail, f"{method} {name}: {error}"
        self.errors += [] if error is None else [str(error)]
        self.requests.append((name, size_bytes))

    def sent(self, size_bytes: int) -> None:
        """The body of a request is sent."""
        self.sent_bytes += size_bytes

    def refused(self) -> None:
        """The server doesn't authorise the device."""
        self.refusals += 1

    def offered(self) -> None:
        """A deployment was offered."""
        self.offers += 1

    def reported(self, status: str) -> None:
        """The server has accepted a status."""
        self.statuses.append(status)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevServer]:
    """A server that accepts all devices and has an Artifact."""
    with DevServer(tmp_path / "server", tls=False, auto_accept=True) as running:
        running.upload(make_artifact(tmp_path / "release-2.mender", "release-2", payload=bytes(PAYLOAD_BYTES)))
        yield running


@pytest.fixture
def heard() -> Heard:
    """Records the events."""
    return Heard()


def make_device(
    server: DevServer,
    heard: Heard,
    *,
    install: Callable[[Deployment], bool] = lambda _: True,
    name: str = "one",
    is_right: bool = True,
    seed: bytes = SEED,
) -> SimulatedDevice:
    """A device that polls each time it is stepped."""
    description = DeviceDescription(make_identity(name), "testdev", "release-1", inventory=make_inventory(name, 60))

    def make_transport() -> ToldTransport:
        made = ToldTransport(tls=TlsSettings(), user_agent="mender-fleet")
        made.listener, made.read = heard, heard.downloaded
        return made

    settings = read_settings(settings_of(server.url, options("--poll", "1"), {}))
    key = DerivedKey(seed, name, "ed25519", is_right=is_right)
    return SimulatedDevice(settings, description, key, install=install, make_transport=make_transport)


def step_until(server: DevServer, device: SimulatedDevice, condition: Callable[[], bool]) -> None:
    """Step a device until a condition is met."""

    def stepped() -> bool:
        device.step()
        return condition()

    server.wait_until(stepped)


def test_device_does_what_a_real_one_does(server: DevServer, heard: Heard) -> None:
    """It authenticates, sends its inventory, downloads, reports each status, and leaves no file behind."""
    device = make_device(server, heard)
    device.step()
    known = server.devices()[0]
    assert (make_identity("one"), 62) == (known.identity, len(known.inventory) - 1)
    deployment_id = server.deploy("release-2")
    step_until(server, device, lambda: server.status(deployment_id, known.id) == "success")
    assert ["downloading", "installing", "success"] == server.statuses(deployment_id, known.id) == heard.statuses
    assert (1, [server.artifacts()[0].size_bytes]) == (
        heard.offers,
        [size for name, size in heard.requests if name == DOWNLOAD],
    )
    assert not Path("/nonexistent").exists()
    device.close()


def test_device_fails_with_a_log(server: DevServer, heard: Heard) -> None:
    """A failed installation fails the deployment, with a log as long as a real one."""

    def install(_: Deployment) -> bool:
        device.log.fail("no space left")
        return False

    device = make_device(server, heard, install=install)
    device.step()
    deployment_id = server.deploy("release-2")
    step_until(server, device, lambda: "failure" in heard.statuses)
    log = server.log(deployment_id, server.devices()[0].id)
    assert log is not None
    assert (100, "no space left") == (len(log), log[-1]["message"])
    device.close()


@pytest.mark.parametrize(
    ("fault", "name", "words"),
    [
        (Fault(kind="artifact", status=503), "Artifact 503", "status 503"),
        (Fault(kind="artifact", drop_after_bytes=1000), "Artifact", "the answer is incomplete"),
    ],
)
def test_download_that_fails_is_an_error(server: DevServer, heard: Heard, fault: Fault, name: str, words: str) -> None:
    """A download that the storage refuses or cuts counts as an error of the endpoint, and is retried."""
    heard.may_fail = True
    server.add_fault(fault)
    device = make_device(server, heard)
    device.step()
    server.deploy("release-2")
    step_until(server, device, lambda: "success" in heard.statuses)
    assert [name, "Artifact"] == [one for one, _ in heard.requests if one.startswith(DOWNLOAD)]
    assert (1, True) == (len(heard.errors), words in heard.errors[0])
    device.close()


def test_device_comes_back_after_a_power_cut(server: DevServer, heard: Heard) -> None:
    """A device that loses power during a download behaves like a real one, and finishes after its return."""

    def cut(size_bytes: int) -> None:
        raise PowerCutError

    heard.downloaded = cut
    device = make_device(server, heard)
    device.step()
    server.deploy("release-2")
    with pytest.raises(PowerCutError):
        step_until(server, device, lambda: False)
    assert ["downloading"] == heard.statuses
    heard.downloaded = lambda _: None
    device.restart()
    step_until(server, device, lambda: "success" in heard.statuses)
    device.close()


def test_refused_device_goes_on_asking(server: DevServer, heard: Heard) -> None:
    """A device that is never to be accepted is refused even by a server that accepts all others."""
    device = make_device(server, heard, is_right=False)
    device.step()
    assert [("v1/authentication/auth_requests 401", "pending")] == [
        (name, server.devices()[0].status) for name, _ in heard.requests
    ]
    assert (1, True) == (heard.refusals, heard.sent_bytes > 100)
    device.close()


def let_in(server: DevServer, *given: str) -> Namespace:
    """The options with a token for the management API."""
    file = server.directory / "token"
    file.write_text(server.contact.token + "\n")
    return options("--management-token-file", str(file), "--certificate", server.contact.certificate, *given)


def test_device_is_preauthorized(server: DevServer, heard: Heard) -> None:
    """A preauthorised device is accepted immediately; preauthorising it again does no harm."""
    server.auto_accept = False
    device = make_device(server, heard)
    for given in (let_in(server), options("--devserver", str(server.directory))):
        with management_of(given, server.url, heard.requested) as management:
            management.preauthorize(make_identity("one"), device.key.public_key_pem())
    assert ["management/preauthorize"] * 2 == [name for name, _ in heard.requests]
    device.step()
    assert ["accepted"] == [one.status for one in server.devices()]
    device.close()


def test_devices_of_the_fleet_are_accepted(server: DevServer, heard: Heard) -> None:
    """Of all pending devices only those of the fleet are accepted, with their key, at the given rate at most."""
    server.auto_accept = False
    devices = [make_device(server, heard, name=f"{number}") for number in range(3)]
    strangers = [make_device(server, heard, name="stranger")]
    strangers += [make_device(server, heard, name="0", is_right=False, seed=bytes(32))]
    for one in (*strangers, *devices):
        one.step()
    waiting, pauses = Waiting(), list[float]()
    waiting.add(fingerprint(one.description.identity, one.key.public_key_pem()) for one in devices)
    heard.requests.clear()
    with management_of(let_in(server), server.url, heard.requested) as management:
        acceptance = Acceptance(management, waiting, most_per_second=4, sleep=pauses.append)
        assert (3, [0.25] * 3) == (acceptance.run_once(), pauses)
        assert ["management/pending"] + ["management/accept"] * 3 == [name for name, _ in heard.requests]
        assert 0 == acceptance.run_once()  # no device waits, and no request is made
    assert 4 == len(heard.requests)
    states = {one.identity["serial"]: [key.status for key in one.auth_sets] for one in server.devices()}
    assert {"stranger": ["pending"], "0": ["pending", "accepted"], "1": ["accepted"], "2": ["accepted"]} == states
    for one in (*strangers, *devices):
        one.close()


def test_refused_acceptance_is_tried_again(server: DevServer, heard: Heard) -> None:
    """A token that the server refuses is reported without the token, and devices that wait stay in the queue."""
    given = let_in(server)
    Path(given.management_token_file).write_text("SECRET")
    waiting, failed = Waiting(), list[str]()
    waiting.add(["one"])

    def told(method: str, name: str, seconds: float, size_bytes: int, error: Exception | None) -> None:
        failed.append(f"{name}: {error}")

    with management_of(given, server.url, told) as management, pytest.raises(ServerError, match="answered 401; check"):
        Acceptance(management, waiting, most_per_second=4).run_once()
    assert (["one"], True) == (waiting.take(), "SECRET" not in failed[0])
    assert failed[0].startswith("management/pending: the management API answered 401")
