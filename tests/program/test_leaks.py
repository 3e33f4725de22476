"""Secrets are planted everywhere, every command is run with and without faults, and no output may show a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from program.conftest import MakeDevice
from program.leaks import COMMANDS, DRIVEN_OTHERWISE, LINK, PROXY, TENANT, Plant, Watcher, all_commands, bad_storage
from program.stage import FAIL, PROGRAM, SUCCEED
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


@pytest.fixture
def plant(make_device: MakeDevice, tmp_path: Path) -> Plant:
    """A device that has done all of that."""
    program = tmp_path / PROGRAM.name
    program.symlink_to(PROGRAM)  # a process with its own command line, and no fork
    return driven(Plant(make_device(program=program), tmp_path), tmp_path)


def driven(plant: Plant, directory: Path) -> Plant:
    """Run everything with and without faults."""
    with Watcher() as watcher, bad_storage(directory) as storage:  # the device stores the deployed files there
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
    """A command that isn't run here could disclose a secret: add a line to COMMANDS."""
    assert sorted(all_commands()) == sorted([*COMMANDS, *DRIVEN_OTHERWISE])


def test_nothing_shows_a_secret(plant: Plant) -> None:
    """No output, log, file, process listing or message to the server holds a secret that was planted."""
    assert {secret: [] for secret in SECRETS} == {secret: plant.found(secret) for secret in plant.secrets}
    assert_secrets_were_there(plant)
    assert_faults_were_met(plant)
    assert_processes_were_watched(plant)


def assert_secrets_were_there(plant: Plant) -> None:
    """Each secret was present, and the search finds an imitated leak."""
    assert all(plant.secrets.values())
    homes = "".join(home.read_text() for home in plant.homes())
    assert all(mark in homes for mark in plant.secrets["device key"] + plant.secrets["client key"])
    plant.written["a leak"] = f"GET /release-2?X-Amz-Signature={LINK}"
    assert ["a leak"] == plant.found("query of a link")


def assert_faults_were_met(plant: Plant) -> None:
    """The daemons received every bad answer of the storage, at the most detailed log level."""
    said = plant.written["daemon release-2"]
    for words in ("503", "cannot follow the redirect", "asking for a fresh link", "cannot use the deployment offered"):
        assert words in said, said
    assert any(name.startswith("log of") and len(text) > 200 for name, text in plant.written.items())
    said = "".join(text for name, text in plant.written.items() if name.startswith("send-inventory"))
    for words in ("inventory sent", "127.0.0.1:1", "407", "passphrase", "https_proxy", "ServerURL"):
        assert words in said, said


def assert_processes_were_watched(plant: Plant) -> None:
    """The daemon's command line and the sub-updater's environment were among what was searched."""
    lines = [text for name, text in plant.written.items() if name.startswith("command line of ")]
    assert any("daemon --no-syslog" in line for line in lines)
    assert "MENDER_DEPLOYMENT_ID=" in plant.written["environment"]
