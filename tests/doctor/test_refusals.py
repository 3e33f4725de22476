"""``doctor`` and ``config check`` find what makes the daemon refuse to start, or refuse updates."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping

import pytest

import forking
from mender_client.app.cli import main

from .conftest import Ward


def configure(**keys: object) -> Callable[[Ward], object]:
    """The configuration contains these keys."""
    return lambda ward: ward.configure(**keys)


def write(
    name: str, text: str = "", *, mode: int = 0o644, keys: Mapping[str, object] | None = None
) -> Callable[[Ward], object]:
    """There is such a file, and the configuration contains these keys."""

    def plant(ward: Ward) -> None:
        ward.write(name, text).chmod(mode)
        ward.configure(**(keys or {}))

    return plant


def replace(name: str, by: str = "") -> Callable[[Ward], object]:
    """In place of a file of the client, there is a directory, or a symbolic link."""

    def plant(ward: Ward) -> None:
        path = ward.data / name
        path.unlink(missing_ok=True)
        path.symlink_to(by) if by else path.mkdir()

    return plant


def mode(name: str, mode: int) -> Callable[[Ward], object]:
    """A file has this mode."""
    return lambda ward: (ward.root / name).chmod(mode)


def data_is_a_file(ward: Ward) -> None:
    """There is a file in place of the data directory."""
    shutil.rmtree(ward.data)
    ward.data.write_text("")


CLIENT = {"HttpsClient": {"Certificate": "/etc/mender/none", "Key": "/etc/mender/none"}}
VERIFY = {"ArtifactVerifyKeys": ["/v", "/w"]}
PIN = {"Security": {"AuthPrivateKey": "pkcs11:token=a;object=b?pin-source=/etc/pin"}}
NOWHERE = {"AuthPrivateKey": "/etc/none/key"}
BELOW_A_FILE = {"AuthPrivateKey": "/etc/mender/mender.conf/key"}
AT_THE_START: dict[str, tuple[Callable[[Ward], object], str, str, bool]] = {
    "verify key": (configure(ArtifactVerifyKey="/etc/mender/none"), "configuration", "cannot read the key", True),
    "verify keys": (write("v", "junk", keys=VERIFY), "configuration", "No such file", True),
    "unsafe verify key": (write("v", mode=0o666, keys=VERIFY), "permissions", "chmod o-w", True),
    "client certificate": (configure(**CLIENT), "TLS", "HttpsClient.Certificate: cannot load", True),
    "no server either": (configure(ServerURL=None, **CLIENT), "TLS", "HttpsClient.Certificate", True),
    "half a pair": (configure(HttpsClient={"Key": "/k"}), "configuration", "needs HttpsClient.Certificate", True),
    "URI of the key": (configure(Security={"AuthPrivateKey": "pkcs11:a=b?pin-source=pin"}), "key", "pin-source", True),
    "file with the PIN": (write("etc/pin", mode=0o666, keys=PIN), "key", "another user could change it", True),
    "gate": (configure(UpdateGates={"Install": "run /none"}), "permissions", "cannot run the program", True),
    "writable configuration": (mode("etc/mender/mender.conf", 0o666), "permissions", "chmod o-w", True),
    "writable CA": (mode("etc/mender/server.crt", 0o666), "permissions", "chmod o-w", True),
    "writable key": (mode("var/lib/mender/mender-agent.pem", 0o622), "permissions", "chmod o-w", True),
    "writable data directory": (mode("var/lib/mender", 0o777), "permissions", "chmod o-w", True),
    "key on another disk": (replace("mender-agent.pem", "/none/key"), "key", "a symbolic link to a missing", False),
    "key is a directory": (replace("mender-agent.pem"), "key", "Is a directory", False),
    "nowhere for the key": (configure(Security=NOWHERE), "key", "etc/none/key: there is no directory", False),
    "key below a file": (configure(Security=BELOW_A_FILE), "key", "Not a directory", False),
    "lock is a link": (replace("daemon.lock", "/tmp/x"), "data directory", "not a regular file", False),
    "lock is a directory": (replace("daemon.lock"), "data directory", "not a regular file", False),
    "data is a file": (data_is_a_file, "data directory", "is not a directory", True),
}
"""By name: the fault, the check that reports it, a part of that report, and whether ``config check`` finds it."""


@pytest.mark.parametrize("case", AT_THE_START)
def test_a_daemon_that_does_not_start(ward: Ward, case: str) -> None:
    """If the daemon refuses to start, doctor reports the reason; so does config check if it is in the configuration."""
    plant, check, words, is_of_configuration = AT_THE_START[case]
    plant(ward)
    daemon = forking.run([str(forking.PROGRAM), "--root", str(ward.root), "daemon", "--no-syslog"])
    assert daemon.returncode in (1, 78)
    assert words in ward.faults()[check]
    assert (78 if is_of_configuration else 0) == ward.client("config", "check")


def module(name: str, mode: int = 0o755, **keys: object) -> Callable[[Ward], object]:
    """Updates are installed by two update modules, one of which has this mode; the configuration has these keys."""

    def plant(ward: Ward) -> None:
        (ward.root / "usr/share/mender/install").unlink()
        ward.script("usr/share/mender/modules/v3/good", "exit 0")
        ward.script(name, "exit 0").chmod(mode)
        ward.configure(**keys)

    return plant


MODULE = "usr/share/mender/modules/v3/model"
REFUSED: dict[str, tuple[Callable[[Ward], object], str, str]] = {
    "unsafe module": (module(MODULE, 0o777), "install script", "v3/model -> run 'chmod o-w"),
    "types": (module(MODULE, PayloadTypes=["x"]), "install script", "names none of the update modules (good, model)"),
    "script": (module("etc/mender/scripts/Download_Enter_00", 0o777), "install script", "Download_Enter_00: another"),
    "version": (module("etc/mender/scripts/version"), "install script", "they are of version"),
    "scripts": (module("etc/mender/scripts"), "install script", "cannot read the state scripts"),
    "configuration": (
        write("usr/share/mender/modules/v3/mender-configure", mode=0o777), "install script", "v3/mender-configure"
    ),
    "state": (replace("journal.json"), "state file", "Is a directory"),
    "lock of the state": (replace("journal.json.lock"), "data directory", "not a regular file"),
    "reports": (replace("journal.json.sending"), "data directory", "not a regular file"),
    "download": (replace("artifact.mender.part"), "data directory", "not a regular file"),
    "output": (replace("sub-updater.log"), "data directory", "not a regular file"),
    "work directory": (write("var/lib/mender/modules"), "data directory", "mender/modules is not a directory"),
    "script directory": (write("var/lib/mender/scripts"), "data directory", "mender/scripts is not a directory"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_updates_that_are_refused(ward: Ward, case: str) -> None:
    """Doctor reports what lets the daemon run, but prevents updates, or those of one type."""
    plant, check, words = REFUSED[case]
    plant(ward)
    found = ward.faults()
    assert {check} == set(found)
    assert words in found[check]


def test_each_unsafe_program(ward: Ward) -> None:
    """Every unsafe update module is a fault, and an unsafe inventory script, which isn't run, is a warning."""
    module(MODULE, 0o777)(ward)
    (ward.root / "usr/share/mender/modules/v3/good").chmod(0o777)
    ward.script("usr/share/mender/inventory/mender-inventory-x", "echo a=b").chmod(0o777)
    _, findings = ward.examine()
    found = [(one["check"], one["verdict"], one["found"].rpartition("/")[2]) for one in findings]
    assert ("install script", "fault", "good") in found
    assert ("install script", "fault", "model") in found
    assert ("permissions", "warning", "mender-inventory-x") in found


@pytest.mark.parametrize("place", ["/etc/none", "/etc/mender/mender.conf"])
def test_a_log_that_is_lost(ward: Ward, capsys: pytest.CaptureFixture[str], place: str) -> None:
    """If UpdateLogPath names no directory, there is no log: doctor reports a fault, and config check warns."""
    ward.configure(UpdateLogPath=place)
    text = f"UpdateLogPath: cannot write the deployment log: there is no directory {ward.root}{place}"
    assert text in ward.faults()["configuration"]
    assert 0 == main(["--root", str(ward.root), "config", "check"])
    assert f"warning: {text}; make the directory" in capsys.readouterr().out


def test_warnings_of_config_check(ward: Ward, capsys: pytest.CaptureFixture[str]) -> None:
    """Unusable certificates and keys are warnings of doctor and config check if the client starts without them."""
    pair = ["openssl", "pkey", "-in", str(ward.data / "mender-agent.pem"), "-pubout", "-out"]
    subprocess.run([*pair, str(ward.root / "etc/mender/good.pem")], check=True)
    ward.configure(ArtifactVerifyKeys=["/etc/mender/good.pem", "/none.pem"], ServerCertificate="/etc/mender/good.pem")
    assert ["configuration", "TLS"] == [
        one["check"] for one in ward.examine()[1] if one["verdict"] == "warning" and one["code"]
    ]
    capsys.readouterr()
    assert 0 == main(["--root", str(ward.root), "config", "check", "--json"])
    codes = [one.rpartition(" ")[2] for one in json.loads(capsys.readouterr().out)["warnings"]]
    assert ["[TLS19]", "[KEY14]"] == codes
