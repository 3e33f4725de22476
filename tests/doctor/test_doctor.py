"""What ``doctor`` reports of a device: its server, daemon, disks, certificates and proxies; and what it never does."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mender_client.app.cli import main
from mender_client.app.doctor import CHECKS
from mender_client.app.doctor.context import DiagnosticContext
from mender_client.app.doctor.device import BOOT_UNIT, UNIT, unit_results
from mender_client.app.doctor.results import Verdict
from mender_client.app.paths import Paths
from mender_client.core.client_status import ClientStatus
from mender_client.core.machine import Event
from mender_client.core.model import Deployment, Link, NextForm, Provides
from mender_client.errors import NetworkError
from mender_client.system.journal import JsonJournal
from mender_client.system.locks import DaemonLock
from mender_client.system.statusfile import StatusFile
from system.authority import DAY, NOW, Authority, Pair
from system.rawserver import RawServer
from system.tmpfs import (
    empty,
    fill,
    free_inodes,
    make_read_only,
    make_writable,
    small_disk,
    use_all_inodes,
)

from .conftest import DEPLOYMENT, Ward, worries


def test_a_healthy_device(ward: Ward) -> None:
    """No false alarms: no fault, and no warning except that no daemon runs."""
    code, findings = ward.examine()
    assert 0 == code
    assert ["daemon"] == [one["check"] for one in findings if one["verdict"] in ("warning", "fault")]
    assert list(CHECKS) == list(dict.fromkeys(one["check"] for one in findings))


def test_it_only_looks(ward: Ward) -> None:
    """Nothing on the device changes, even where the daemon would record the acceptance or a request."""
    ward.data.joinpath("journal.json").unlink()
    before = ward.files()
    ward.examine()
    assert before == ward.files()
    ward.client("check-update")
    with ward.nobody_accepts():
        ward.make_key()
        before = ward.files()
        assert "identity" in ward.faults()
    assert before == ward.files()


def test_for_people(ward: Ward, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line says what was checked, what was found and what to do, and the last line counts the results."""
    ward.root.joinpath("usr/share/mender/install").unlink()
    assert 1 == main(["--root", str(ward.root), "doctor"])
    lines = capsys.readouterr().out.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("FAULT    install script"))
    assert lines[place + 1].lstrip().startswith("-> install a sub-updater there")
    assert "1 fault, 1 warning" == lines[-1]


def test_an_empty_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On an empty device every check is made, each fault and warning has a remedy, and nothing is created."""
    assert 1 == main(["--root", str(tmp_path / "nothing"), "doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)
    assert set(CHECKS) == {one["check"] for one in findings}
    wrong = {one["check"]: one["remedy"] for one in findings if one["verdict"] in ("warning", "fault")}
    assert {"configuration", "data directory", "device type", "identity", "key", "install script"} <= set(wrong)
    assert "" not in wrong.values()
    assert not (tmp_path / "nothing").exists()


def test_what_cannot_be_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that can't be accessed at all is a fault of its check, and the other checks continue."""
    assert 1 == main(["--root", str(tmp_path / ("n" * 300)), "doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)
    assert set(CHECKS) == {one["check"] for one in findings}


# -- the device and its server -----------------------------------------------------------------------------------


def test_another_device_has_the_identity(ward: Ward) -> None:
    """A key that the server doesn't know, for an identity that it knows: a possible duplicate is reported as such."""
    ward.make_key()
    ward.data.joinpath("journal.json").unlink()
    with ward.nobody_accepts():
        _, findings = ward.examine()
    (said,) = [one for one in findings if one["check"] == "authorisation"]
    assert ("warning", True) == (said["verdict"], "duplicate" in said["found"])


def test_the_device_asks_as_something_else(ward: Ward) -> None:
    """A key that was replaced after the server had accepted the device is reported with the cause."""
    ward.make_key()
    with ward.nobody_accepts():
        faults = ward.faults()
    assert "was replaced" in faults["identity"]
    assert "differs from what the server accepted" in faults["authorisation"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_looks_at_the_device_of_another_user(ward: Ward) -> None:
    """If the data directory belongs to another user, root is advised to run doctor as that user before any change."""
    os.chown(ward.data, 4321, 4321)
    said = ward.faults()["permissions"]
    assert "belongs to user 4321 -> if the client runs as that user" in said
    assert f"chown -R root {ward.data}" in said
    os.chown(ward.data, 0, 0)
    assert {} == ward.faults()


# -- next to a daemon, and with other keys ------------------------------------------------------------------------


@contextmanager
def running(ward: Ward) -> Iterator[None]:
    """A daemon that holds its lock."""
    lock = DaemonLock(ward.data / "daemon.lock")
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


REMOTE: list[tuple[dict[str, object], int, str, str]] = [
    ({"User": "root"}, 0o644, "warning", "connect is not running"),
    ({"User": "no-such-user"}, 0o644, "fault", "there is no user"),
    ({"User": "root", "ShellCommand": "/bin/cat"}, 0o644, "fault", "is not listed in /etc/shells"),
    ({"User": "root", "Terminal": 7}, 0o644, "fault", "Terminal: must be an object"),
    ({"User": "root"}, 0o666, "fault", "another user could have written it"),
    ({"User": "root", "Usr": 1}, 0o644, "warning", "unknown key 'Usr'"),
]


@pytest.mark.skipif(os.geteuid() != 0, reason="the user of the shells is root")
def test_remote_access(ward: Ward) -> None:
    """If mender-connect.conf allows remote access, everything that connect needs is checked."""
    for keys, mode, verdict, words in REMOTE:
        ward.write("etc/mender/mender-connect.conf", json.dumps(keys), mode)
        _, findings = ward.examine()
        found = [(one["verdict"], one["found"]) for one in findings if one["check"] == "remote access"]
        assert any(verdict == one and words in text for one, text in found), found
        assert all(one["remedy"] for one in findings if one["verdict"] in ("warning", "fault"))


def test_remote_access_without_its_package(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """If remote access is allowed, and the websocket package is missing, that is a fault."""
    monkeypatch.setitem(sys.modules, "wsproto", None)
    ward.write("etc/mender/mender-connect.conf", '{"User": "root"}')
    assert "pip install mender-python-client[connect]" in ward.faults()["remote access"]


@pytest.mark.skipif(os.geteuid() != 0, reason="the user of the shells is root")
def test_programs_for_remote_access(tmp_path: Path) -> None:
    """connect is right while it runs with valid settings, but not beside mender-connect, which alone is right."""
    paths = Paths(Path("/"), tmp_path / "mender.conf", tmp_path / "none/mender.conf", tmp_path)
    context = DiagnosticContext(paths, lambda: None)
    context.processes = tmp_path / "proc"
    paths.connect_config.write_text('{"User": "root"}')
    (context.processes / "7").mkdir(parents=True)
    (context.processes / "7/comm").write_text("sh\n")
    (context.processes / "7/root").symlink_to("/")
    lock = DaemonLock(paths.connect_lock, is_command=True)
    lock.acquire()
    try:
        assert [(Verdict.OK, f"connect is running (pid {os.getpid()})")] == _remote_access(context)
        paths.connect_config.write_text('{"User": 7}')
        assert [Verdict.FAULT] == [verdict for verdict, _ in _remote_access(context)]
        paths.connect_config.write_text('{"User": "root"}')
        (context.processes / "7/comm").write_text("mender-connect\n")
        ((verdict, text),) = _remote_access(context)
        assert (Verdict.FAULT, True) == (verdict, "each closes the other's connection" in text)
    finally:
        lock.release()
    assert [(Verdict.OK, "mender-connect offers it (pid 7)")] == _remote_access(context)


def _remote_access(context: DiagnosticContext) -> list[tuple[Verdict, str]]:
    return [(one.verdict, one.found) for one in CHECKS["remote access"](context)]


def test_a_healthy_device_with_a_daemon(ward: Ward) -> None:
    """Next to a daemon whose last failure is over there is nothing to report."""
    now = "2026-11-23T12:00:00+00:00"
    failed = ClientStatus().begun(now, version="1", python="3").failed("poll", NetworkError("gone"), now, in_a_row=3)
    status = StatusFile(ward.data / "status.json")
    with running(ward):
        status.noticed(failed.recovered("poll"))
        assert ({}, {}) == (ward.faults(), worries(ward))
        status.noticed(failed)
        assert "poll has failed 3 times since 2026-11-23T12:00:00+00:00 (other): gone" in worries(ward)["daemon"]
        assert {} == ward.faults()


@pytest.mark.parametrize("whose", ["daemon", "shell"])
def test_the_proxy_of_the_daemon(ward: Ward, monkeypatch: pytest.MonkeyPatch, whose: str) -> None:
    """Next to a daemon its proxy counts, not that of the shell from which doctor was called."""
    without, unusable = dict(os.environ), {**os.environ, "https_proxy": "gopher://x"}
    environment = unusable if whose == "daemon" else without
    if whose == "shell":
        monkeypatch.setenv("https_proxy", "gopher://x")
    with subprocess.Popen(["sleep", "60"], env=environment) as daemon, running(ward):
        ward.write("var/lib/mender/daemon.lock", f"{daemon.pid}\n")
        assert (["proxy"] if whose == "daemon" else []) == list(ward.faults())
        daemon.kill()


def test_a_locked_key(ward: Ward) -> None:
    """A key with an unknown passphrase is a fault unless a daemon has opened it; the other checks are made anyway."""
    ward.make_key(b"hush")
    ward.configure(ServerCertificate=str(Authority(ward.root / "other-ca").certificate))
    assert {"key", "TLS"} == set(ward.faults())
    ward.configure()
    assert "--passphrase-file" in ward.faults()["key"]
    with running(ward):
        assert {} == ward.faults()
    ward.write("pass", "hush\n", 0o600)
    assert {} == ward.faults("--passphrase-file", "/pass")


@pytest.mark.parametrize("named", ["", "/etc/mender/device.pem"])
def test_a_key_that_will_be_generated(ward: Ward, named: str) -> None:
    """If there is no key yet, and the client can generate it at its path, that is a warning."""
    ward.data.joinpath("mender-agent.pem").unlink()
    ward.configure(Security={"AuthPrivateKey": named} if named else None)
    path = ward.root / named[1:] if named else ward.data / "mender-agent.pem"
    assert f"there is no {path} yet" in worries(ward)["key"]
    assert {} == ward.faults()
    assert 0 == ward.client("bootstrap")
    assert path.exists()
    assert "key" not in worries(ward)


def test_a_sub_updater_at_work(ward: Ward) -> None:
    """While the sub-updater works and no daemon runs, everything is right, unless it works for very long."""
    with subprocess.Popen(["sleep", "60"], env={**os.environ, "MENDER_DEPLOYMENT_ID": DEPLOYMENT}) as worker:
        lock = ward.write("var/lib/mender/update.lock", f"{DEPLOYMENT}\n")
        assert ({}, {}) == (ward.faults(), worries(ward))
        os.utime(lock, (0, 0))
        assert f"(pid {worker.pid})" in worries(ward)["update"]
        worker.kill()


def test_a_sub_updater_that_cannot_be_ended(ward: Ward) -> None:
    """A sub-updater that outlives its deployment is reported."""
    journal = ward.data / "journal.json"
    before = journal.read_bytes() if journal.exists() else None
    JsonJournal(journal).update(lambda record: record.concluded("stuck", Event.FAULT, now="2026-01-01T00:00:00+00:00"))
    with (
        subprocess.Popen(["sleep", "60"], env={**os.environ, "MENDER_DEPLOYMENT_ID": "stuck"}) as worker,
        running(ward),
    ):
        assert f"the sub-updater (pid {worker.pid}) is still running" in worries(ward)["update"]
        worker.kill()
    journal.unlink()
    if before is not None:
        journal.write_bytes(before)


# -- disks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "mend", "words"),
    [
        (fill, empty, "free some space"),
        (make_read_only, make_writable, "make the file system writable"),
        (use_all_inodes, free_inodes, "it has no inodes left -> remove some files there"),
    ],
)
def test_a_bad_disk(ward: Ward, spoil: Callable[[Path], None], mend: Callable[[Path], None], words: str) -> None:
    """A full and a read-only data directory, and one without inodes, are reported as such, and the remedy works."""
    disk = ward.root / "disk"
    with small_disk(disk, kib=32 * 1024, inodes=100):
        shutil.copytree(ward.data, disk, dirs_exist_ok=True)
        shutil.rmtree(ward.data)
        ward.data.symlink_to(disk)
        assert {} == ward.faults()
        spoil(disk)
        assert words in ward.faults()["data directory"]
        mend(disk)
        assert {} == ward.faults()


def test_a_read_only_directory_of_the_key(ward: Ward) -> None:
    """If the key is to be in a read-only directory, and isn't there, the client can't generate it: that is a fault."""
    ward.configure(Security={"AuthPrivateKey": "/disk/key.pem"})
    with small_disk(ward.root / "disk") as disk:
        make_read_only(disk)
        assert f"cannot generate {disk}/key.pem: no file can be created in {disk}" in ward.faults()["key"]
        make_writable(disk)
        assert {} == ward.faults()


# -- certificates and proxies -----------------------------------------------------------------------------------


@contextmanager
def shown(ward: Ward, pair: Pair, authority: Authority) -> Iterator[None]:
    """A server with this certificate, and a device that trusts its authority."""

    def hang_up(server: RawServer, connection: socket.socket) -> None:
        connection.close()

    with RawServer(hang_up, tls=pair.server_context()) as server:
        ward.configure(ServerURL=server.url, ServerCertificate=str(authority.certificate))
        yield


def test_an_expired_certificate(ward: Ward) -> None:
    """The certificate's subject, issuer and dates, and the remedy are reported; with a renewed one nothing is."""
    authority = Authority(ward.root / "ca")
    pair = authority.issue("127.0.0.1", start=NOW - 9 * DAY, end=NOW - DAY)
    with shown(ward, pair, authority):
        said = ward.faults()["TLS"]
        dates = f"valid from {NOW - 9 * DAY:%Y-%m-%d} to {NOW - DAY:%Y-%m-%d}"
        assert f"'127.0.0.1', issued by 'The test authority ca', {dates}: it has expired -> renew it" in said
    with shown(ward, authority.issue("127.0.0.1"), authority):
        assert "TLS" not in ward.faults()


def test_an_authority_that_cannot_be_used(ward: Ward) -> None:
    """An unusable value of ServerCertificate is a warning, as at the start of the daemon."""
    ward.write("authorities/bad.pem", "garbage")
    ward.write("authorities/good.pem", (ward.root / "etc/mender/server.crt").read_text())
    ward.configure(ServerCertificate="/authorities")
    assert "bad.pem: it contains no certificate" in worries(ward)["TLS"]
    assert "TLS" not in ward.faults()


def test_a_server_that_gives_no_answer(ward: Ward) -> None:
    """A server that accepts the connection and gives no response is a fault, however valid its certificate is."""
    authority = Authority(ward.root / "ca")
    with shown(ward, authority.issue("127.0.0.1"), authority):
        assert ["authorisation"] == list(ward.faults())


def test_the_certificate_of_another_host(ward: Ward) -> None:
    """A certificate for another name is distinguished from an untrusted one."""
    authority = Authority(ward.root / "ca")
    with shown(ward, authority.issue("other.example"), authority):
        assert "it is for another host" in ward.faults()["TLS"]


def test_a_certificate_that_ends_soon(ward: Ward) -> None:
    """A certificate that expires within two weeks causes a warning in time."""
    authority = Authority(ward.root / "ca")
    with shown(ward, authority.issue("127.0.0.1", end=NOW + datetime.timedelta(days=3)), authority):
        assert "it expires soon" in worries(ward)["TLS"]


def test_a_proxy_that_refuses(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses the client is named, without its password."""

    def refuse(server: RawServer, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    with RawServer(refuse) as proxy:
        monkeypatch.setenv("https_proxy", f"http://user:hush@127.0.0.1:{proxy.port}")
        ward.configure(ServerURL="https://mender.example.com")  # connections to this machine itself are always direct
        said = ward.faults()["proxy"]
    assert "407" in said
    assert "hush" not in said
    monkeypatch.delenv("https_proxy")
    ward.configure()
    assert {} == ward.faults()


def test_a_proxy_that_is_no_address(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each unusable variable is named by one fault, and the other checks are made."""
    monkeypatch.setenv("https_proxy", "gopher://x")
    monkeypatch.setenv("http_proxy", "gopher://y")
    _, findings = ward.examine()
    assert set(CHECKS) == {one["check"] for one in findings}
    named = [one["found"].partition(":")[0] for one in findings if one["verdict"] == "fault"]
    assert ["http_proxy", "https_proxy"] == sorted(named)


def test_a_proxy_that_works(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that connects to the server is named, without its password, and the server's own checks are skipped."""

    def connect(server: RawServer, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

    with RawServer(connect) as proxy:
        monkeypatch.setenv("https_proxy", f"http://user:hush@127.0.0.1:{proxy.port}")
        ward.configure(ServerURL="https://mender.example.com")
        findings = {one["check"]: one for one in ward.examine()[1]}
    assert "ok" == findings["proxy"]["verdict"]
    assert (
        f"https://mender.example.com is reached through http://127.0.0.1:{proxy.port} (https_proxy)"
        == findings["proxy"]["found"]
    )
    assert {"the server is reached through a proxy"} == {findings[one]["found"] for one in ("DNS", "connection")}


def found_by(ward: Ward, check: str) -> list[str]:
    """What a check of the doctor has found."""
    return [one["found"] for one in ward.examine()[1] if one["check"] == check]


@pytest.mark.parametrize(
    ("has_sub_updater", "who"),
    [(True, "the sub-updater must determine the partitions itself"), (False, "the update module rootfs-image would")],
)
def test_no_partitions(ward: Ward, has_sub_updater: bool, who: str) -> None:
    """Without RootfsPartA and RootfsPartB, the doctor names the installer of this device that would need them."""
    if not has_sub_updater:
        (ward.root / "usr/share/mender/install").unlink()
        ward.script("usr/share/mender/modules/v3/single-file", "exit 0")
    (found,) = found_by(ward, "partitions")
    assert f"RootfsPartA and RootfsPartB are not set: {who}" in found


def test_configuration_files(ward: Ward) -> None:
    """The doctor names the configuration files that exist, and no others."""
    main, fallback = ward.root / "etc/mender/mender.conf", ward.data / "mender.conf"
    (found,) = found_by(ward, "configuration")
    assert found.startswith(f"{main}: no errors; server ")
    fallback.write_text("{}")
    (found,) = found_by(ward, "configuration")
    assert found.startswith(f"{main} and {fallback}: no errors; server ")


def test_two_partitions(ward: Ward) -> None:
    """Two partitions that exist are right."""
    ward.write("a.img", "")
    ward.write("b.img", "")
    ward.configure(RootfsPartA="/a.img", RootfsPartB="/b.img")
    assert {} == ward.faults()
    assert ["A is /a.img, B is /b.img"] == found_by(ward, "partitions")


def test_an_update_in_progress(ward: Ward) -> None:
    """An update that is being downloaded is shown with its state, and everything is right."""
    deployment = Deployment(DEPLOYMENT, "release-2", ("board",), Link("https://x/y"))
    JsonJournal(ward.data / "journal.json").update(
        lambda record: record.begun(
            deployment, Provides("board", "release-1"), NextForm.V1_POST, now="2026-01-01T00:00:00+00:00"
        )
    )
    (said,) = [one for one in ward.examine()[1] if one["check"] == "update"]
    assert ("ok", "release-2: downloading") == (said["verdict"], said["found"])


def test_an_exemption_that_cannot_be_used(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unusable entry of no_proxy is named by a warning."""
    monkeypatch.setenv("no_proxy", "10.0.0.0/99")
    assert "no_proxy: the entry '10.0.0.0/99' is ignored" in worries(ward)["proxy"]


def test_a_key_that_looks_like_a_remedy(ward: Ward) -> None:
    """Content of the configuration can only become part of a finding, never of a remedy."""
    ward.configure(**{"odd; run 'rm -rf /'": 5})
    _, findings = ward.examine()
    (said,) = [one for one in findings if one["check"] == "configuration"]
    assert "run 'rm -rf /'" in said["found"]
    assert "rm -rf" not in said["remedy"]


@pytest.mark.parametrize(
    ("check", "name", "remedies"),
    [
        ("install script", "usr/share/mender/install", ["setup --install-sub-updater", "setup --install-modules"]),
        ("identity", "usr/share/mender/identity/mender-device-identity", ["setup --install-scripts"]),
        ("device type", "var/lib/mender/device_type", ["setup --device-type TYPE"]),
    ],
)
def test_what_installs_a_missing_file(ward: Ward, check: str, name: str, remedies: list[str]) -> None:
    """For a missing file, the remedy has the command that installs it."""
    ward.root.joinpath(name).unlink()
    _, findings = ward.examine()
    (said,) = [one for one in findings if one["check"] == check]
    assert all(f"'mender-python-client --root {ward.root} {one}'" in said["remedy"] for one in remedies), said


def test_what_installs_missing_modules(ward: Ward) -> None:
    """If only update modules may install updates and there is none, the remedy has the command that installs some."""
    ward.configure(Installer="modules")
    _, findings = ward.examine()
    (said,) = [one for one in findings if one["check"] == "install script"]
    assert ("FIL19", True) == (said["code"], "setup --install-modules'" in said["remedy"])


def test_a_message_with_its_code(ward: Ward, capsys: pytest.CaptureFixture[str]) -> None:
    """A message of the client has its code, in the text and in the JSON output."""
    ward.root.joinpath("usr/share/mender/install").unlink()
    _, findings = ward.examine()
    (said,) = [one for one in findings if one["check"] == "install script"]
    assert "FIL11" == said["code"]
    main(["--root", str(ward.root), "doctor"])
    assert "/install is missing [FIL11]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "enabled", "expected"),
    [
        ("install --boot", {UNIT, BOOT_UNIT}, [(Verdict.OK, UNIT), (Verdict.OK, BOOT_UNIT)]),
        ("install --boot", {UNIT}, [(Verdict.OK, UNIT), (Verdict.FAULT, BOOT_UNIT)]),
        ("another sub-updater", set(), [(Verdict.WARNING, UNIT)]),
        (None, {UNIT}, [(Verdict.OK, UNIT)]),
    ],
)
def test_units(tmp_path: Path, script: str | None, enabled: set[str], expected: list[tuple[Verdict, str]]) -> None:
    """A sub-updater with a boot step needs its unit enabled; otherwise no update is ever committed."""
    if script is not None:
        (tmp_path / "install").write_text(script)
    results = list(unit_results(tmp_path / "install", lambda unit: unit in enabled))
    assert expected == [(result.verdict, result.found.split()[0]) for result in results]
    assert [] == [result for result in results if result.verdict is not Verdict.OK and not result.remedy]
