"""``setup``: from an empty root directory to a device known to the server."""

from __future__ import annotations

import io
import json
import logging
import os
import select
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from calling import call
from mender_client.app.cli import main
from mender_client.app.setup.existing_device import CLIENT_UNIT, CONNECT_UNIT, DBUS_UNIT, SUB_UPDATER_UNIT
from mender_client.app.setup.run import next_steps
from mender_client.system.locks import DaemonLock
from mender_devserver import DevServer
from waiting import PATIENCE_S

NOBODY = "http://127.0.0.1:9"
SECRET = "geheimes-token"
KEY = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True, slots=True)
class Done:
    """How a run ended."""

    code: int
    out: str
    err: str
    raw: str = ""


class Device:
    """A root directory that ``setup`` turns into a device."""

    def __init__(self, root: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self._capture = capture

    def write(self, path: str, content: str | bytes, *, mode: int = 0o644) -> Path:
        """Write a file below the root."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(mode)
        return file

    def text(self, path: str) -> str:
        """Return the content of a file below the root."""
        return (self.root / path).read_text()

    def client(self, *words: str) -> Done:
        """Run a command in this process."""
        try:
            code = main(["--root", str(self.root), *words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = self._capture.readouterr()
        return Done(code, out.replace(f"{self.root}/", "/"), err.replace(f"{self.root}/", "/"), out)

    def setup(self, *words: str) -> Done:
        """Run ``setup --yes``."""
        return self.client("setup", "--yes", *words)

    def state(self) -> dict[str, tuple[bytes, int, int]]:
        """Return content, mode and modification time of every file."""
        return {
            str(file.relative_to(self.root)): (file.read_bytes(), file.stat().st_mode, file.stat().st_mtime_ns)
            for file in self.root.rglob("*")
            if file.is_file()
        }


@pytest.fixture
def device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Device]:
    """A root directory with only a device key, which is slow to generate; restores the logging configuration."""
    logger = logging.getLogger("mender_client")
    before = logger.handlers, logger.propagate, logger.level, logging.raiseExceptions
    root = tmp_path / "root"
    device = Device(root, capsys)
    device.write("var/lib/mender/mender-agent.pem", KEY, mode=0o600)
    yield device
    logger.handlers, logger.propagate, logger.level, logging.raiseExceptions = before


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevServer]:
    """A server with TLS."""
    with DevServer(directory=tmp_path / "server") as server:
        yield server


def options(server: DevServer) -> list[str]:
    """Return the options that a first setup needs."""
    return [
        "--server-url", server.url, "--server-cert", str(server.certificate), "--device-type", "my-board",
        "--identity", "mac=02:00:00:00:00:01",
    ]  # fmt: skip


def test_from_nothing_to_an_accepted_device(device: Device, server: DevServer) -> None:
    """With only a key present, setup creates everything the client needs, and the server sees a pending device."""
    done = device.setup(*options(server), "--demo", "--install-scripts", "--artifact-name", "release-1")
    assert (0, "") == (done.code, done.err)
    assert "\nwarning  authorisation   not accepted: pending" in done.out
    assert {
        "ServerURL": server.url,
        "ServerCertificate": "/etc/mender/server.crt",
        "UpdatePollIntervalSeconds": 5,
        "InventoryPollIntervalSeconds": 30,
        "RetryPollIntervalSeconds": 5,
    } == json.loads(device.text("etc/mender/mender.conf"))
    assert "device_type=my-board\n" == device.text("var/lib/mender/device_type")
    assert "artifact_name=release-1\n" == device.text("etc/mender/artifact_info")
    modes = {path: stat.S_IMODE(mode) for path, (_, mode, _) in device.state().items()}
    assert (0o600, 0o600) == (modes["etc/mender/mender.conf"], modes["var/lib/mender/mender-agent.pem"])
    assert {0o755} == {mode for path, mode in modes.items() if path.startswith("usr/share/mender/")}
    assert ["pending"] == [one.status for one in server.devices()]
    server.accept(server.devices()[0].id)
    assert 2 == device.client("check-update").code


def test_second_run(device: Device, server: DevServer) -> None:
    """A second run changes no file, says so, and ends with the summary of ``doctor``."""
    server.auto_accept = True
    assert 0 == device.setup(*options(server)).code
    before = device.state()
    done = device.setup(*options(server))
    first, *_, last = done.out.splitlines()
    assert (0, "", before) == (done.code, done.err, device.state())
    assert "nothing to change" == first
    assert f"\nok       authorisation   accepted by {server.url}\nFAULT    install script  /usr/share" in done.out
    assert f"1 fault, 1 warning; run 'mender-python-client --root {device.root} doctor' for the full report" == last


def test_what_is_there_stays(device: Device) -> None:
    """Unknown keys, the order of the keys and their spelling are preserved; settings already in effect aren't added."""
    device.write("var/lib/mender/device_type", "device_type=old\n")
    device.write("etc/mender/artifact_info", "artifact_name=release-7\nrootfs.version=7\n")
    device.write("var/lib/mender/mender.conf", json.dumps({"InventoryPollIntervalSeconds": 77}))
    there = {
        "Own": {"b": 1, "a": [1.5, "\u00e4"]},
        "serverurl": "https://old",
        "Last": "x",
        "RetryPollIntervalSeconds": 9,
    }
    device.write("etc/mender/mender.conf", json.dumps(there))
    done = device.setup("--server-url", NOBODY, "--inventory-poll", "77", "--update-poll", "1800", "--retry-poll", "9")
    assert 0 == done.code
    text = device.text("etc/mender/mender.conf")
    assert {**there, "serverurl": NOBODY} == json.loads(text)
    assert list(there) == list(json.loads(text))
    assert "\u00e4" in text
    assert ("device_type=old\n", "artifact_name=release-7\nrootfs.version=7\n") == (
        device.text("var/lib/mender/device_type"), device.text("etc/mender/artifact_info"),
    )  # fmt: skip
    assert '- "ServerURL": "https://old"\n    + "ServerURL": "http://127.0.0.1:9"\n' in done.out


def test_server_that_does_not_answer(device: Device) -> None:
    """If the server is down, the settings are written, the exit code is 0, and the summary reports the fault."""
    done = device.setup("--server-url", NOBODY, "--device-type", "x", "--identity", "mac=1")
    assert (0, "") == (done.code, done.err)
    assert "\nwritten\n" in done.out
    assert "\nFAULT    connection      http://127.0.0.1:9 can't be reached on port 9: Connection refused\n" in done.out
    assert NOBODY == json.loads(device.text("etc/mender/mender.conf"))["ServerURL"]


NEEDED = ["--server-url", NOBODY, "--device-type", "x"]
NO_SERVER = "mender.conf: no server is configured; pass --server-url"
FAULTS: dict[str, tuple[Callable[[Device], object], list[str], int, str]] = {
    "nothing is known": (
        lambda d: None, [], 78,
        f"{NO_SERVER} [SET06] mender-python-client: /var/lib/mender/device_type: contains no device type; pass",
    ),
    "no server": (lambda d: None, ["--device-type", "x"], 78, NO_SERVER),
    "a wrong address": (lambda d: None, [*NEEDED, "--server-url", "server"], 78, "ServerURL: must be an address"),
    "two servers": (
        lambda d: d.write("etc/mender/mender.conf", '{"Servers": [{"ServerURL": "https://a"}]}'),
        NEEDED, 78, "Servers: cannot be used together with ServerURL",
    ),
    "an interval of nothing": (
        lambda d: None, [*NEEDED, "--update-poll", "0"], 78, "UpdatePollIntervalSeconds: must be at",
    ),
    "a file that is broken": (
        lambda d: d.write("etc/mender/mender.conf", "{"), ["--server-url", NOBODY], 78, "is not valid JSON: line 1",
    ),
    "a file that is wrong": (
        lambda d: d.write("etc/mender/mender.conf", '{"SkipVerify": 1}'), ["--server-url", NOBODY], 78, "true or false",
    ),
    "a file that is a link": (
        lambda d: os.symlink("x", d.write("etc/mender/x", "{}").with_name("mender.conf")),
        NEEDED, 1, "symbolic link",
    ),
    "no device type": (lambda d: None, ["--server-url", NOBODY], 78, "device_type: contains no device type; pass"),
    "no certificate": (
        lambda d: None, [*NEEDED, "--server-cert", "/no.crt"], 1, "/no.crt: there is no such file",
    ),
    "a certificate that is none": (
        lambda d: None, [*NEEDED, "--server-cert", "/etc/passwd"], 1, "it contains no certificate in PEM form",
    ),
    "a certificate that is a device": (
        lambda d: None, [*NEEDED, "--server-cert", "/dev/zero"], 1, "not a regular file; specify a regular file",
    ),
    "a token file that is missing": (
        lambda d: None, ["--tenant-token-file", "/no"], 1, "cannot read the tenant token from /no: No such file",
    ),
    "a token file that is empty": (
        lambda d: None, ["--tenant-token-file", "/dev/null"], 1, "its first line is empty",
    ),
    "another identity": (
        lambda d: d.write("usr/share/mender/identity/mender-device-identity", "#!/bin/sh\necho a=b\n", mode=0o755),
        [*NEEDED, "--identity", "a=c"], 1, "the server would see another device",
    ),
    "two tokens": (lambda d: None, ["--tenant-token", "a", "--tenant-token-file", "b"], 64, "not allowed with"),
    "an identity without a value": (lambda d: None, ["--identity", "mac"], 64, "'mac' is not KEY=VALUE"),
    "a device type of two lines": (lambda d: None, ["--device-type", "a\nb"], 64, "must be one line of text"),
    "an interval that is no number": (lambda d: None, ["--update-poll", "soon"], 64, "'soon' is not a whole number"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_faults(device: Device, name: str) -> None:
    """Each fault has its exit code and a specific message, and nothing is written."""
    plant, words, code, text = FAULTS[name]
    plant(device)
    before = device.state()
    done = device.setup(*words)
    assert (code, "") == (done.code, done.out)
    assert text in done.err.replace("\n", " ")
    assert before == device.state()


def test_without_a_terminal_nothing_is_written_unasked(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """With neither ``--yes`` nor a terminal, setup shows the changes, writes nothing, and exits with 64."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    before = device.state()
    done = device.client("setup", "--server-url", NOBODY, "--device-type", "x")
    assert (64, "nothing was written: standard input is not a terminal; pass --yes [SET14]\n") == (done.code, done.err)
    assert '+ "ServerURL": "http://127.0.0.1:9"\n' in done.out
    assert before == device.state()


@pytest.mark.parametrize("way", ["option", "file", "input"])
def test_tenant_token(device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """The tenant token is read from an option, a file or standard input, and is written but never shown."""
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\nmore\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{SECRET}\n"))
    words = {"option": ["--tenant-token", SECRET], "file": ["--tenant-token-file", str(file)]}
    given = words.get(way, ["--tenant-token-file", "-"])
    done = device.setup("--server-url", NOBODY, "--device-type", "x", "--identity", "a=b", *given)
    assert SECRET == json.loads(device.text("etc/mender/mender.conf"))["TenantToken"]
    assert SECRET not in done.out + done.err
    assert '+ "TenantToken": "(secret)"\n' in done.out


def test_scripts_that_were_adapted_stay(device: Device) -> None:
    """An existing script is kept, and a note says if it differs from the packaged one."""
    own = "usr/share/mender/identity/mender-device-identity"
    device.write(own, "#!/bin/sh\necho serial=5\n", mode=0o755)
    done = device.setup("--server-url", NOBODY, "--device-type", "x", "--install-scripts", "--install-sub-updater")
    assert "#!/bin/sh\necho serial=5\n" == device.text(own)
    assert f"note: /{own} exists and is kept; it differs from the one in this package\n" in done.out
    assert "note: the sub-updater can't work without RootfsPartA and RootfsPartB; see --rootfs-part-a\n" in done.out
    inventory = device.root / "usr/share/mender/inventory"
    assert "mender-inventory-os" in [file.name for file in inventory.iterdir() if os.access(file, os.X_OK)]
    for name in ("install", "rootfs-image"):
        assert os.access(device.root / "usr/share/mender" / name, os.X_OK)


def test_update_modules(device: Device) -> None:
    """Update modules are installed on request; existing ones are kept; a note names the sub-updater as preferred."""
    stock = "usr/share/mender/modules/v3/single-file"
    device.write(stock, "#!/bin/sh\n", mode=0o755)
    words = ("--server-url", NOBODY, "--device-type", "x")
    done = device.setup(*words, "--identity", "a=b")
    assert ["single-file"] == os.listdir(device.root / stock.rpartition("/")[0])
    done = device.setup(*words, "--install-modules")
    assert "#!/bin/sh\n" == device.text(stock)
    assert f"note: /{stock} exists and is kept; it differs from the one in this package\n" in done.out
    missing = (
        "note: the update module rootfs-image can't work without RootfsPartA and RootfsPartB; see --rootfs-part-a\n"
    )
    assert missing in done.out
    assert "note: updates go to" not in done.out
    assert f"note: most update modules are not confined to {device.root}: " in done.out
    modules = [file for file in (device.root / stock).parent.iterdir() if os.access(file, os.X_OK)]
    expected = ["deb", "directory", "docker-compose", "mender-configure", "rootfs-image", "script", "single-file"]
    assert expected == sorted(file.name for file in modules)
    done = device.setup(*words, "--install-modules", "--install-sub-updater")
    assert "note: updates go to the sub-updater while there is /usr/share/mender/install; see Installer\n" in done.out


def test_units(device: Device) -> None:
    """The client's unit is installed on request, and the sub-updater's together with the sub-updater."""
    words = ["--server-url", NOBODY, "--device-type", "x", "--identity", "a=b", "--install-unit"]
    device.setup(*words)
    units = device.root / "etc/systemd/system"
    assert ["mender-python-client.service"] == [unit.name for unit in units.iterdir()]
    assert "\nExecStart=/usr/bin/mender-python-client daemon\n" in (units / "mender-python-client.service").read_text()
    done = device.setup(*words, "--install-sub-updater", "--rootfs-part-a", "/dev/a", "--rootfs-part-b", "/dev/b")
    assert "note: " not in done.out
    written = json.loads(device.text("etc/mender/mender.conf"))
    assert ("/dev/a", "/dev/b") == (written["RootfsPartA"], written["RootfsPartB"])
    assert {"mender-python-client.service", "mender-sub-updater.service"} == {unit.name for unit in units.iterdir()}
    assert f"next: systemctl --root={device.root} enable mender-sub-updater.service\n" in done.raw


def test_unit_of_remote_access(device: Device) -> None:
    """The unit of ``connect`` is installed if its configuration allows remote access."""
    words = ["--server-url", NOBODY, "--device-type", "x", "--identity", "a=b", "--install-unit"]
    device.write("etc/mender/mender-connect.conf", '{"User": "root"}')
    done = device.setup(*words)
    units = device.root / "etc/systemd/system"
    assert {"mender-python-client.service", CONNECT_UNIT} == {unit.name for unit in units.iterdir()}
    assert "\nExecStart=/usr/bin/mender-python-client connect\n" in (units / CONNECT_UNIT).read_text()
    assert f"next: systemctl --root={device.root} enable mender-python-client.service {CONNECT_UNIT}\n" in done.raw


def test_files_for_add_ons(device: Device) -> None:
    """The D-Bus policy, activation file and unit for add-ons are installed on request; see docs/guide/add-ons.md."""
    words = ["--server-url", NOBODY, "--device-type", "x", "--identity", "a=b", "--install-dbus"]
    done = device.setup(*words)
    name, directory = "io.mender.AuthenticationManager", device.root / "usr/share/dbus-1"
    assert f'<allow own="{name}"/>' in (directory / f"system.d/{name}.conf").read_text()
    activation = (directory / f"system-services/{name}.service").read_text()
    assert f"\nSystemdService={DBUS_UNIT}\n" in activation
    assert [DBUS_UNIT] == [unit.name for unit in (device.root / "etc/systemd/system").iterdir()]
    assert f"next: systemctl --root={device.root} enable {DBUS_UNIT}\n" in done.raw


@pytest.mark.parametrize("place", ["lib", "usr/lib"])
def test_packaged_unit_is_used(device: Device, place: str) -> None:
    """A packaged unit is used, since a unit in /etc would override it and hide later changes to it."""
    packaged = device.write(f"{place}/systemd/system/mender-python-client.service", "[Service]\n")
    words = ["--server-url", NOBODY, "--device-type", "x", "--identity", "a=b", "--install-unit"]
    done = device.setup(*words)
    unit = device.root / "etc/systemd/system/mender-python-client.service"
    assert not unit.exists()
    assert f"note: {packaged} of the package is used; no unit is written\n" in done.raw
    assert f"next: systemctl --root={device.root} enable mender-python-client.service\n" in done.raw
    device.write("etc/systemd/system/mender-python-client.service", "[Service]\n")
    done = device.setup(*words)
    assert f"note: {unit} replaces {packaged} of the package: remove it unless you have adapted it\n" in done.raw


@pytest.mark.parametrize(
    ("root", "pid", "units", "steps"),
    [
        ("/", None, [], []),
        ("/", 7, [], ["restart the daemon (pid 7), which still uses the old settings"]),
        ("/", None, [CLIENT_UNIT], [f"systemctl daemon-reload && systemctl enable --now {CLIENT_UNIT}"]),
        ("/", None, [CONNECT_UNIT], [f"systemctl daemon-reload && systemctl enable --now {CONNECT_UNIT}"]),
        (
            "/",
            None,
            [SUB_UPDATER_UNIT, CLIENT_UNIT],
            [f"systemctl daemon-reload && systemctl enable {SUB_UPDATER_UNIT} && systemctl enable --now {CLIENT_UNIT}"],
        ),
        (
            "/image",
            None,
            [SUB_UPDATER_UNIT, CLIENT_UNIT],
            [f"systemctl --root=/image enable {SUB_UPDATER_UNIT} {CLIENT_UNIT}"],
        ),
    ],
)
def test_next_steps(root: str, pid: int | None, units: list[str], steps: list[str]) -> None:
    """The next steps name every unit that was written, since without its boot step no update would be committed."""
    assert steps == next_steps(Path(root), pid, units)


def test_image(device: Device) -> None:
    """``--image`` writes everything but a device key, and contacts no server; it warns about an existing key."""
    words = ["--image", "--server-url", "http://no.such.server", "--device-type", "x", "--install-scripts"]
    assert "mender-agent.pem would be shared by all devices made from this image" in device.setup(*words).out
    key = device.root / "var/lib/mender/mender-agent.pem"
    key.unlink()
    done = device.setup(*words, "--install-unit")
    assert (0, "") == (done.code, done.err)
    assert ("key" in done.out, "doctor" in done.out, key.exists()) == (False, False, False)
    assert (device.root / "usr/share/mender/inventory").is_dir()


def test_image_needs_a_root() -> None:
    """``--image`` is refused for the running system."""
    done = call("setup", "--image", "--yes", "--server-url", NOBODY, "--device-type", "x")
    assert (
        1,
        "mender-python-client: cannot prepare an image: this is the running system; pass --root DIR [SET15]\n",
    ) == (
        done.returncode,
        done.stderr,
    )


def test_certificate_below_the_root_stays_where_it_is(device: Device) -> None:
    """A certificate already on the device is configured with its path, and not copied."""
    file = device.write("etc/ssl/own.pem", "-----BEGIN CERTIFICATE-----\n")
    device.setup("--server-url", "https://127.0.0.1:9", "--device-type", "x", "--server-cert", str(file))
    assert "/etc/ssl/own.pem" == json.loads(device.text("etc/mender/mender.conf"))["ServerCertificate"]
    assert not (device.root / "etc/mender/server.crt").exists()
    assert "nothing to change\n" in device.setup("--server-cert", "/etc/ssl/own.pem").out
    device.setup("--server-cert", str(file.parent))
    assert "/etc/ssl" == json.loads(device.text("etc/mender/mender.conf"))["ServerCertificate"]


def test_daemon_that_runs(device: Device) -> None:
    """If a daemon is running with the old settings, a hint says to restart it."""
    lock = DaemonLock(device.root / "var/lib/mender/daemon.lock")
    lock.acquire()
    done = device.setup("--server-url", NOBODY, "--device-type", "x")
    lock.release()
    assert f"\nnext: restart the daemon (pid {os.getpid()}), which still uses the old settings\n" in done.out


def test_one_file_for_all(device: Device) -> None:
    """The settings can be written to the file in the data directory, which survives root file system updates."""
    words = ["--config", "/var/lib/mender/mender.conf", "--device-type", "x"]
    for address in ("http://127.0.0.1:9/old", NOBODY):
        device.setup(*words, "--server-url", address)
        assert {"ServerURL": address} == json.loads(device.text("var/lib/mender/mender.conf"))


class Terminal:
    """The program with a pseudoterminal, and a user who answers its questions."""

    def __init__(self, *words: str) -> None:
        self._ours, theirs = os.openpty()
        argv = [sys.executable, "-m", "mender_client", *words]
        self._process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        self.seen = ""

    def answer(self, question: str, answer: str, *, end: str = "\n") -> None:
        """Wait for a question, then type the answer."""
        self._read_until(lambda: question in self.seen[self._told :])
        os.write(self._ours, f"{answer}{end}".encode())
        self._told = len(self.seen)

    _told = 0

    def _read_until(self, is_seen: Callable[[], bool]) -> None:
        while not is_seen():
            ready, _, _ = select.select([self._ours], [], [], PATIENCE_S)
            assert ready, self.seen
            try:
                piece = os.read(self._ours, 4096)
            except OSError:  # the program has closed its end
                piece = b""
            assert piece or is_seen(), self.seen
            self.seen += piece.decode().replace("\r\n", "\n")

    def end(self) -> int:
        """Read to the end of the output, and return the exit code."""
        while True:
            try:
                piece = os.read(self._ours, 4096)
            except OSError:
                break
            if not piece:
                break
            self.seen += piece.decode().replace("\r\n", "\n")
        os.close(self._ours)
        return self._process.wait()


def test_questions_on_a_terminal(device: Device, server: DevServer) -> None:
    """On a terminal, setup asks for missing settings, asks again after an invalid answer, and hides the token."""
    (device.root / "etc/systemd/system").mkdir(parents=True)
    terminal = Terminal("--root", str(device.root), "setup", "--identity", "mac=02:00:00:00:00:02")
    terminal.answer("Server address: ", "server")
    terminal.answer("must be an address such as https://mender.example.com\nServer address: ", server.url)
    terminal.answer("Tenant token, not shown (leave empty for none): ", SECRET)
    terminal.answer("Server certificate, a PEM file", "/nowhere.pem")
    terminal.answer("there is no such file\nServer certificate, a PEM file", str(server.certificate))
    terminal.answer("Device type: ", "my-board")
    terminal.answer("Install the systemd unit? [Y/n] ", "n")
    terminal.answer("Write this? [Y/n] ", "")
    assert 0 == terminal.end()
    assert "\nwarning  authorisation   not accepted: pending" in terminal.seen
    assert SECRET not in terminal.seen
    written = json.loads(device.text("etc/mender/mender.conf"))
    assert {"ServerURL": server.url, "TenantToken": SECRET, "ServerCertificate": "/etc/mender/server.crt"} == written
    assert "device_type=my-board\n" == device.text("var/lib/mender/device_type")
    again = Terminal("--root", str(device.root), "setup")
    again.answer("Install the systemd unit? [Y/n] ", "y")
    again.answer("Write this? [Y/n] ", "n")
    assert 2 == again.end()
    assert again.seen.endswith("nothing was written\n")


def test_answers_that_end(device: Device) -> None:
    """End of input (Ctrl-D) at a question ends setup without writing anything."""
    before = device.state()
    terminal = Terminal("--root", str(device.root), "setup")
    terminal.answer("Server address: ", "", end="\x04")
    assert 1 == terminal.end()
    assert terminal.seen.endswith(
        "mender-python-client: cannot set up: standard input ended, and nothing was written; run setup again [SET01]\n"
    )
    assert before == device.state()
