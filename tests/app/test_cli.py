"""The command line: exit codes, output streams and the absence of tracebacks, partly tested with real processes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import forking
from calling import call, check
from mender_client import __version__
from mender_client.app.cli import main
from mender_client.app.commands import CLIENT
from mender_client.commandline import Command, Options, Part, Program
from mender_client.core.devicekey import fingerprint

NOBODY = "http://127.0.0.1:9"
"""An address where nothing listens."""


class Device:
    """A root directory with everything the program needs of a device."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "var/lib/mender"
        self.data.mkdir(parents=True)
        self.write("etc/mender/mender.conf", json.dumps({"ServerURL": NOBODY}))
        self.write("etc/mender/artifact_info", "artifact_name=release-1\n")
        self.write("var/lib/mender/device_type", "device_type=qemu\n")
        self.write("usr/share/mender/identity/mender-device-identity", "#!/bin/sh\necho mac=x\n", mode=0o755)

    def write(self, path: str, content: str, *, mode: int = 0o644) -> Path:
        """Write a file below the root."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(mode)
        return file

    def run(
        self, *arguments: str, environment: dict[str, str] | None = None, stdout: int = subprocess.PIPE
    ) -> subprocess.CompletedProcess[str]:
        """Run the program on this device; fail if it prints a traceback."""
        done = subprocess.run(
            [str(forking.python()), "-m", "mender_client", "--root", str(self.root), *arguments],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
        check(done)
        return done

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Do the same in this process, which takes a tenth of the time."""
        return call("--root", str(self.root), *arguments)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """A device whose server doesn't respond."""
    return Device(tmp_path / "root")


def test_version(device: Device) -> None:
    """--version prints name and version without loading network, configuration or cryptography modules."""
    assert f"mender-python-client {__version__}\n" == device.run("--version").stdout
    code = (
        "import sys; from mender_client.app.cli import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: print(*[name for name in ('http', 'ssl', 'logging', 'json', 'cryptography',"
        " 'subprocess', 'socket', 'mender_client.core', 'mender_client.system') if name in sys.modules])"
    )
    bare = f"import sys; sys.path[:] = {sys.path!r}\n{code}"  # without site, which may load other modules
    argv = [sys.executable, "-I", "-S", "-c", bare]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert f"mender-python-client {__version__}\n\n" == done.stdout


@pytest.mark.parametrize("command", ["status", "history"])
def test_looking_loads_little(device: Device, command: str) -> None:
    """``status`` and ``history`` don't load logging, subprocesses, cryptography or the device API."""
    code = (
        f"import sys; from mender_client.app.cli import main; main(['--root', {str(device.root)!r}, {command!r}])\n"
        "print(*[name for name in ('hashlib', 'http', 'logging', 'ssl', 'subprocess', 'mender_client.core.wire')"
        " if name in sys.modules])"
    )
    bare = f"import sys; sys.path[:] = {sys.path!r}\n{code}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", bare], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n\n")


SEE = "see 'mender-python-client{}--help' [USE02]"
USAGE: dict[tuple[str, ...], str] = {
    ("fly",): f": unknown command 'fly'; {SEE.format(' ')}",
    ("stauts",): f": unknown command 'stauts'; did you mean 'status'? {SEE.format(' ').replace('see', 'See')}",
    ("daemon", "--fly"): f" daemon: unknown option '--fly'; {SEE.format(' daemon ')}",
    ("daemon", "extra"): f" daemon: unrecognized arguments: extra; {SEE.format(' daemon ')}",
    ("status", "--jsn"): " status: unknown option '--jsn'; did you mean '--json'? "
    + SEE.format(" status ").replace("see", "See"),
    ("--verison",): ": unknown option '--verison'; did you mean '--version'? " + SEE.format(" ").replace("see", "See"),
    ("report",): f" report: one of the arguments --success --failure --rebooting is required; {SEE.format(' report ')}",
    ("report", "--sucess"): " report: unknown option '--sucess'; did you mean '--success'? "
    + SEE.format(" report ").replace("see", "See"),
    ("report", "--success", "--failure"): " report: argument --failure: not allowed with argument --success; "
    + SEE.format(" report "),
    ("-l", "loud", "show-artifact"): ": argument -l/--log-level: unknown log level 'loud' "
    f"(debug, info, warning, error or critical); {SEE.format(' ')}",
    ("show-artifact", "-l", "loud"): " show-artifact: argument -l/--log-level: unknown log level 'loud' "
    f"(debug, info, warning, error or critical); {SEE.format(' show-artifact ')}",
    ("-c",): f": argument -c/--config: expected one argument; {SEE.format(' ')}",
    ("artifact", "sgin"): " artifact: unknown command 'sgin'; did you mean 'sign'? "
    + SEE.format(" artifact ").replace("see", "See"),
    ("artifact", "cat"): " artifact cat: the following arguments are required: ARTIFACT; "
    + SEE.format(" artifact cat "),
    ("report", "--success", "--timeout", "soon"): " report: argument --timeout: 'soon' is not a number of seconds "
    f"from 0 to 86400; {SEE.format(' report ')}",
    ("report", "--success", "--timeout", "nan"): " report: argument --timeout: 'nan' is not a number of seconds "
    f"from 0 to 86400; {SEE.format(' report ')}",
}


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_usage(device: Device, arguments: tuple[str, ...]) -> None:
    """Wrong usage is reported on one line with a suggestion and a hint where to look; the exit code is 64."""
    done = device.call(*arguments)
    assert (64, "", f"mender-python-client{USAGE[arguments]}\n") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("words", [(), ("artifact",), ("artifact", "write"), ("config",)], ids=" ".join)
def test_list_of_commands(words: tuple[str, ...]) -> None:
    """Without a command, the program lists its commands, one per line, within 80 columns, and exits with 64."""
    done = call(*words)
    name = " ".join(("mender-python-client", *words))
    lines = done.stderr.splitlines()
    assert (64, "") == (done.returncode, done.stdout)
    assert f"usage: {name} [OPTIONS] COMMAND [ARGUMENTS]" == lines[0]
    assert f"see '{name} COMMAND --help'" == lines[-1]
    parts: Sequence[Part] = CLIENT.commands
    for word in words:
        command = next(one for one in parts if isinstance(one, Command) and one.name == word)
        parts = command.parts() if callable(command.parts) else command.parts
    assert [one.name for one in parts if isinstance(one, Command)] == [line.split()[0] for line in lines[3:-2]]
    assert [] == [line for line in lines if len(line) > 80]


def test_usage_ends_the_process(device: Device) -> None:
    """The process exits with the code for wrong usage."""
    done = device.run("fly")
    assert (64, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))


@pytest.mark.parametrize("arguments", [("--help",), ("daemon", "-h"), ("artifact", "cat", "-h")], ids=" ".join)
def test_help(device: Device, arguments: tuple[str, ...]) -> None:
    """Help is written to standard output, lists the exit codes, and exits with 0."""
    done = device.call(*arguments)
    assert (0, "") == (done.returncode, done.stderr)
    assert "exit codes: 0 done; 1 failed; 2 nothing to do" in done.stdout


def test_show_artifact(device: Device) -> None:
    """show-artifact prints only the name, and needs neither configuration nor server."""
    device.write("etc/mender/mender.conf", "broken")
    done = device.run("show-artifact")
    assert (0, "release-1\n", "") == (done.returncode, done.stdout, done.stderr)


def test_options_around_the_verb(device: Device) -> None:
    """An option is accepted before and after the command; the later one wins."""
    log = device.root / "log"
    arguments = ("send-inventory", "-L", str(log))
    for order in (arguments, (*arguments[1:], arguments[0]), ("-L", "/nowhere", *arguments)):
        log.unlink(missing_ok=True)
        assert 1 == device.run(*order).returncode
        assert log.exists()


def test_options_behind_artifact_cat(device: Device) -> None:
    """The common options are also accepted after a nested command."""
    done = device.run("artifact", "cat", "/no/such", "-l", "debug")
    assert (1, "mender-python-client: cannot read /no/such: No such file or directory; check the path [ART42]\n") == (
        done.returncode,
        done.stderr,
    )


def test_bootstrap(device: Device) -> None:
    """bootstrap writes the public key to standard output, and what it did to standard error."""
    done = device.run("bootstrap")
    assert 0 == done.returncode
    assert done.stdout.startswith("-----BEGIN PUBLIC KEY-----\n")
    mark = f"(RSA, SHA-256 {fingerprint(done.stdout)})\n"
    assert f"mender-python-client: generated a new device key {mark}" == done.stderr
    again = device.run("bootstrap")
    assert (done.stdout, f"mender-python-client: the device key already exists {mark}") == (again.stdout, again.stderr)


def test_all_problems_of_the_configuration(device: Device) -> None:
    """An invalid configuration leads to exit code 78 and one line per problem."""
    device.write("etc/mender/mender.conf", '{"ServerURL": 5, "SkipVerify": 5}')
    done = device.run("check-update")
    assert (78, "") == (done.returncode, done.stdout)
    file = device.root / "etc/mender/mender.conf"
    assert [
        f"mender-python-client: {file}: ServerURL: must be a string [CFG12]",
        f"mender-python-client: {file}: SkipVerify: must be true or false [CFG12]",
    ] == done.stderr.splitlines()


def test_reader_that_has_gone(device: Device) -> None:
    """If the reader has closed the pipe, the exit code is 1, and no error is printed."""
    reader, writer = os.pipe()
    os.close(reader)
    done = device.run("show-artifact", stdout=writer)
    os.close(writer)
    assert (1, "") == (done.returncode, done.stderr)


def test_result_on_a_full_disk(device: Device) -> None:
    """A result that can't be written is an error, reported on one line."""
    with open("/dev/full", "w") as full:
        done = device.run("show-artifact", stdout=full.fileno())
    assert (1, "mender-python-client: cannot write the result: No space left on device [USE04]\n") == (
        done.returncode,
        done.stderr,
    )


def test_path_that_cannot_be_examined(capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected error of a path names the path, and who can access it; it isn't one of standard output."""

    def run(_: Options) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", "/private/file")

    program = Program(name="tool", description="", commands=(Command("look", "look", run),), common=(), epilog="")
    assert 1 == main(["look"], program)
    remedy = "run this as root, or as the client's user"
    assert f"tool: cannot access /private/file: Permission denied; {remedy} [STO16]\n" == capsys.readouterr().err


def test_result_in_a_poor_encoding(device: Device) -> None:
    """Characters that the terminal can't display are escaped; the command succeeds."""
    device.write("etc/mender/artifact_info", "artifact_name=gr\u00fcn\n")
    done = device.run("show-artifact", environment={"PYTHONIOENCODING": "ascii"})
    assert (0, "gr\\xfcn\n") == (done.returncode, done.stdout)


def make_key(device: Device) -> Path:
    """Give the device a key of a type that is fast to generate; return its path."""
    assert 0 == device.call("bootstrap", "--key-type", "ecdsa").returncode
    return device.data / "mender-agent.pem"


Plant = Callable[[Device], object]
FAULTS: dict[str, tuple[Plant, tuple[str, ...], int, str]] = {
    "no configuration": (
        lambda d: (d.root / "etc/mender/mender.conf").unlink(), ("check-update",), 78, "ServerURL: is missing",
    ),
    "invalid JSON": (
        lambda d: d.write("etc/mender/mender.conf", "{,}"), ("check-update",), 78, "line 1, column 2",
    ),
    "configuration is a directory": (
        lambda d: None, ("check-update", "-c", "/var/lib/mender"), 78, "cannot be read: Is a directory",
    ),
    "client certificate missing": (
        lambda d: d.write(
            "etc/mender/mender.conf",
            json.dumps({"ServerURL": NOBODY, "HttpsClient": {"Certificate": "/no", "Key": "/no"}}),
        ),
        ("check-update",), 78, "HttpsClient.Certificate: cannot load",
    ),
    "PKCS#11": (
        lambda d: d.write(
            "etc/mender/mender.conf", json.dumps({"ServerURL": NOBODY, "Security": {"AuthPrivateKey": "pkcs11:"}})
        ),
        ("check-update",), 78, "Security.AuthPrivateKey: it names no key; write",
    ),
    "log file in no directory": (lambda d: None, ("check-update", "-L", "/no/such/log"), 78, "cannot open the log"),
    "log file on a full disk": (lambda d: None, ("send-inventory", "-L", "/dev/full", "-l", "debug"), 1, "cannot"),
    "server down": (make_key, ("check-update",), 1, "the connection was refused; check the port"),
    "no key": (lambda d: None, ("check-update",), 1, "cannot find the device key"),
    "broken key": (
        lambda d: d.write("var/lib/mender/mender-agent.pem", "x"), ("check-update",), 1, "cannot use the device key",
    ),
    "broken key at the start": (
        lambda d: d.write("var/lib/mender/mender-agent.pem", "x"), ("daemon",), 1, "cannot use the device key",
    ),
    "no identity script": (
        lambda d: (d.root / "usr/share/mender/identity/mender-device-identity").unlink(),
        ("check-update",), 1, "mender-device-identity: No such file or directory",
    ),
    "silent identity script": (
        lambda d: d.write("usr/share/mender/identity/mender-device-identity", "#!/bin/sh\n", mode=0o755),
        ("check-update",), 1, "the identity script printed nothing",
    ),
    "no device type": (
        lambda d: (make_key(d), (d.data / "device_type").rename(d.data / "moved")),
        ("check-update",), 1, "cannot find the device type",
    ),
    "unknown device": (
        lambda d: (d.root / "etc/mender/devices").mkdir(), ("status", "--device", "foo"), 78, "there is no device foo",
    ),
    "set up without a server": (
        lambda d: (d.root / "etc/mender/mender.conf").unlink(), ("setup", "--yes"), 78, "no server is configured",
    ),
    "no artifact info": (
        lambda d: (d.write("usr/share/mender/install", "", mode=0o755), (d.root / "etc/mender").rename(d.root / "x")),
        ("show-artifact",), 1, "cannot find the artifact name",
    ),
    "artifact info that is no text": (
        lambda d: (d.root / "etc/mender/artifact_info").write_bytes(b"\xff"), ("show-artifact",), 1, "not UTF-8",
    ),
    "artifact info without a name": (
        lambda d: (d.write("usr/share/mender/install", "", mode=0o755), d.write("etc/mender/artifact_info", "x=y")),
        ("show-artifact",), 1, "has no line artifact_name=NAME",
    ),
    "data directory is a file": (
        lambda d: d.write("a-file", ""), ("bootstrap", "-d", "/a-file"), 78, "cannot be read: Not a directory",
    ),
    "nothing to report": (lambda d: None, ("report", "--success"), 2, "nothing to report"),
    "artifact that is none": (lambda d: None, ("artifact", "cat", __file__), 1, "this is not a Mender Artifact"),
    "artifact that is a directory": (lambda d: None, ("artifact", "cat", "/"), 1, "cannot read /: Is a directory"),
    "journal that is garbage": (
        lambda d: (make_key(d), d.write("var/lib/mender/journal.json", "[" * 100_000)),
        ("check-update",), 1, "cannot",
    ),
}  # fmt: skip
REAL = ("no configuration", "log file on a full disk", "broken key at the start", "journal that is garbage")
"""The faults that are tested in a separate process: one for each way to exit."""


@pytest.mark.parametrize("name", FAULTS)
def test_faults(device: Device, name: str) -> None:
    """Each foreseeable fault has its exit code and a specific message, and nothing is written to standard output."""
    plant, arguments, code, text = FAULTS[name]
    plant(device)
    done = device.run(*arguments) if name in REAL else device.call(*arguments)
    assert (code, "") == (done.returncode, done.stdout), done.stderr
    assert text in done.stderr


@pytest.mark.parametrize("words", [("report", "--success", "--timeout", "0"), ("check-update",)], ids=" ".join)
def test_commands_load_what_they_need(device: Device, words: tuple[str, ...]) -> None:
    """A command that installs nothing loads neither the download code nor the sub-updater's."""
    make_key(device)
    if words[0] == "report":
        device.write("var/lib/mender/update.lock", "d1")
    code = (
        "import sys; from mender_client.app.cli import main\n"
        f"main(['--root', {str(device.root)!r}, *{list(words)!r}])\n"
        "print(*[name for name in ('client.download', 'client.engine', 'client.agent', 'installers.sub_updater')"
        " if f'mender_client.{name}' in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "\n" == done.stdout, done.stderr
