"""The public API as a reader of the guide uses it: what it accepts, refuses and reports."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mender_client import (
    Client,
    ConfigError,
    Deployment,
    DeviceDescription,
    KeyFileError,
    State,
    UsageError,
)
from mender_client.core.devicekey import KeyType
from mender_client.system.crypto import choose_backend
from mender_devserver import DevServer

from .conftest import Embed
from .test_client import device_id, run


def test_numbers_are_sent_as_text(server: DevServer, embed: Embed, device: DeviceDescription) -> None:
    """Numbers and Booleans are accepted as attributes like text, alone or in lists, and numbers in the identity."""
    device.identity = {"serial": 1234}
    device.inventory = {"n": 3, "ratio": 0.5, "on": True, "mixed": [1, "a", False], "none": []}
    device.provides = {"bootloader.version": 7}
    client = embed()
    client.send_inventory()
    assert client.check() is None
    assert {"serial": "1234"} == server.devices()[0].identity
    inventory = server.inventory(device_id(server))
    seen = {name: inventory.get(name) for name in (*device.inventory, *device.provides)}
    expected = {"n": "3", "ratio": "0.5", "on": "true", "mixed": ["1", "a", "false"], "none": None}
    assert {**expected, "bootloader.version": "7"} == seen


@pytest.mark.parametrize(
    ("name", "value", "problems"),
    [
        ("inventory", {"a": None, "b": b"x", "c": {"d": "e"}}, 3),
        ("inventory", {"a": [[1]]}, 1),
        ("inventory", {1: "x"}, 1),
        ("inventory", {"": "x"}, 1),
        ("inventory", [("a", "b")], 1),
        ("identity", {}, 1),
        ("identity", None, 1),
        ("identity", {"serial": None}, 1),
    ],
)
def test_what_cannot_be_sent_is_named(
    embed: Embed, device: DeviceDescription, name: str, value: Any, problems: int
) -> None:
    """Programming mistakes in the description raise one error of this package that names each attribute."""
    setattr(device, name, value)
    with pytest.raises(ConfigError, match=name) as caught:
        embed().send_inventory()
    assert problems == len(caught.value.problems)


@pytest.mark.parametrize(
    ("name", "value"),
    [("device_type", ""), ("device_type", None), ("artifact_name", ""), ("provides", {"x": None}), ("provides", None)],
)
def test_software_without_a_name_is_refused(embed: Embed, device: DeviceDescription, name: str, value: Any) -> None:
    """A value that the server would refuse is refused by the client, with the attribute's name in the error."""
    setattr(device, name, value)
    with pytest.raises(ConfigError, match=name):
        embed().check()


@pytest.mark.parametrize(
    "act",
    [
        Client.authorise,
        Client.send_inventory,
        Client.check,
        Client.download,
        Client.step,
        Client.run,
        lambda client: client.report(success=True),
    ],
)
def test_a_closed_client_is_of_no_use(embed: Embed, act: Callable[[Client], object]) -> None:
    """Every call of a closed client raises an error that says that it is closed."""
    client = embed(lambda *_: True)
    client.close()
    with pytest.raises(UsageError, match="closed"):
        act(client)


def test_a_client_is_closed_once(embed: Embed) -> None:
    """A second close, and a late call from a signal handler, do nothing: the descriptors may have been reused."""
    client = embed()
    client.close()
    mine = [os.open(os.devnull, os.O_RDWR) for _ in range(64)]
    client.close()
    client.poll_now()
    client.stop()
    for descriptor in mine:
        os.close(descriptor)


def encrypt(directory: Path, passphrase: bytes) -> None:
    """Write an encrypted device key to a data directory."""
    (directory / "mender-agent.pem").write_bytes(choose_backend().generate(KeyType.ECDSA, passphrase))


def test_an_encrypted_key_is_unlocked(server: DevServer, device: DeviceDescription, tmp_path: Path) -> None:
    """A client can use an encrypted key with the passphrase from the program."""
    encrypt(tmp_path, "grüße".encode())
    with Client({"ServerURL": server.url}, data=tmp_path, device=device, passphrase="grüße") as client:
        client.authorise()
    assert [{"serial": "1234"}] == [one.identity for one in server.devices()]


@pytest.mark.parametrize(("passphrase", "why"), [(None, "encrypted"), ("wrong", "passphrase"), ("a\nb", "one line")])
def test_a_key_stays_locked(
    server: DevServer, device: DeviceDescription, tmp_path: Path, passphrase: str | None, why: str
) -> None:
    """Without the right passphrase the client isn't created, and the data directory is free for the next attempt."""
    encrypt(tmp_path, b"right")
    for _ in range(2):
        with pytest.raises(KeyFileError, match=why):
            Client({"ServerURL": server.url}, data=tmp_path, device=device, passphrase=passphrase)


def test_a_new_key_is_encrypted(server: DevServer, device: DeviceDescription, tmp_path: Path) -> None:
    """A passphrase encrypts the key that is generated."""
    with Client({"ServerURL": server.url}, data=tmp_path, device=device, passphrase="secret") as client:
        client.authorise()
    assert "ENCRYPTED" in (tmp_path / "mender-agent.pem").read_text()


def test_settings_come_from_a_file(
    server: DevServer, device: DeviceDescription, key: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """mender.conf is read as the daemon reads it: both files, with a warning for each unknown key."""
    data, config = tmp_path / "data", tmp_path / "mender.conf"
    data.mkdir(mode=0o700)
    shutil.copy(key, data)
    config.write_text(json.dumps({"TenantToken": "acme", "Colour": "blue"}))
    (data / "mender.conf").write_text(json.dumps({"Servers": [{"ServerURL": server.url}]}))
    for path in (config, data / "mender.conf"):
        path.chmod(0o600)
    for settings in (config, str(config)):
        with Client(settings, data=data, device=device) as client:
            client.authorise()
    assert any("unknown key 'Colour'" in one for one in caplog.messages)


def test_a_bad_file_is_refused(device: DeviceDescription, tmp_path: Path) -> None:
    """All faults of the file are in one error; a missing file, or one that others can write, is an error as well."""
    config = tmp_path / "mender.conf"
    config.write_text('{"ServerURL": "ftp://x", "UpdatePollIntervalSeconds": "soon"}')
    config.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        Client(config, data=tmp_path, device=device)
    assert 2 == len(caught.value.problems)
    config.chmod(0o666)
    with pytest.raises(ConfigError, match="another user could have written it"):
        Client(config, data=tmp_path, device=device)
    config.unlink()
    with pytest.raises(ConfigError, match="no such file"):
        Client(config, data=tmp_path, device=device)


def test_settings_of_a_program(
    server: DevServer, device: DeviceDescription, key: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Settings can be paths; an unknown key is refused with a suggestion, an unusual value only causes a warning."""
    shutil.copy(key, tmp_path)
    settings: dict[str, object] = {"ServerURL": f" {server.url} ", "ArtifactVerifyKey": None, "UpdateLogPath": tmp_path}
    with Client(settings, data=tmp_path, device=device) as client:
        client.authorise()
    assert 2 == sum("settings: " in one for one in caplog.messages)
    with pytest.raises(ConfigError, match=r"no key 'ServerUrls'; did you mean 'ServerURL'\?") as caught:
        Client({**settings, "ServerUrls": "x"}, data=tmp_path, device=device)
    assert "ignored" not in str(caught.value)


def follow(server: DevServer, device: DeviceDescription, key: Path, data: Path, **callbacks: Any) -> Client:
    """A client that installs an update by storing its name."""

    def install(artifact: Path, deployment: Deployment) -> bool:
        device.artifact_name = deployment.artifact_name
        return artifact.exists()

    shutil.copy(key, data)
    settings = {"ServerURL": server.url, "UpdatePollIntervalSeconds": 1}
    client = Client(settings, data=data, device=device, install=install, **callbacks)
    client.authorise()
    return client


def test_a_program_follows_an_update(server: DevServer, device: DeviceDescription, key: Path, tmp_path: Path) -> None:
    """on_state is called once for each state, with the deployment; on_progress gets the bytes up to the full size."""
    states, progress = list[tuple[State, str]](), list[tuple[int, int | None]]()
    client = follow(
        server,
        device,
        key,
        tmp_path,
        on_state=lambda state, deployment, reason: states.append((state, deployment.artifact_name + reason)),
        on_progress=lambda done, total: progress.append((done, total)),
    )
    with client:
        assert "success" == run(client, server, server.deploy("release-2"))
    expected = [State.DOWNLOADING, State.VERIFIED, State.HANDING_OVER, State.SUCCEEDED]
    assert [(state, "release-2") for state in expected] == states
    size = (tmp_path / "release-2.mender").stat().st_size
    assert (size, size) == progress[-1]
    assert sorted(progress) == progress


@pytest.mark.parametrize(("is_aborted", "end"), [(False, State.FAILED), (True, State.ABORTED)])
def test_a_program_is_told_how_a_download_ends(
    server: DevServer, device: DeviceDescription, key: Path, tmp_path: Path, is_aborted: bool, end: State
) -> None:
    """If a deployment fails or is aborted before download() returns, on_state is called with that end."""
    states, reasons = list[State](), list[str]()

    def told(state: State, deployment: Deployment, reason: str) -> None:
        states.append(state)
        reasons.append(reason)

    shutil.copy(key, tmp_path)
    settings = {"ServerURL": server.url, "PayloadTypes": ["another"]}
    with Client(settings, data=tmp_path, device=device, on_state=told) as client:
        client.authorise()
        deployment_id = server.deploy("release-2")
        assert client.check() is not None
        if is_aborted:
            server.abort(deployment_id)
        assert client.download() is None
    assert [State.DOWNLOADING, end] == states
    assert [False, end is State.FAILED] == ["PayloadTypes" in one for one in reasons]


def test_after_a_restart_states_are_told(
    server: DevServer, embed: Embed, device: DeviceDescription, tmp_path: Path
) -> None:
    """A program that starts during a deployment is notified of its outcome."""
    client = embed()
    client.authorise()
    server.deploy("release-2")
    client.check()
    client.download()
    client.close()
    states = list[State]()
    again = Client(
        {"ServerURL": server.url},
        data=tmp_path / "data",
        device=device,
        on_state=lambda state, *_: states.append(state),
    )
    with again:
        again.report(success=True)
    assert [State.SUCCEEDED] == states


def test_what_a_callback_raises_is_logged(
    server: DevServer, device: DeviceDescription, key: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The exceptions of a callback are logged as one warning, however often they occur, and the update continues."""
    calls = list[int]()

    def fail(*arguments: object) -> None:
        calls.append(len(arguments))
        raise RuntimeError("no display")

    with (
        caplog.at_level(logging.WARNING),
        follow(server, device, key, tmp_path, on_state=fail, on_progress=fail) as client,
    ):
        assert "success" == run(client, server, server.deploy("release-2"))
    assert len(calls) > 4
    told = sorted(one.split(";")[0] for one in caplog.messages if "no display" in one)
    assert ["on_progress raised RuntimeError: no display", "on_state raised RuntimeError: no display"] == told
