"""``config check``, ``show``, ``set`` and ``explain``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from mender_client.app.cli import main
from mender_client.app.config import KEYS
from mender_client.app.config.commands import MASK
from mender_client.app.config.connect_keys import CONNECT_KEYS


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


class Device:
    """A root directory with the two configuration files."""

    def __init__(self, root: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.main = root / "etc/mender/mender.conf"
        self.fallback = root / "var/lib/mender/mender.conf"
        self._capture = capture

    def write(self, main: object = None, fallback: object = None) -> None:
        """Write the given files."""
        for path, content in ((self.main, main), (self.fallback, fallback)):
            if content is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")

    def config(self, *words: str) -> Done:
        """Run ``config …`` in this process."""
        code = main(["--root", str(self.root), "config", *words])
        out, err = self._capture.readouterr()
        return Done(code, out.replace(f"{self.root}/", "/"), err.replace(f"{self.root}/", "/"))


@pytest.fixture
def device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Device:
    """A device without configuration files."""
    return Device(tmp_path, capsys)


FILES = "/etc/mender/mender.conf and /var/lib/mender/mender.conf"


def test_check_of_a_good_configuration(device: Device) -> None:
    """A correct configuration leads to exit code 0 and one line that names both files."""
    device.write({"ServerURL": "https://a"}, {"TenantToken": "t"})
    assert Done(0, f"{FILES}: no errors, no warnings\n", "") == device.config("check")


def test_check_tells_all_at_once(device: Device) -> None:
    """All errors and warnings in both files are reported; exit code 78 means that the client would not start."""
    device.write({"ServerURL": 5, "Colour": 1, "DBus": {}}, {"TenantToken": 5})
    expected = [
        "error: /etc/mender/mender.conf: ServerURL: must be a string [CFG12]",
        "error: /var/lib/mender/mender.conf: TenantToken: must be a string [CFG12]",
        "warning: /etc/mender/mender.conf: unknown key 'Colour' is ignored [CFG11]",
        "note: accepted without effect: DBus",
        f"{FILES}: 2 errors, 1 warning",
    ]
    assert Done(78, "\n".join(expected) + "\n", "") == device.config("check")


def test_check_for_programs(device: Device) -> None:
    """``--json`` outputs problems and warnings as lists."""
    device.write({"ServerURL": "https://a", "SkipVerfy": True})
    done = device.config("check", "--json")
    warning = "/etc/mender/mender.conf: unknown key 'SkipVerfy' is ignored; did you mean 'SkipVerify'? [CFG11]"
    assert (0, {"problems": [], "warnings": [warning]}) == (done.code, json.loads(done.out))


def test_check_of_gates(device: Device) -> None:
    """A gate that can't work on this device is an error, but in a file given by path it is not checked."""
    device.write({"ServerURL": "https://a", "UpdateGates": {"Reboot": "run /bin/gone"}})
    problem = "error: UpdateGates.Reboot: cannot run the program: /bin/gone is missing; "
    remedy = "install the program there, with mode 755 [CFG25]"
    assert Done(78, f"{problem}{remedy}\n{FILES}: 1 error, no warnings\n", "") == device.config("check")
    assert 0 == device.config("check", str(device.main)).code


def test_check_of_a_file_that_is_broken(device: Device) -> None:
    """A file that isn't valid JSON is a single error; keys that it may contain aren't reported as missing."""
    device.write("{,}")
    done = device.config("check")
    assert 78 == done.code
    assert done.out.startswith("error: /etc/mender/mender.conf: is not valid JSON: line 1, column 2: ")
    assert f"{FILES}: 1 error, no warnings" == done.out.splitlines()[-1]


def test_check_of_any_file(device: Device, capsys: pytest.CaptureFixture[str]) -> None:
    """On a workstation, ``--config`` checks any file."""
    device.write({"ServerURL": "https://a", "UpdatePollIntervalSeconds": 0})
    data = str(device.root / "none")
    assert 78 == main(["config", "check", "--config", str(device.main), "--data", data])
    assert f"error: {device.main}: UpdatePollIntervalSeconds: must be at least 1" in capsys.readouterr().out


def test_check_of_one_file(device: Device, tmp_path: Path) -> None:
    """A file given as an argument is checked on its own, independently of this device's files."""
    device.write("{", "{")
    file = tmp_path / "new.conf"
    file.write_text(json.dumps({"ServerURL": "https://a", "Colour": 1}))
    expected = [
        "warning: /new.conf: unknown key 'Colour' is ignored [CFG11]",
        "/new.conf: no errors, 1 warning",
    ]
    assert Done(0, "\n".join(expected) + "\n", "") == device.config("check", str(file))
    file.write_text("{}")
    expected = [
        "error: /new.conf: ServerURL: is missing (the file does not set it); set the server's address [CFG15]",
        "/new.conf: 1 error, no warnings",
    ]
    assert Done(78, "\n".join(expected) + "\n", "") == device.config("check", str(file))
    assert 78 == device.config("check", str(tmp_path / "none")).code


def shown(device: Device, *words: str) -> dict[str, tuple[object, str]]:
    """Return value and origin by key from the output of ``show --json``."""
    done = device.config("show", "--json", *words)
    return {name: (one["value"], one["origin"]) for name, one in json.loads(done.out).items()}


def test_show_tells_values_and_origins(device: Device) -> None:
    """The merged result is shown with the origin of each value: a file, the default or an option."""
    device.write(
        {"servers": [{"ServerURL": "https://a"}], "HttpsClient": {"Key": "/k"}},
        {"UpdatePollIntervalSeconds": 5, "HttpsClient": {"Key": "/f", "Certificate": "/c"}},
    )
    values = shown(device, "--log-level", "debug", "--skipverify")
    assert [key.name for key in KEYS] == list(values)
    assert ([{"ServerURL": "https://a"}], "/etc/mender/mender.conf") == values["Servers"]
    assert ("/k", "/etc/mender/mender.conf") == values["HttpsClient.Key"]
    assert ("/c", "/var/lib/mender/mender.conf") == values["HttpsClient.Certificate"]
    assert (5, "/var/lib/mender/mender.conf") == values["UpdatePollIntervalSeconds"]
    assert (300, "default") == values["RetryPollIntervalSeconds"]
    assert ("debug", "--log-level") == values["DaemonLogLevel"]
    assert (True, "--skipverify") == values["SkipVerify"]


def test_show_only_what_is_set(device: Device) -> None:
    """``--changed`` omits the defaults."""
    device.write({"ServerURL": "https://a", "HttpsClient": {"Key": "/k"}}, {"TenantToken": "t"})
    values = shown(device, "--changed", "--log-level", "debug")
    assert ["ServerURL", "TenantToken", "HttpsClient.Key", "DaemonLogLevel"] == list(values)
    device.write("{}", "{}")
    assert "" == device.config("show", "--changed").out


def test_show_masks_secrets(device: Device) -> None:
    """Tokens and PINs are masked, so that only their presence is visible."""
    key = "pkcs11:token=a;object=b?pin-value=9753&x=y"
    device.write({"ServerURL": "https://a", "TenantToken": "gehei\u006d", "Security": {"AuthPrivateKey": key}})
    for words in (("show",), ("show", "--json")):
        done = device.config(*words)
        assert 0 == done.code
        assert "geheim" not in done.out
        assert "9753" not in done.out
    values = shown(device)
    assert MASK == values["TenantToken"][0]
    assert f"pkcs11:token=a;object=b?pin-value={MASK}&x=y" == values["Security.AuthPrivateKey"][0]


def test_show_of_a_wrong_configuration(device: Device) -> None:
    """The valid part is shown, errors go to standard error, and the exit code is 78."""
    device.write({"ServerURL": "https://a", "SkipVerify": "no"})
    done = device.config("show")
    assert (78, "error: /etc/mender/mender.conf: SkipVerify: must be true or false [CFG12]\n") == (done.code, done.err)
    assert "https://a" in done.out


def test_show_is_safe_on_a_terminal(device: Device) -> None:
    """Control characters in a value are made harmless."""
    device.write({"ServerURL": "https://a", "RootfsPartA": "a\u202eb\u009b31m"})
    assert device.config("show").out.replace("\n", "").isprintable()


SETTINGS: list[tuple[str, str, dict[str, object]]] = [
    ("ServerURL", "https://b", {"serverurl": "https://b"}),
    ("updatepollintervalseconds", "60", {"UpdatePollIntervalSeconds": 60}),
    ("SkipVerify", "true", {"SkipVerify": True}),
    ("TenantToken", "5", {"TenantToken": "5"}),
    ("ArtifactVerifyKeys", '["/a", "/b"]', {"ArtifactVerifyKeys": ["/a", "/b"]}),
    ("Security.AuthPrivateKey", "/k", {"Security": {"AuthPrivateKey": "/k"}}),
    ("Security.SSLEngine", "e", {"Security": {"SSLEngine": "e"}}),
    ("DaemonLogLevel", "debug", {"DaemonLogLevel": "debug"}),
]


@pytest.mark.parametrize(("key", "value", "expected"), SETTINGS, ids=[key for key, _, _ in SETTINGS])
def test_set(device: Device, key: str, value: str, expected: dict[str, object]) -> None:
    """The key is set in the main file; other keys, their spelling and order, and the file's mode are preserved."""
    before = {"Colour": [1], "serverurl": "https://a", "Security": None}
    device.write(before)
    device.main.chmod(0o640)
    assert 0 == device.config("set", key, value).code
    after = json.loads(device.main.read_text())
    assert {**before, **expected} == after
    assert list(before) == list(after)[:3]
    assert 0o640 == device.main.stat().st_mode & 0o777


def test_set_twice(device: Device) -> None:
    """Two keys of one object are stored in it together; if the file doesn't exist, it is created with mode 600."""
    assert 0 == device.config("set", "Security.SSLEngine", "e").code
    assert 0 == device.config("set", "security.authprivatekey", "/k").code
    assert {"Security": {"SSLEngine": "e", "AuthPrivateKey": "/k"}} == json.loads(device.main.read_text())
    assert 0o600 == device.main.stat().st_mode & 0o777


def test_set_a_pair(device: Device) -> None:
    """Either of two interdependent keys can be set first, with a warning; a wrong value can be corrected."""
    device.write({"ServerURL": 5})
    assert 0 == device.config("set", "ServerURL", "https://a").code
    done = device.config("set", "HttpsClient.Key", "/k")
    assert 0 == done.code
    assert "warning: /etc/mender/mender.conf: HttpsClient.Key: needs HttpsClient.Certificate" in done.err
    assert "set HttpsClient.Certificate too: until then, the client refuses this configuration" in done.err
    assert "SIGHUP" not in done.out
    done = device.config("set", "HttpsClient.Certificate", "/c")
    assert (0, "") == (done.code, done.err)
    assert 0 == device.config("check", str(device.main)).code


@pytest.mark.parametrize(
    ("before", "key", "value", "code", "words"),
    [
        ({}, "SkipVerify", "yes", 78, "cannot set SkipVerify: it must be true or false"),
        ({}, "UpdatePollIntervalSeconds", "often", 78, "UpdatePollIntervalSeconds: it must be a whole number"),
        ({}, "UpdatePollIntervalSeconds", "0", 78, "cannot set UpdatePollIntervalSeconds: it must be at least 1"),
        ({}, "UpdatePollIntervalSeconds", "999999999999", 78, "it must be at most 315360000"),
        ({}, "DownloadSpeedLimit", "-5", 78, "it must be at least 0"),
        ({}, "ArtifactVerifyKeys", '[""]', 78, "it must not contain an empty path"),
        ({}, "ServerURL", "5", 78, "it must be an address"),
        ({}, "DaemonLogLevel", "5", 78, "it must be one of"),
        ({}, "ServrURL", "https://a", 64, "cannot set 'ServrURL': there is no such key; did you mean 'ServerURL'?"),
        ({"Servers": [{"ServerURL": "https://a"}]}, "ServerURL", "https://b", 78, "cannot be used together"),
        ({"SkipVerify": 5}, "ServerURL", "https://b", 78, "SkipVerify: must be true or false"),
        ({"Security": 5}, "Security.SSLEngine", "x", 78, "Security: must be an object"),
        ("{,}", "ServerURL", "https://b", 78, "is not valid JSON: line 1, column 2"),
        ("[]", "ServerURL", "https://b", 78, "must contain a JSON object"),
    ],
)
def test_set_refuses(device: Device, before: object, key: str, value: str, code: int, words: str) -> None:
    """A wrong key or value, or one that would make the file invalid, changes nothing."""
    device.write(before)
    content = device.main.read_bytes()
    done = device.config("set", key, value)
    assert (code, "", content) == (done.code, done.out, device.main.read_bytes())
    assert words in done.err


def test_set_of_a_link(device: Device) -> None:
    """A symbolic link isn't replaced by a file."""
    device.write({})
    device.main.rename(device.root / "real.conf")
    device.main.symlink_to(device.root / "real.conf")
    done = device.config("set", "SkipVerify", "false")
    assert (1, "{}") == (done.code, (device.root / "real.conf").read_text())
    assert "it is a symbolic link to /real.conf; change that file by hand" in done.err


def test_explain(device: Device) -> None:
    """A key, given in any case, is explained with its meaning, value, unit, default and an example."""
    text = """\
UpdatePollIntervalSeconds
  Time between two update polls.
  value    whole number from 1 to 315360000: seconds
  default  1800
  example  "UpdatePollIntervalSeconds": 1800

HttpsClient.Key
  The private key (PEM) of HttpsClient.Certificate.
  value    text: path
  default  none
  example  "HttpsClient": {"Key": "/etc/mender/client.key"}
"""
    assert Done(0, text, "") == device.config("explain", "updatepollintervalseconds", "HttpsClient.Key")


def test_explain_all(device: Device) -> None:
    """Without a key, all keys of both files are explained."""
    lines = device.config("explain").out.splitlines()
    assert [key.name for key in (*KEYS, *CONNECT_KEYS.keys)] == [
        line for line in lines if line and not line.startswith(" ")
    ]


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("updategates", ["UpdateGates.Download", "UpdateGates.Install", "UpdateGates.Reboot", "UpdateGates.Commit"]),
        ("PortForward", ["PortForward.Disable"]),
        ("Security", ["Security.AuthPrivateKey", "Security.SSLEngine"]),
    ],
)
def test_explain_an_object(device: Device, name: str, keys: list[str]) -> None:
    """The name of an object selects all its keys that have an effect."""
    lines = device.config("explain", name).out.splitlines()
    assert keys == [line for line in lines if line and not line.startswith(" ")]


def test_explain_what_has_no_effect(device: Device) -> None:
    """A key used only by other Mender clients is explained as such."""
    done = device.config("explain", "dbus")
    assert Done(0, "DBus\n  Used by other Mender clients; has no effect here.\n", "") == done


@pytest.mark.parametrize(
    ("key", "advice"),
    [("ServrURL", "did you mean 'ServerURL'?"), ("Colour", "list all keys with 'config explain'")],
)
def test_explain_an_unknown_key(device: Device, key: str, advice: str) -> None:
    """An unknown key leads to exit code 64 and a suggestion."""
    message = f"cannot explain '{key}': there is no such key; {advice} [USE01]\n"
    assert Done(64, "", message) == device.config("explain", key)
