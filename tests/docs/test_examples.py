"""Every example in README and docs is run, or is only parsed by a shell for the reason given in the table."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import forking
from mender_client.app.config import load_config
from mender_client.app.config.connect_keys import load_connect
from mender_devserver import DevServer
from mender_devserver.cli import main
from mender_devserver.testing import VirtualDevice
from program.stage import make_artifact
from waiting import PATIENCE_S

from .machine import Machine
from .pages import PAGES, PROJECT, examples, name

RUNNABLE = ("sh", "console", "python", "json", "ini")


@dataclass(frozen=True)
class By:
    """Another test runs the example from the page."""

    test: str


@dataclass(frozen=True)
class Not:
    """It can't be run here; a shell parses it, and its options are checked with the parser (``test_commands``)."""

    reason: str


HERE = "run by a test of this file"
CONFIG = "mender.conf: read by the client"
CONNECT = "mender-connect.conf: read by the client"

_MAKES = "takes minutes: it is what CI and the release do"
_IMAGES = "needs images of half a gigabyte; tests/app/test_artifact_index.py has small ones"
_INSTALLS = "installs into the machine; tests/packaging installs the same files"
EXAMPLES: dict[str, dict[str, list[By | Not | str]]] = {
    "ARCHITECTURE.md": {"Memory and time": [Not("takes minutes")]},
    "CONTRIBUTING.md": {"Set up": [Not(_MAKES)], "Tests": [Not("takes hours"), Not("takes minutes")]},
    "README.md": {
        "Two commands": [Not("tests/demo runs what it runs"), Not("would run this test")],
        "Install": [Not(_INSTALLS), Not(_INSTALLS), Not(_INSTALLS)],
        "First steps on a device": [HERE, HERE, HERE, HERE],
    },
    "docs/guide/ab.md": {
        "Requirements": [CONFIG],
        "GRUB": [By("tests/docs/test_ab.py"), By("tests/docs/test_ab.py")],
    },
    "docs/guide/adaptive.md": {
        "Write an Artifact with an index": [Not(_IMAGES), Not(_IMAGES)],
        "Lay out images": [Not(_IMAGES)],
        "On the device": [CONFIG],
    },
    "docs/guide/artifacts.md": {
        "Write": [By("tests/app/test_artifact_guide.py")] * 2,
        "Inspect": [By("tests/app/test_artifact_guide.py")] * 3,
        "Sign": [By("tests/app/test_artifact_guide.py")] * 3,
        "Rotate keys": [By("tests/app/test_artifact_guide.py")] * 3,
    },
    "docs/guide/devserver-page.md": {
        "The dev server in a browser": [HERE],
        "Virtual devices": [By("tests/testing/test_guide.py")],
    },
    "docs/guide/embed.md": {
        "Register the device and send its inventory": [By("tests/docs/test_embedding_guide.py")],
        "Poll, download, and report": [By("tests/docs/test_embedding_guide.py")],
        "Install with a function": [By("tests/docs/test_embedding_guide.py")],
        "Install with update modules": [By("tests/docs/test_embedding_guide.py")] * 2,
        "Reboots": [By("tests/docs/test_embedding_guide.py")],
        "Show progress and state": [By("tests/docs/test_embedding_guide.py")],
        "Let people decide": [By("tests/docs/test_embedding_guide.py")],
        "Many devices": [By("tests/embedding/test_gateway.py")],
        "Read the Artifact": [By("tests/docs/test_embedding_guide.py")],
    },
    "docs/guide/first-device.md": {
        "On your workstation: three commands": [By("tests/docs/test_first_device.py")] * 4,
        "A first update": [By("tests/docs/test_first_device.py")] * 3,
        "On a device": [HERE, HERE],
    },
    "docs/guide/fleet.md": {
        "Simulate a fleet": [Not(_INSTALLS)],
        "A first fleet": [By("tests/fleet/test_program.py")],
        "Your own server": [Not("needs a server of one's own")],
        "Kinds of devices": [By("tests/fleet/test_program.py")],
        "Plan a large fleet": [Not("needs several machines")],
    },
    "docs/guide/from-the-archived-client.md": {
        "Migrate one device": [HERE, HERE, HERE, Not(_INSTALLS), HERE, HERE, HERE],
        "Go back": [HERE, HERE, HERE],
        "From the Go or C++ client": [HERE],
    },
    "docs/guide/gateway.md": {
        "Install updates": [By("tests/docs/test_gateway_guide.py")],
        "Describe the devices": [Not("tests/app/test_gateway_entries.py checks descriptions")],
        "Start the gateway": [Not("tests/support/test_scripts.py checks the unit")],
        "Operate the gateway": [Not("tests/program/test_gateway.py has devices")],
        "Four controllers on a serial line": [By("tests/docs/test_gateway_guide.py")] * 5,
    },
    "docs/guide/install.md": {
        "pip": [Not(_INSTALLS)],
        "Zipapp": [Not(_INSTALLS)],
        "Debian": [Not(_INSTALLS)],
        "BusyBox's init": [HERE, HERE],
    },
    "docs/guide/device-configuration.md": {
        "Apply it": [By("tests/docs/test_device_configuration.py"), Not("needs systemd")],
    },
    "docs/guide/keys.md": {
        "The device key": [HERE, HERE],
        "Use your own key": [CONFIG],
        "Encrypted keys": [Not("runs until it is stopped; tests/program/test_keys.py does that")],
        "Keys in hardware": [CONFIG],
    },
    "docs/guide/add-ons.md": {
        "Enable it": [
            Not(_INSTALLS),
            By("tests/app/test_setup.py"),
            Not("needs systemd"),
            By("tests/dbus/test_object.py"),
        ],
        "Decide about updates": [By("tests/dbus/test_decisions.py")],
    },
    "docs/guide/operate.md": {
        "Status": [Not("--follow runs until it is stopped; tests/app/test_status.py does that")],
        "History": [HERE, HERE],
        "Poll now": [HERE],
        "Metrics": [Not("runs until it is stopped; tests/program/test_service.py does that")],
    },
    "docs/guide/proxy.md": {"Proxies": [HERE, HERE, HERE]},
    "docs/guide/remote-access.md": {
        "Enable it": [Not(_INSTALLS), CONNECT, Not("runs until it is stopped; tests/connect does that")],
        "Try it with the dev server": [Not("needs a connected device; tests/connect types the same")],
        "Permissions": [CONNECT],
    },
    "docs/guide/release.md": {"Make": [Not(_MAKES), Not("changes the tree")], "Check": [Not(_MAKES)]},
    "docs/guide/standalone.md": {
        "From a USB stick": [By("tests/docs/test_standalone_guide.py")] * 3,
        "Reboots": [By("tests/docs/test_standalone_guide.py")],
        "Stop and resume": [By("tests/docs/test_standalone_guide.py")],
        "The first name of a new device": [By("tests/docs/test_standalone_guide.py")],
    },
    "docs/guide/sub-updater.md": {"A minimal sub-updater": [HERE]},
    "docs/guide/test-your-sub-updater.md": {
        "A first test": [By("tests/docs/test_plugin_guide.py")] * 2,
        "Reboots": [Not("a line for a script of the reader"), Not("a line for a test of the reader")],
        "Update modules": [By("tests/docs/test_plugin_guide.py")],
    },
    "docs/guide/tls-and-keys.md": {
        "Private CA": [CONFIG],
        "Mutual TLS": [CONFIG],
        "Network errors": [Not("needs a server on the internet")],
        "Several servers": [CONFIG],
    },
    "docs/guide/troubleshooting.md": {"Troubleshooting": [HERE]},
    "docs/guide/unprivileged.md": {
        "Set it up": [HERE],
        "Protection": [Not("two lines for a script of the reader")],
    },
    "docs/guide/update-gates.md": {
        "Only at night": [By("tests/docs/test_update_gates.py")],
        "When an operator agrees": [By("tests/docs/test_update_gates.py")] * 2,
        "Not while the machine is in use": [By("tests/docs/test_update_gates.py")] * 2,
        "Not on battery": [By("tests/docs/test_update_gates.py")],
        "Not over a metered link, and slowly by day": [By("tests/docs/test_update_gates.py")] * 2,
    },
    "docs/guide/update-modules.md": {
        "A single file": [By("tests/docs/test_update_modules.py")],
        "A directory": [By("tests/docs/test_update_modules.py")],
        "Containers": [By("tests/docs/test_update_modules.py")],
        "Debian packages": [By("tests/docs/test_update_modules.py")],
        "Scripts": [By("tests/docs/test_update_modules.py")],
        "A root file system": [By("tests/docs/test_update_modules.py"), CONFIG],
        "Write your own": [By("tests/docs/test_update_modules.py")] * 2,
        "In Python": [By("tests/docs/test_update_modules.py")],
    },
    "docs/reference/configuration.md": {"Configuration": [CONFIG], "Ask the program": [HERE]},
    "docs/reference/devserver.md": {
        "A first round": [HERE, HERE],
        "From Python": [HERE],
        "As a user of device connect": [By("tests/connect/test_users.py")],
        "The page's feed": [HERE],
    },
    "docs/security.md": {"Fuzzing": [Not("takes hours")]},
}
"""How each example is run, by page and heading, in the order on the page."""


def programs() -> dict[str, str]:
    """The environment in which our programs are called."""
    return {**os.environ, "PATH": forking.path()}


def example(page: str, heading: str, number: int = 0) -> str:
    """An example exactly as on the page."""
    return [block.text for where, block in examples(PROJECT / page) if where == heading and block.language in RUNNABLE][
        number
    ]


def of_kind(kind: type | str) -> list[tuple[str, str, int]]:
    """Page, heading and number of the examples that are run in one way."""
    return [
        (page, heading, number)
        for page, headings in EXAMPLES.items()
        for heading, hows in headings.items()
        for number, how in enumerate(hows)
        if how == kind or (isinstance(kind, type) and isinstance(how, kind))
    ]


def test_every_example_is_in_the_table() -> None:
    """Each runnable block has an entry in ``EXAMPLES``; add it there, with the way to run it."""
    found = Counter(
        (name(page), heading) for page in PAGES for heading, block in examples(page) if block.language in RUNNABLE
    )
    assert found == Counter({(page, where): len(hows) for page, one in EXAMPLES.items() for where, hows in one.items()})


@pytest.mark.parametrize("page", sorted({page for page, _, _ in of_kind(By)}))
def test_the_other_test_reads_the_page(page: str) -> None:
    """A test that is said to run the examples of a page names that page."""
    tests = {how.test for hows in EXAMPLES[page].values() for how in hows if isinstance(how, By)}
    assert [] == [test for test in tests if page not in (PROJECT / test).read_text("utf-8")]


@pytest.mark.parametrize(("page", "heading", "number"), of_kind(CONNECT))
def test_settings_of_connect(page: str, heading: str, number: int, tmp_path: Path) -> None:
    """An example of mender-connect.conf is valid and causes no warning."""
    file = tmp_path / "mender-connect.conf"
    file.write_text(example(page, heading, number))
    assert () == load_connect(file, file)[1]


@pytest.mark.parametrize(("page", "heading", "number"), of_kind(CONFIG))
def test_configurations_are_right(page: str, heading: str, number: int, tmp_path: Path) -> None:
    """A mender.conf on a page has neither unknown keys nor values of a wrong type."""
    values = json.loads(example(page, heading, number))
    server = {} if "Servers" in values else {"ServerURL": "https://mender.example.com"}
    (tmp_path / "mender.conf").write_text(json.dumps(server | values))
    assert () == load_config(tmp_path / "mender.conf", tmp_path / "none.conf").warnings


@pytest.mark.parametrize(
    ("page", "heading", "number"), [one for one in of_kind(Not) if "mender_device" not in example(*one)]
)
def test_what_is_not_run_is_read_by_a_shell(page: str, heading: str, number: int) -> None:
    """An example that can't be run here is a script in which the shell finds no error."""
    text = example(page, heading, number)
    commands = [["sh", "-n"]]
    if shutil.which("shellcheck"):
        commands.append(["shellcheck", "-s", "sh", "-e", "SC2154", "-"])
    for command in commands:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """A server that accepts every device."""
    with DevServer(tmp_path_factory.mktemp("server"), tls=False, auto_accept=True) as server:
        yield server


@pytest.fixture
def machine(server: DevServer, tmp_path: Path) -> Machine:
    """A machine with nothing set up."""
    return Machine(tmp_path, server.url)


def typed(machine: Machine, page: str, heading: str, number: int = 0, *, codes: tuple[int, ...] = (0,)) -> str:
    """Run the commands of an example on a machine, and return the output."""
    done = machine.type(example(page, heading, number))
    assert done.returncode in codes, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_first_steps(machine: Machine) -> None:
    """README's steps take a machine from nothing to a device that the server knows."""
    page, heading = "README.md", "First steps on a device"
    assert "accepted by http://" in typed(machine, page, heading, 0)
    for file in ("systemd/system/mender-sub-updater.service", "systemd/system/mender-python-client.service"):
        assert (machine.root / "etc" / file).exists()
    typed(machine, page, heading, 1)
    assert "systemctl enable --now mender-python-client.service" in machine.calls
    machine.write("etc/mender/artifact_info", "artifact_name=release-1\n")
    said = typed(machine, page, heading, 2)
    assert "no update\n" in said
    assert "\nrelease-1\n" in said
    said = typed(machine, page, heading, 3, codes=(0, 1))
    assert "ok       authorisation" in said
    assert "ok       authorisation" in typed(machine, "docs/guide/troubleshooting.md", "Troubleshooting", codes=(0, 1))
    page = "docs/guide/operate.md"
    assert "no deployment has finished on this device\n" == typed(machine, page, "History")
    assert "no deployment was logged on this device\n" == typed(machine, page, "History", 1, codes=(2,))
    assert "no update\n" in typed(machine, page, "Poll now", codes=(2,))


def test_first_device_on_a_device(machine: Machine) -> None:
    """The two ways to set up a device, interactively and unattended."""
    machine.write("run/token", "a-token\n", 0o600)
    page, heading = "docs/guide/first-device.md", "On a device"
    assert "accepted by" in typed(machine, page, heading, 0)
    assert "accepted by" in typed(machine, page, heading, 1)
    assert "a-token" in (machine.root / "etc/mender/mender.conf").read_text()


def test_take_over_and_go_back(machine: Machine) -> None:
    """Each step of the migration from the archived client, and back, has the effect that the page describes."""
    machine.write("etc/mender/mender.conf", '{"InventoryPollIntervalSeconds": 1800}', 0o600)
    machine.write("etc/mender/artifact_info", "artifact_name=before\n")
    machine.write("var/lib/mender/device_type", "device_type=testdev\n")
    key = machine.root / "var/lib/mender/mender-agent.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key],
                   check=True, capture_output=True)  # fmt: skip
    key.chmod(0o600)
    page, forth, back = "docs/guide/from-the-archived-client.md", "Migrate one device", "Go back"
    assert "No such file" in typed(machine, page, forth, 0)
    typed(machine, page, forth, 1)
    typed(machine, page, forth, 2)
    assert "accepted by" in typed(machine, page, forth, 4)
    assert "list" == json.loads((machine.root / "etc/mender/mender.conf").read_text())["IdentityFormat"]
    typed(machine, page, forth, 5)
    typed(machine, page, forth, 6)
    machine.type("mender-python-client send-inventory")  # in place of the daemon, which writes the state file
    said = typed(machine, page, back, 0)
    assert '"update": null' in said
    assert '"outbox": []' in said
    typed(machine, page, back, 1)
    assert "IdentityFormat" not in (machine.root / "etc/mender/mender.conf").read_text()
    typed(machine, page, back, 2)
    left = {file.name for file in (machine.root / "var/lib/mender").iterdir()}
    assert {"mender-agent.pem", "device_type"} <= left
    assert not {"journal.json", "daemon.lock"} & left


def test_take_over_from_the_other_clients(machine: Machine) -> None:
    """One command migrates a device from the Go or C++ client."""
    machine.write("var/lib/mender/device_type", "device_type=testdev\n")
    machine.write("etc/mender/mender.conf", "{}", 0o600)
    machine.write("etc/mender/artifact_info", "artifact_name=before\n")
    key = machine.root / "var/lib/mender/mender-agent.pem"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], check=True)
    key.chmod(0o600)
    said = typed(machine, "docs/guide/from-the-archived-client.md", "From the Go or C++ client")
    assert "accepted by" in said


def test_keys(machine: Machine) -> None:
    """A key is generated, and replaced with force."""
    page, heading = "docs/guide/keys.md", "The device key"
    first = typed(machine, page, heading, 0)
    assert first != typed(machine, page, heading, 1)


def test_ask_the_program(machine: Machine, server: DevServer) -> None:
    """The three questions about the configuration are answered."""
    machine.write("etc/mender/mender.conf", json.dumps({"ServerURL": server.url}), 0o600)
    said = typed(machine, "docs/reference/configuration.md", "Ask the program")
    assert "UpdatePollIntervalSeconds" in said


def test_behind_a_proxy(machine: Machine, server: DevServer, tmp_path: Path) -> None:
    """systemd accepts the drop-in, and doctor reports the proxy from the environment."""
    page, heading = "docs/guide/proxy.md", "Proxies"
    drop_in = example(page, heading, 0)
    if shutil.which("systemd-analyze"):
        unit = tmp_path / "proxied.service"
        unit.write_text("[Unit]\nDescription=x\n[Service]\nExecStart=/bin/true\n")
        (tmp_path / "proxied.service.d").mkdir()
        (tmp_path / "proxied.service.d/proxy.conf").write_text(drop_in)
        command = ["systemd-analyze", "verify", "--man=no", str(unit)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (0, "") == (done.returncode, done.stderr)
    typed(machine, page, heading, 1)
    machine.write("etc/mender/mender.conf", json.dumps({"ServerURL": "https://mender.invalid"}), 0o600)
    with_proxy = example(page, heading, 2).replace("proxy.example.com:3128", server.url.partition("//")[2])
    done = machine.type(with_proxy)
    assert re.search(r"^(FAULT|ok) +proxy +.*" + re.escape(server.url), done.stdout, re.MULTILINE), done.stdout


def test_files_for_a_machine(machine: Machine) -> None:
    """The files that are copied into a machine for BusyBox's init, and for a non-root client, exist."""
    for number in (0, 1):
        typed(machine, "docs/guide/install.md", "BusyBox's init", number)
    assert (machine.root / "etc/init.d/S79mender-sub-updater").exists()
    machine.write("etc/mender/mender.conf", "{}")
    typed(machine, "docs/guide/unprivileged.md", "Set it up")
    assert "hand-over" in (machine.root / "usr/share/mender/install").read_text()
    assert machine.calls[-1].startswith("systemctl enable mender-python-client.service mender-install.path")


@pytest.mark.usefixtures("forked_python")
def test_the_smallest_sub_updater(mender_device: object, tmp_path: Path) -> None:
    """The example installs and reports."""
    from mender_devserver.testing import DirectoryDevice

    assert isinstance(mender_device, DirectoryDevice)
    program = tmp_path / "install"
    program.write_text(example("docs/guide/sub-updater.md", "A minimal sub-updater"))
    mender_device.install_sub_updater(program)
    outcome = mender_device.update("release-2", b"the new program")
    assert ("success", "release-2") == (outcome.status, mender_device.artifact_name), outcome


def prompts(text: str) -> list[str]:
    """The commands in a block with prompts."""
    return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]


@pytest.fixture
def devserver(tmp_path: Path) -> Iterator[str]:
    """The dev server started as on the page, but without TLS; its URL."""
    (start,) = prompts(example("docs/reference/devserver.md", "A first round", 0))
    command = [*start.removesuffix(" &").split(), "--plain"]
    with subprocess.Popen(command, cwd=tmp_path, env=programs(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = ""
        while "stop with" not in said and (line := process.stdout.readline()):
            said += line
        try:
            yield said.split()[1]
        finally:
            process.terminate()
            process.communicate()


def test_a_first_round_with_the_dev_server(
    devserver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From an empty directory to a deployment, with the commands on the page."""

    def say(command: str, *, code: int = 0) -> str:
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=tmp_path,
            env=programs(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert code == done.returncode, done.stderr
        return done.stdout + done.stderr

    def see(command: str, words: str) -> None:
        # repeated many times in this process, and once exactly as on the page
        def is_said() -> bool:
            main(command.split()[1:])
            return words in capsys.readouterr().out

        device.run_until(is_said, timeout_seconds=PATIENCE_S)
        assert words in say(command)

    monkeypatch.chdir(tmp_path)
    make_artifact(tmp_path / "release-2.mender", "release-2")
    start, ask_page = prompts(example("docs/guide/devserver-page.md", "The dev server in a browser"))
    assert "mender-devserver serve --plain &" == start
    assert say(ask_page).startswith(f"{devserver}/#")
    listing, accept, upload, deploy, status, log = prompts(example("docs/reference/devserver.md", "A first round", 1))
    with VirtualDevice(devserver, tmp_path / "device", device_type="testdev") as device:
        see(listing, "pending")
        say(accept)
        say(upload)
        see(listing, "accepted")
        assert re.fullmatch(r"[0-9a-f-]{36}\n", say(deploy))
        see(status, "success")
    assert "no device has sent one" in say(log, code=2)  # no device has failed


def test_the_dev_server_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example deploys over an unreliable link, and ends with success."""
    make_artifact(tmp_path / "release-2.mender", "release-2", payload=bytes(200_000))
    devices: list[VirtualDevice] = []

    def start_a_device(url: str, certificate: Path) -> None:
        devices.append(VirtualDevice(url, tmp_path / "device", device_type="testdev", certificate=certificate))
        devices[0].start()

    monkeypatch.chdir(tmp_path)
    try:
        exec(
            example("docs/reference/devserver.md", "From Python"),
            {"directory": tmp_path / "server", "start_a_device": start_a_device},
        )
    finally:
        for device in devices:
            device.close()


def test_the_feed_is_json() -> None:
    """The output of the feed on the page can be parsed."""
    assert {"first", "changed", "events"} == set(json.loads(example("docs/reference/devserver.md", "The page's feed")))
