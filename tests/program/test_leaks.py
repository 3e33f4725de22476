"""Secrets are planted everywhere, every command is driven through good and bad days, and nothing may show one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mender_devserver import DevServer
from program.leaks import COMMANDS, DRIVEN_OTHERWISE, LINK, PROXY, TENANT, Plant, Watcher, all_commands, bad_storage
from program.stage import FAIL, PROGRAM, SUCCEED, Device
from system.rawserver import RawServer, raw

SECRETS = (
    "tenant token",
    "query of a link",
    "credentials in an address",
    "proxy password",
    "passphrase",
    "device key",
    "client key",
    "signing key",
    "token",
)
REFUSAL = b"HTTP/1.1 407 Say who you are\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, certificate_directory: Path) -> Iterator[Plant]:
    """A device that has gone through all of it."""
    directory = tmp_path_factory.mktemp("leaks")
    shutil.copytree(certificate_directory, directory / "server")
    with DevServer(directory / "server") as server:
        program = directory / PROGRAM.name
        program.symlink_to(PROGRAM)  # a process with a command line of its own, and no fork
        device = Device(directory / "device", server, program=program)
        try:
            yield driven(Plant(device, directory), directory)
        finally:
            device.close()


def driven(plant: Plant, directory: Path) -> Plant:
    """Drive everything through good days and bad ones."""
    with Watcher() as watcher, bad_storage(directory) as storage:  # the device puts what it deploys there
        plant.run_commands("good day")
        plant.daemon_life(storage.url, "release-2", plan=SUCCEED)
        plant.daemon_life(storage.url, "release-3", plan=FAIL)
    plant.configure(Security={"AuthPrivateKey": "/etc/mender/locked.pem"})
    plant.run_commands("a locked key", "--passphrase-file", "/etc/mender/passphrase")
    plant.configure(Security={"AuthPrivateKey": "/etc/mender/locked.pem"})
    plant.run_commands("another passphrase", "--passphrase-file", "/etc/mender/tenant")
    plant.configure(ServerURL="https://127.0.0.1:1")
    plant.run_commands("no server")
    plant.configure(ServerURL=f"https://u:{TENANT}@h/?{LINK}")
    plant.run_commands("a bad configuration")
    with RawServer(raw(REFUSAL)) as proxy, pytest.MonkeyPatch.context() as environment:
        for name in ("no_proxy", "NO_PROXY"):
            environment.delenv(name, raising=False)
        for client_status, url in (("a proxy that refuses", proxy.url), ("a bad proxy", "ftp://proxy")):
            environment.setenv("https_proxy", url.replace("://", f"://u:{PROXY}@"))
            plant.configure(ServerURL="https://mender.test")  # the proxy is asked for it, and never a name server
            plant.run_commands(client_status)
    plant.written |= watcher.seen
    plant.collect()
    return plant


def test_every_command_is_driven() -> None:
    """A command that nobody drives here could show a secret: add a line to COMMANDS."""
    assert sorted(all_commands()) == sorted([*COMMANDS, *DRIVEN_OTHERWISE])


@pytest.mark.parametrize("secret", SECRETS)
def test_nothing_shows_a_secret(plant: Plant, secret: str) -> None:
    """No output, log, file, process listing or message to the server holds the secret."""
    assert [] == plant.found(secret)


def test_all_secrets_are_searched_for(plant: Plant) -> None:
    """Every planted secret is looked for, and each of them was there to be found."""
    assert sorted(SECRETS) == sorted(plant.secrets)
    assert all(plant.secrets.values())
    homes = "".join(home.read_text() for home in plant.homes())
    assert all(mark in homes for mark in plant.secrets["device key"] + plant.secrets["client key"])


def test_search_finds(plant: Plant) -> None:
    """The search finds what is there: what a leak would look like is found by the same means."""
    leaky = Plant.found
    plant.written["a leak"] = f"GET /release-2?X-Amz-Signature={LINK}"
    assert ["a leak"] == leaky(plant, "query of a link")
    del plant.written["a leak"]


def test_faults_were_met(plant: Plant) -> None:
    """The daemons went through every bad answer of the storage, at the finest log level."""
    said = plant.written["daemon release-2"]
    for words in ("503", "cannot follow the redirect", "asking for a fresh link", "cannot use the deployment offered"):
        assert words in said, said
    assert any(name.startswith("log of") and len(text) > 200 for name, text in plant.written.items())
    said = "".join(text for name, text in plant.written.items() if name.startswith("send-inventory"))
    for words in ("inventory sent", "127.0.0.1:1", "407", "passphrase", "https_proxy", "ServerURL"):
        assert words in said, said


def test_processes_were_watched(plant: Plant) -> None:
    """The daemon's command line and the sub-updater's environment were among what was searched."""
    lines = [text for name, text in plant.written.items() if name.startswith("command line of ")]
    assert any("daemon --no-syslog" in line for line in lines)
    assert "MENDER_DEPLOYMENT_ID=" in plant.written["environment"]
