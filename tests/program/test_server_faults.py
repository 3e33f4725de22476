"""Bad responses of the server: each is logged, none ends the daemon, and the next good update succeeds.

Many faults go through one life of a daemon, as they do in the field; SIGUSR1 spares the waiting between them.
"""

from __future__ import annotations

import signal

import pytest

from mender_devserver import Fault
from program.stage import Device, Process, make_artifact
from waiting import wait_until

REFUSALS = (*range(402, 404), 400, *range(405, 409), *range(410, 419), 421, 422, 423, 425, 426, 428, 431, 451)
TROUBLES = (500, 501, 502, 503, 504, 505, 507, 508, 511)
STATUSES = (*REFUSALS, *TROUBLES)
SOME = (400, 403, 413, 451, 500, 503)
"""Those by day."""
BROKEN: dict[str, str | bytes] = {
    "nothing": "",
    "half": "{",
    "a list": "[]",
    "null": "null",
    "a number": "7",
    "deep": "[" * 5000,
    "no UTF-8": b"\xff\xfe",
    "no id": '{"artifact":{"artifact_name":"a","source":{"uri":"http://h/"},"device_types_compatible":["t"]}}',
    "no artifact": '{"id":"d1"}',
    "no name": '{"id":"d1","artifact":{"source":{"uri":"http://h/"},"device_types_compatible":["t"]}}',
    "no source": '{"id":"d1","artifact":{"artifact_name":"a","device_types_compatible":["t"]}}',
    "no uri": '{"id":"d1","artifact":{"artifact_name":"a","source":{},"device_types_compatible":["t"]}}',
    "no types": '{"id":"d1","artifact":{"artifact_name":"a","source":{"uri":"http://h/"}}}',
    "types of a wrong type": '{"id":"d1","artifact":{"artifact_name":"a","source":{"uri":"http://h/"},'
    '"device_types_compatible":[7]}}',
    "a file as link": '{"id":"d1","artifact":{"artifact_name":"a","source":{"uri":"file:///etc/passwd"},'
    '"device_types_compatible":["t"]}}',
    "traversal in the id": '{"id":"../../../etc","artifact":{"artifact_name":"a","source":{"uri":"http://h/"},'
    '"device_types_compatible":["t"]}}',
    "a number as id": '{"id":7,"artifact":{"artifact_name":"a","source":{"uri":"http://h/"},'
    '"device_types_compatible":["t"]}}',
    "control characters": '{"id":"d1","artifact":{"artifact_name":"a\\u001b[2J","source":{"uri":"http://h/"},'
    '"device_types_compatible":["t"]}}',
}


def _meet(device: Device, daemon: Process, fault: Fault) -> str:
    """Let the daemon encounter a fault, and return its log from then on until it has handled it."""
    said = len(daemon.text)
    device.server.add_fault(fault)
    daemon.send(signal.SIGUSR1)
    wait_until(lambda: not device.server.faults(), what=lambda: f"{fault} ({daemon.text[said:]})")
    wait_until(lambda: "cannot" in daemon.text[said:], what=f"a message about {fault}")
    return daemon.text[said:]


def _survives(device: Device, daemon: Process) -> None:
    """The daemon still runs, and carries out a good deployment."""
    device.server.clear_faults()
    deployment = device.deploy("release-good")
    assert daemon.is_alive
    daemon.send(signal.SIGUSR1)
    assert 0 == daemon.wait_exit()
    device.wait_status(deployment, "success")
    assert [deployment] == device.runs


def _settled(device: Device) -> Process:
    """A daemon that has polled without a message, and won't poll again by itself."""
    device.configure(UpdatePollIntervalSeconds=3600)
    daemon = device.daemon("-l", "debug")  # which repeats what has been said before
    wait_until(lambda: 204 in [one.status for one in device.server.requests])
    return daemon


def _polls(device: Device) -> int:
    """The number of polls that the server has answered."""
    return sum((one.kind, one.status) == ("next", 204) for one in device.server.requests)


def test_statuses_of_a_poll(device: Device, is_nightly: bool) -> None:
    """Every 4xx and 5xx to a poll is logged with the request, and the client waits and retries."""
    daemon = _settled(device)
    for status in (*(STATUSES if is_nightly else SOME), 404, 405):
        times = 2 if status in (404, 405) else 1  # the next older form of the request is tried as well
        said = _meet(device, daemon, Fault(kind="next", status=status, times=times))
        assert f"cannot check for a deployment: the server answered {status}" in said
    _survives(device, daemon)


def test_broken_answers_to_a_poll(device: Device) -> None:
    """Every broken response to a poll is logged; nothing is downloaded or installed."""
    daemon = _settled(device)
    for name, body in BROKEN.items():
        said = _meet(device, daemon, Fault(kind="next", body=body, status=200))
        assert "cannot use the deployment offered" in said, name
        assert "\x1b" not in said
    assert not any(one.kind in ("status", "artifact") for one in device.server.requests)
    assert [] == device.runs
    _survives(device, daemon)


def test_statuses_of_an_authorisation(device: Device, is_nightly: bool) -> None:
    """Every 4xx and 5xx to an authorisation request is logged, and the client waits and retries."""
    daemon = _settled(device)
    for status in (*(STATUSES if is_nightly else SOME), 404, 409):
        device.server.revoke_tokens(device.id)
        said = _meet(device, daemon, Fault(kind="auth", status=status))
        assert f"cannot authorise this device: the server answered {status}" in said
    _survives(device, daemon)


def test_broken_token(device: Device) -> None:
    """A malformed token is refused and requested again; it is never sent in a header."""
    daemon = _settled(device)
    for body in ("", " ", "two words", b"\xff\xfe", "x" * 20000):
        device.server.revoke_tokens(device.id)
        said = _meet(device, daemon, Fault(kind="auth", body=body))
        assert "cannot authorise this device: the server's reply contains no token" in said
    _survives(device, daemon)


def test_statuses_of_an_inventory(device: Device, is_nightly: bool) -> None:
    """Every 4xx and 5xx to an inventory is logged, and polling continues in the meantime."""
    daemon = _settled(device)
    for status in (*(STATUSES if is_nightly else SOME), 404, 409):
        said = len(daemon.text)
        # after a 400 the client searches for an attribute without which the inventory is taken
        device.server.add_fault(Fault(kind="inventory", status=status, times=None if status == 400 else 1))
        daemon.send(signal.SIGUSR2)
        words = f"cannot send the inventory: the server answered {status}"
        daemon.wait_for(words, count=daemon.text[:said].count(words) + 1)
        polls = _polls(device)
        daemon.send(signal.SIGUSR1)
        wait_until(lambda polls=polls: _polls(device) > polls)  # type: ignore[misc]
        device.server.clear_faults()
    _survives(device, daemon)


@pytest.mark.parametrize("kind", ["status", "log"])
def test_statuses_of_a_failing_deployment(device: Device, kind: str, is_nightly: bool) -> None:
    """Whatever the response to a status or a log, the outcome is received in the end, and it is the last status."""
    daemon = _settled(device)
    broken = make_artifact(device.root / "broken.mender", "another-name")
    for status in STATUSES if is_nightly else SOME:
        deployment = device.deploy(f"broken-{status}", file=broken)
        device.server.add_fault(Fault(kind=kind, status=status))  # type: ignore[arg-type]  # one of the list
        daemon.send(signal.SIGUSR1)
        wait_until(lambda: not device.server.faults())

        def is_told(deployment: str = deployment) -> bool:
            daemon.send(signal.SIGUSR1)
            return "failure" in device.statuses(deployment)

        wait_until(is_told, what=lambda: f"failure after {status}: {daemon.text[-2000:]}")  # noqa: B023
        assert "failure" == device.statuses(deployment)[-1]
        wait_until(lambda: not device.journal["outbox"] and not device.journal["update"])
    assert [] == device.runs
    _survives(device, daemon)


@pytest.mark.parametrize("after", [0, 1], ids=["downloading", "installing"])
def test_aborted_status_ends_the_deployment(device: Device, after: int) -> None:
    """A 409 to a status ends the deployment: nothing is installed, and no lock is left."""
    device.server.add_fault(Fault(kind="status", status=409, after=after))
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    daemon.wait_for("it was aborted on the server")
    device.server.abort(deployment)
    assert not device.lock.exists()
    assert [] == device.runs
    _survives(device, daemon)


@pytest.mark.parametrize(
    ("after", "status", "body"),
    [
        pytest.param(0, 404, "404 page not found", id="downloading-404"),
        pytest.param(0, 400, "<html>", id="downloading-400", marks=pytest.mark.nightly),
        pytest.param(0, 200, "<html>", id="downloading-200", marks=pytest.mark.nightly),
        pytest.param(1, 404, "404 page not found", id="installing-404", marks=pytest.mark.nightly),
        pytest.param(1, 400, "<html>", id="installing-400"),
        pytest.param(1, 200, "<html>", id="installing-200"),
    ],
)
def test_gateway_answers_a_status(device: Device, status: int, body: str, after: int) -> None:
    """A gateway that temporarily answers a status in place of the server delays the deployment, and nothing else."""
    device.server.add_fault(Fault(kind="status", status=status, body=body, after=after, times=3))
    deployment = device.deploy("release-2")
    assert 0 == device.daemon().wait_exit()
    device.wait_status(deployment, "success")
    assert [deployment] == device.runs


def test_conflict_ends_the_deployment(device: Device) -> None:
    """A 409 to the request for a new link ends the deployment: it is never installed afterwards."""
    device.server.add_fault(Fault(kind="artifact", status=403, times=None))
    device.server.add_fault(Fault(kind="next", status=409, after=2))
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    daemon.wait_for("[DEP03]")
    device.server.abort(deployment)
    device.server.clear_faults()
    assert [] == device.runs
    _survives(device, daemon)


@pytest.mark.parametrize("status", [400, 404])
def test_lost_artifact_fails_the_deployment(device: Device, status: int) -> None:
    """The body of an error is never handed over to the sub-updater: the deployment fails with the reason."""
    device.server.add_fault(Fault(kind="artifact", status=status, body="<html>not here</html>", times=None))
    device.configure(RetryDownloadCount=2)
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    device.wait_status(deployment, "failure")
    assert f"the storage answered {status}" in device.log_of(deployment)
    assert [] == device.runs
    assert not device.lock.exists()
    assert not (device.data / "artifact.mender").exists()
    _survives(device, daemon)


def test_troubled_storage_is_waited_out(device: Device) -> None:
    """A failing storage is retried, and the download succeeds."""
    for status in (408, 416, 429, 500, 502, 503):
        device.server.add_fault(Fault(kind="artifact", status=status, body="trouble"))
    deployment = device.deploy("release-2")
    assert 0 == device.daemon().wait_exit()
    device.wait_status(deployment, "success")
    assert [deployment] == device.runs


WRONG = {"empty": b"", "a web page": b"<html>hello</html>" * 100, "zeroes": bytes(20000)}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_no_artifact_fails_the_deployment(device: Device, content: bytes) -> None:
    """A file that isn't an Artifact fails the deployment with a reason, and is not kept."""
    file = device.root / "wrong"
    file.write_bytes(content)
    device.configure(RetryDownloadCount=2)
    deployment = device.deploy("release-2", file=file)
    daemon = device.daemon()
    device.wait_status(deployment, "failure")
    assert "cannot" in device.log_of(deployment)
    assert not (device.data / "artifact.mender").exists()
    assert not (device.data / "artifact.mender.part").exists()
    _survives(device, daemon)


def test_artifact_for_another_device(device: Device) -> None:
    """If the server offers an Artifact for another device type anyway, the device refuses it."""
    file = make_artifact(device.root / "other.mender", "release-2", device_type="another")
    deployment = device.deploy("release-2", file=file)
    daemon = device.daemon()
    device.wait_status(deployment, "failure")
    assert "another" in device.log_of(deployment)
    assert ["downloading", "failure"] == device.statuses(deployment)
    _survives(device, daemon)


@pytest.mark.parametrize(
    "kind",
    [*(pytest.param(kind, marks=pytest.mark.nightly) for kind in ("auth", "inventory", "next")), "status", "artifact"],
)
def test_cut_connection_is_waited_out(device: Device, kind: str) -> None:
    """A connection that breaks during any request costs one attempt, and the update succeeds once."""
    device.server.add_fault(Fault(kind=kind, times=2, drop_after_bytes=0))  # type: ignore[arg-type]  # of the list
    daemon = device.daemon()
    deployment = device.deploy("release-good")
    assert 0 == daemon.wait_exit()
    assert [] == device.server.faults()
    device.wait_status(deployment, "success")
    assert [deployment] == device.runs
