"""``mender-connect.conf``: every key of the stock add-on, and one clear message for each mistake."""

from __future__ import annotations

import getpass
import json
import os
from pathlib import Path
from typing import Any

import pytest

from mender_client.app.cli import main
from mender_client.app.config.connect_keys import ConnectConfig, load_connect

ME = getpass.getuser()

STOCK: dict[str, Any] = {
    "ShellCommand": "/bin/sh",
    "ShellArguments": ["--login"],
    "User": ME,
    "Terminal": {"Width": 120, "Height": 50, "Disable": False},
    "FileTransfer": {"Disable": True},
    "PortForward": {"Disable": True},
    "MenderClient": {"Disable": True},
    "ReconnectIntervalSeconds": 5,
    "Sessions": {"StopExpired": True, "ExpireAfter": 60, "ExpireAfterIdle": 30, "MaxPerUser": 3},
    "Limits": {
        "Enabled": True,
        "FileTransfer": {
            "Chroot": "/tmp",
            "FollowSymLinks": True,
            "AllowOverwrite": True,
            "OwnerPut": "root",
            "GroupPut": "root",
            "OwnerGet": ["root", "0"],
            "GroupGet": ["root"],
            "Umask": "027",
            "MaxFileSize": 100,
            "Counters": {"MaxBytesTxPerMinute": 200, "MaxBytesRxPerMinute": 300},
            "AllowSuid": False,
            "RegularFilesOnly": True,
            "PreserveMode": True,
            "PreserveOwner": True,
        },
    },
    "ServerURL": "https://x",
    "Servers": [{"ServerURL": "https://x"}],
    "ServerCertificate": "/x",
    "SkipVerify": False,
    "ClientProtocol": "https",
    "HttpsClient": {"Certificate": "", "Key": "", "SkipVerify": False},
    "RemoteTerminal": True,
}
"""A file with every key that the stock add-on and the archived client use."""


class Device:
    """A root directory with a valid ``mender.conf``."""

    def __init__(self, root: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.file = root / "etc/mender/mender-connect.conf"
        self.file.parent.mkdir(parents=True)
        self.file.with_name("mender.conf").write_text('{"ServerURL": "https://a"}')
        self._capture = capture

    def check(self, content: object) -> tuple[int, list[str], list[str]]:
        """Write the file and check it; return the exit code, errors and warnings."""
        self.file.write_text(content if isinstance(content, str) else json.dumps(content))
        code = main(["--root", str(self.root), "config", "check", "--json"])
        said = json.loads(self._capture.readouterr().out)
        return code, said["problems"], said["warnings"]


@pytest.fixture
def device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Device:
    """A device without ``mender-connect.conf``."""
    return Device(tmp_path, capsys)


def test_every_stock_key(device: Device) -> None:
    """All keys of the stock add-on are accepted silently, in any case."""
    assert (0, [], []) == device.check(STOCK)
    config, _ = load_connect(device.file, device.file)
    lower, _ = load_connect(_write(device.root / "lower", json.dumps(_lower(STOCK))), device.file.with_name("none"))
    assert config == lower
    defaults = ConnectConfig()
    same = {name for name, value in vars(config).items() if value == getattr(defaults, name)}
    assert {"shell_command", "shell_arguments", "remote_terminal", "terminal_disable", "stop_expired"} == same


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _lower(value: Any) -> Any:
    return {name.lower(): _lower(inner) for name, inner in value.items()} if isinstance(value, dict) else value


MISTAKES: list[tuple[object, str]] = [
    ({"User": 0}, "User: must be"),
    ({"User": ""}, "User: is missing, and terminals need it"),
    ({}, "User: is missing, and terminals need it"),
    ({"User": "no-such-user"}, "User: there is no user 'no-such-user'"),
    ({"User": "a\0b"}, "User: "),
    ({"User": ME, "ShellCommand": "/bin/cat"}, "ShellCommand: /bin/cat is not listed in /etc/shells"),
    ({"User": ME, "ShellCommand": "sh"}, "ShellCommand: there is no executable file 'sh'"),
    ({"User": ME, "ShellCommand": "/etc"}, "ShellCommand: there is no executable file '/etc'"),
    ({"User": ME, "ShellCommand": "/etc/passwd"}, "ShellCommand: there is no executable file '/etc/passwd'"),
    ({"User": ME, "ShellCommand": ["/bin/sh"]}, "ShellCommand: must be"),
    ({"User": ME, "ShellArguments": "--login"}, "ShellArguments: must be"),
    ({"User": ME, "ShellArguments": [1]}, "ShellArguments: must be"),
    ({"User": ME, "Terminal": "80x24"}, "Terminal: must be an object"),
    ({"User": ME, "Terminal": {"Width": 0}}, "Terminal.Width: must be"),
    ({"User": ME, "Terminal": {"Height": "24"}}, "Terminal.Height: must be"),
    ({"User": ME, "Sessions": {"ExpireAfter": -1}}, "Sessions.ExpireAfter: must be"),
    ({"User": ME, "Sessions": {"MaxPerUser": 1.5}}, "Sessions.MaxPerUser: must be"),
    ({"User": ME, "Limits": {"FileTransfer": {"Umask": "9"}}}, "Limits.FileTransfer.Umask: must be"),
    ({"User": ME, "Limits": {"FileTransfer": {"MaxFileSize": -1}}}, "Limits.FileTransfer.MaxFileSize: must be"),
    ({"User": ME, "Limits": {"FileTransfer": {"OwnerGet": "root"}}}, "Limits.FileTransfer.OwnerGet: must be"),
    ({"User": ME, "RemoteTerminal": "no"}, "RemoteTerminal: must be"),
    ({"User": ME, "user": "root"}, "user: is given twice"),
    ("[]", "must contain a JSON object"),
    ('{"User": "root",}', "is not valid JSON: line 1"),
    ("[" * 100_000, "is nested too deeply"),
    ("x" * (1024 * 1024 + 1), "is larger than"),
]


@pytest.mark.skipif(os.geteuid() != 0, reason="the users of the table")
@pytest.mark.parametrize(("content", "words"), MISTAKES, ids=range(len(MISTAKES)))
def test_mistakes(device: Device, content: object, words: str) -> None:
    """A mistake is one error that names the key, and exit code 78; connect exits with the same code."""
    code, problems, _ = device.check(content)
    assert (78, 1) == (code, len(problems)), problems
    assert words in problems[0]
    assert 78 == main(["--root", str(device.root), "connect"])


DOUBTS: list[tuple[dict[str, Any], str]] = [
    ({"Usr": "x"}, "unknown key 'Usr' is ignored; did you mean 'User'?"),
    ({"Terminal": {"Colour": 1}}, "unknown key 'Terminal.Colour' is ignored"),
    ({"Limits": {"FileTransfer": {"Chroot": "/tmp"}}}, "Chroot: has no effect, because Limits.Enabled is not true"),
    (
        {"Limits": {"Enabled": True, "FileTransfer": {"Chroot": "/no/such"}}},
        "Chroot: there is no directory '/no/such'; create it",
    ),
    ({"Limits": {"Enabled": True, "FileTransfer": {"OwnerPut": "nobody-here"}}}, "OwnerPut: there is no user"),
    (
        {"Limits": {"Enabled": True, "FileTransfer": {"GroupGet": ["root", "nobody-here"]}}},
        "GroupGet: there is no group",
    ),
    ({"ShellCommand": ""}, "ShellCommand: is empty, and the key is ignored"),
    ({"Terminal": None}, "Terminal: is null, and the key is ignored"),
]


@pytest.mark.parametrize(("keys", "words"), DOUBTS, ids=range(len(DOUBTS)))
def test_doubts(device: Device, keys: dict[str, Any], words: str) -> None:
    """A possible mistake is one warning, and exit code 0."""
    code, problems, warnings = device.check({"User": ME, **keys})
    assert (0, [], 1) == (code, problems, len(warnings)), warnings
    assert words in warnings[0]


@pytest.mark.parametrize(
    "keys",
    [
        {"Limits": {"Enabled": False, "FileTransfer": {"Chroot": "/x"}}},
        {"Limits": {"Enabled": True, "FileTransfer": {"Chroot": "/u*r/[ab]in"}}},
        {"User": None, "Terminal": {"Disable": True}, "ShellCommand": "x"},
        {"User": None, "RemoteTerminal": False},
    ],
)
def test_no_doubt(device: Device, keys: dict[str, Any]) -> None:
    """Disabled limits, globs in Chroot, and a shell or user that disabled terminals don't need cause no warning."""
    given = {name: value for name, value in {"User": ME, **keys}.items() if value is not None}
    assert (0, [], []) == device.check(given)
