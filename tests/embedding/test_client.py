"""The client inside another program, used step by step and with run()."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mender_client import (
    BusyError,
    Client,
    ConfigError,
    Deployment,
    DeviceDescription,
    NetworkError,
    NotAcceptedError,
    UsageError,
)
from mender_devserver import DevServer
from waiting import wait_until

from .conftest import Embed, wait_for_poll


def device_id(server: DevServer) -> str:
    """The only device of a server."""
    (device,) = server.devices()
    return device.id


def test_a_program_makes_a_device_known(server: DevServer, embed: Embed) -> None:
    """The server gets the identity and the inventory that the program provides."""
    client = embed()
    client.authorise()
    client.send_inventory()
    (device,) = server.devices()
    assert {"serial": "1234"} == device.identity
    inventory = server.inventory(device.id)
    assert ("blue", ["1", "2"], "testdev") == (inventory["colour"], inventory["port"], inventory["device_type"])


def test_nobody_has_accepted_it(server: DevServer, embed: Embed) -> None:
    """If nobody has accepted the device yet, authorise() raises a specific error, so that a program can wait for it."""
    server.auto_accept = False
    with pytest.raises(NotAcceptedError):
        embed().authorise()


def test_a_program_downloads_and_reports(server: DevServer, embed: Embed, device: DeviceDescription) -> None:
    """check, download and report carry out a deployment, and the server gets each status."""
    client = embed()
    client.authorise()
    deployment_id = server.deploy("release-2")
    deployment = client.check()
    assert deployment is not None
    assert "release-2" == deployment.artifact_name
    artifact = client.download()
    assert artifact is not None
    assert artifact.stat().st_size > 20000
    device.artifact_name = deployment.artifact_name
    client.report(success=True)
    assert ["downloading", "installing", "success"] == server.statuses(deployment_id, device_id(server))
    assert not artifact.exists()
    assert client.check() is None


def test_a_failure_takes_its_reason_to_the_server(server: DevServer, embed: Embed) -> None:
    """The reason for a failure is in the log that the server gets."""
    client = embed()
    client.authorise()
    deployment_id = server.deploy("release-2")
    client.check()
    client.download()
    client.report(success=False, reason="the pump runs")
    assert "failure" == server.status(deployment_id, device_id(server))
    log = server.log(deployment_id, device_id(server)) or []
    assert any("the pump runs" in line["message"] for line in log)


def test_the_report_may_come_in_the_next_life(server: DevServer, embed: Embed) -> None:
    """A deployment that waits for its report still waits after a restart, and check() is refused until then."""
    client = embed()
    client.authorise()
    deployment_id = server.deploy("release-2")
    client.check()
    client.download()
    again = embed()
    with pytest.raises(BusyError, match=deployment_id):
        again.check()
    again.report(success=True)
    assert "success" == server.status(deployment_id, device_id(server))


def test_a_report_is_kept_while_the_server_is_away(server: DevServer, embed: Embed) -> None:
    """An outcome that couldn't be sent is sent before the next poll."""
    client = embed()
    client.authorise()
    deployment_id = server.deploy("release-2")
    client.check()
    client.download()
    server.stop()
    client.report(success=False)
    with pytest.raises(NetworkError):
        client.check()
    server.start()
    client.check()
    assert "failure" == server.status(deployment_id, device_id(server))


def test_an_aborted_deployment_is_not_downloaded(server: DevServer, embed: Embed) -> None:
    """A deployment that the server has aborted ends without an Artifact."""
    client = embed()
    client.authorise()
    deployment_id = server.deploy("release-2")
    client.check()
    server.abort(deployment_id)
    assert client.download() is None
    assert client.check() is None


def run(client: Client, server: DevServer, deployment_id: str) -> str:
    """Run a client until the server has the outcome of a deployment."""
    thread = threading.Thread(target=client.run)
    thread.start()
    try:
        server.wait_until(lambda: server.status(deployment_id, device_id(server)) in ("success", "failure"))
    finally:
        client.stop()
        thread.join()
    assert not thread.is_alive()
    return server.status(deployment_id, device_id(server))


def test_a_function_installs(server: DevServer, embed: Embed, device: DeviceDescription) -> None:
    """run() passes each deployment to the function and reports the result."""
    seen = list[tuple[str, bool]]()

    def install(artifact: Path, deployment: Deployment) -> bool:
        seen.append((deployment.id, artifact.is_file()))
        device.artifact_name = deployment.artifact_name
        return True

    client = embed(install)
    client.authorise()
    deployment_id = server.deploy("release-2")
    assert "success" == run(client, server, deployment_id)
    assert [(deployment_id, True)] == seen


def test_a_program_polls_when_it_likes(server: DevServer, embed: Embed, device: DeviceDescription) -> None:
    """poll_now() in another thread ends the wait of run(), however long it would be."""

    def install(artifact: Path, deployment: Deployment) -> bool:
        device.artifact_name = deployment.artifact_name
        return True

    client = embed(install, poll_seconds=3600)
    thread = threading.Thread(target=client.run)
    thread.start()
    try:
        wait_for_poll(server)
        deployment_id = server.deploy("release-2")
        client.poll_now()
        wait_until(lambda: server.status(deployment_id, device_id(server)) == "success")
    finally:
        client.stop()
        thread.join()


def test_a_function_that_raises_has_failed(server: DevServer, embed: Embed) -> None:
    """The exception's text is in the log that the server gets, and the client keeps running."""

    def install(artifact: Path, deployment: Deployment) -> bool:
        raise RuntimeError("no second partition")

    client = embed(install)
    client.authorise()
    deployment_id = server.deploy("release-2")
    assert "failure" == run(client, server, deployment_id)
    log = server.log(deployment_id, device_id(server)) or []
    assert any("no second partition" in line["message"] for line in log)


@pytest.mark.parametrize(("name_after_it", "outcome"), [("release-2", "success"), ("release-1", "failure")])
def test_a_program_that_dies_while_it_installs(
    server: DevServer, embed: Embed, device: DeviceDescription, name_after_it: str, outcome: str
) -> None:
    """After a crash in the function it isn't called again; the installed version determines the outcome."""
    calls = list[str]()

    def install(artifact: Path, deployment: Deployment) -> bool:
        calls.append(deployment.id)
        raise KeyboardInterrupt  # ends the process as a crash would: no code of ours runs any more

    client = embed(install)
    client.authorise()
    deployment_id = server.deploy("release-2")
    with pytest.raises(KeyboardInterrupt):
        client.step()
    device.artifact_name = name_after_it
    assert outcome == run(embed(install), server, deployment_id)
    assert [deployment_id] == calls


def test_the_data_directory_is_for_one_client(
    server: DevServer, embed: Embed, device: DeviceDescription, tmp_path: Path
) -> None:
    """A second client on the same directory is refused, and the first one keeps running."""
    client = embed()
    with pytest.raises(BusyError, match="already uses"):
        Client({"ServerURL": server.url}, data=tmp_path / "data", device=device)
    client.authorise()


def test_clients_cost_each_other_no_log_lines(
    key: Path, device: DeviceDescription, tmp_path: Path, is_nightly: bool
) -> None:
    """Many open clients add no handler and no filter to the package's logger, and closed ones leave none behind."""
    handler, package = logging.NullHandler(), logging.getLogger("mender_client")
    before = list(package.handlers)
    package.addHandler(handler)
    clients = []
    for number in range(200 if is_nightly else 12):
        data = tmp_path / str(number)
        data.mkdir(mode=0o700)
        shutil.copy(key, data)
        clients.append(Client({"ServerURL": "http://127.0.0.1:9"}, data=data, device=device))
    while_open = [*package.handlers], [*handler.filters]
    for client in clients:
        client.close()
    after = [*package.handlers], [*handler.filters]
    package.removeHandler(handler)
    assert ([*before, handler], []) == while_open == after


def test_wrong_settings_are_named_together(device: DeviceDescription, tmp_path: Path) -> None:
    """Settings are checked like mender.conf, and one error contains all faults."""
    with pytest.raises(ConfigError) as caught:
        Client({"ServerURL": "ftp://x", "UpdatePollIntervalSeconds": "soon"}, data=tmp_path, device=device)
    assert 2 == len(caught.value.problems)


@pytest.mark.parametrize("act", [Client.download, Client.step, lambda client: client.report(success=True)])
def test_what_comes_out_of_turn_is_a_mistake(embed: Embed, act: Callable[[Client], object]) -> None:
    """A call in the wrong order raises an error that names the missing call or argument."""
    with pytest.raises(ValueError, match=r"call check\(\)|pass install=|call download\(\)") as caught:
        act(embed())
    assert isinstance(caught.value, UsageError)
