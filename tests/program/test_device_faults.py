"""Faults of the device: scripts, files, settings, disk. Each has a clear message; the daemon survives if possible."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from calling import call
from core.artifact.forge import Forge, dump, tar, tar_file
from mender_devserver.certificate import provide_certificate
from program.conftest import MakeDevice
from program.stage import DEVICE_TYPE, LEAVE, MAC, PROGRAM, Device
from waiting import wait_until

IDENTITY = "usr/share/mender/identity/mender-device-identity"
NOBODY = 65534

WRONG_IDENTITIES = {
    "fails": ("echo mac=1; exit 3", "failed with exit code 3"),
    "says nothing": (":", "the identity script printed nothing"),
    "says nonsense": ("echo hello", "is not key=value"),
    "no UTF-8": ("printf 'mac=\\377\\n'", "its output is not UTF-8 text"),
    "endless": ("yes mac=1", "it printed more than 1048576 bytes"),
    "killed": ("kill -9 $$", "was killed by signal 9"),
    "complains": ("echo no such card >&2; exit 1", "(no such card)"),
}


def test_wrong_identity(device: Device) -> None:
    """Without an identity no request is sent; the message says what is wrong, and a corrected identity is used."""
    for script, words in WRONG_IDENTITIES.values():
        device.write_script(IDENTITY, script)
        done = device.call("check-update")
        assert (1, True) == (done.returncode, words in done.stderr)
    daemon = device.daemon()
    daemon.wait_for(words)
    assert [] == device.server.requests
    device.write_script(IDENTITY, f"echo mac={MAC}")
    daemon.wait_for("authorised by")


CONFIGURED = {
    "etc/mender/mender.conf": ("check-update", 78),
    "var/lib/mender/mender.conf": ("check-update", 78),
    "var/lib/mender/mender-agent.pem": ("check-update", 1),
    "server.crt": ("check-update", 1),  # only a warning, but the server isn't trusted
    "client.crt": ("check-update", 78),
    "client.key": ("check-update", 78),
    "verify.pem": ("config check", 78),
}


@pytest.mark.parametrize("has_writer", [False, True])
@pytest.mark.parametrize("name", CONFIGURED)
def test_pipe_in_place_of_a_file(device: Device, name: str, *, has_writer: bool) -> None:
    """A named pipe in place of a configured file is reported; no command waits for a writer, or for what it writes."""
    made = provide_certificate(device.root / "made")
    files = {"server.crt": made.authority, "client.crt": made.chain, "client.key": made.key}
    paths = {file: str(device.write(file, source.read_text())) for file, source in files.items()}
    if name in paths:
        client = {"Certificate": paths["client.crt"], "Key": paths["client.key"]}
        device.configure(ServerURL="https://127.0.0.1:1", ServerCertificate=paths["server.crt"], HttpsClient=client)
    if name == "verify.pem":
        device.configure(ArtifactVerifyKey=f"/{name}")
    pipe = device.root / name
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe, 0o600)
    with open(os.open(pipe, os.O_RDWR), "wb") if has_writer else nullcontext():
        for command, code in (CONFIGURED[name], ("doctor", 1)):
            done = device.call(*command.split())
            assert (code, True) == (done.returncode, "it is not a regular file" in done.stdout + done.stderr)


@pytest.mark.parametrize("how", ["missing", "not executable", "no interpreter"])
def test_identity_script_that_cannot_run(device: Device, how: str) -> None:
    """An identity script that can't be run is named, with a remedy."""
    script = device.root / IDENTITY
    if how == "missing":
        script.unlink()
    elif how == "not executable":
        script.chmod(0o644)
    else:
        script.write_text("#!/no/such/interpreter\n")
    daemon = device.daemon()
    daemon.wait_for(f"cannot run {script}")
    assert [] == device.server.requests
    assert daemon.is_alive


def test_wrong_inventory_scripts(device: Device) -> None:
    """Inventory scripts that fail, print nonsense or print endlessly are skipped with a warning."""
    for name, script in {
        "a-fails": "echo lost=1; exit 1",
        "b-endless": "yes endless=1",
        "c-nonsense": "echo nonsense; echo kept=yes",
        "d-no-utf8": "printf 'odd=\\377\\n'",
        "e-many": 'i=0; while [ $i -lt 150 ]; do echo "many$i=1"; i=$((i+1)); done',
    }.items():
        device.write_script(f"usr/share/mender/inventory/{name}", script)
    daemon = device.daemon()
    daemon.wait_for("inventory sent: 100 attributes")
    inventory = device.server.inventory(device.id)
    assert ("yes", "\ufffd") == (inventory["kept"], inventory["odd"])
    assert "lost" not in inventory
    for words in (
        "a-fails: it failed with exit code 1",
        "b-endless: it printed more than",
        "c-nonsense printed 1 line",
    ):
        assert words in daemon.text
    assert "inventory: left out attributes that the server would reject" in daemon.text


def _missing(path: Path) -> None:
    path.unlink()


def _plain(path: Path) -> None:
    path.chmod(0o644)


def _no_interpreter(path: Path) -> None:
    path.write_text("#!/no/such/interpreter\n")


@pytest.mark.parametrize("spoil", [_missing, _plain, _no_interpreter])
def test_sub_updater_that_cannot_run(device: Device, spoil: object) -> None:
    """A sub-updater that can't be started fails the deployment with a log; the lock is removed, polling continues."""
    script = device.root / "usr/share/mender/install"
    good = script.read_text()
    spoil(script)  # type: ignore[operator]  # one of the three
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    device.wait_status(deployment, "failure")
    assert str(script) in device.log_of(deployment)
    assert not device.lock.exists()
    script.write_text(good)
    script.chmod(0o755)
    again = device.deploy("release-3")
    assert 0 == daemon.wait_exit()
    device.wait_status(again, "success")


def test_log_without_a_directory(device: Device) -> None:
    """If the directory of UpdateLogPath is missing, a warning says so, and a failed deployment has an empty log."""
    (device.root / "usr/share/mender/install").chmod(0o644)
    device.configure(UpdateLogPath="/none")
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    device.wait_status(deployment, "failure")
    file = device.root / "none/deployment.log"
    assert f"cannot write {file}: No such file or directory; make its directory [STO14]" in daemon.text
    assert "" == device.log_of(deployment)
    assert 0 == daemon.stop()


def test_sub_updater_without_its_mode(device: Device) -> None:
    """A sub-updater that isn't executable still counts: updates fail with the command that corrects it.

    No update module installs them instead, as that could be the wrong way.
    """
    script = device.root / "usr/share/mender/install"
    script.chmod(0o644)
    (device.root / "usr/share/mender/modules/v3").mkdir(parents=True)
    device.write_script("usr/share/mender/modules/v3/rootfs-image", f"touch '{device.root}/module'")
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    problem = f"{script} is not executable: its mode is 0644; run 'chmod 755 {script}', or remove it"
    daemon.wait_for(f"no update can be installed: {problem}")
    device.wait_status(deployment, "failure")
    assert f"cannot install updates: {problem}" in device.log_of(deployment)
    assert not (device.root / "module").exists()
    assert f"updates by     the sub-updater, because {script} exists" in device.call("status").stdout
    assert 0 == daemon.stop()


WRONG_CONFIGURATIONS = {
    "no JSON": ("{\n  oops}", "is not valid JSON: line 2, column 3"),
    "no object": ("[]", "must contain a JSON object"),
    "no UTF-8": (b"\xff", "is not UTF-8 text"),
    "deep": ("[" * 100_000, "nested too deeply"),
    "no server": ("{}", "ServerURL: is missing"),
    "two servers": ('{"ServerURL":"http://a","Servers":[{"ServerURL":"http://b"}]}', "cannot be used together"),
    "no address": ('{"ServerURL":"mender.example.com"}', "ServerURL: must be an address"),
    "zero": ('{"ServerURL":"http://a","UpdatePollIntervalSeconds":0}', "must be at least 1"),
    "negative": ('{"ServerURL":"http://a","RetryPollIntervalSeconds":-5}', "must be at least 1"),
    "text": ('{"ServerURL":"http://a","InventoryPollIntervalSeconds":"60"}', "must be a whole number"),
    "fraction": ('{"ServerURL":"http://a","InventoryPollIntervalSeconds":1.5}', "must be a whole number"),
    "flag": ('{"ServerURL":"http://a","SkipVerify":"no"}', "SkipVerify: must be true or false"),
    "huge": ('{"ServerURL":"http://a","UpdatePollIntervalSeconds":1e400}', "must be a whole number"),
    "number as text": ('{"ServerURL":"http://a","TenantToken":7}', "TenantToken: must be a string"),
    "no group": ('{"ServerURL":"http://a","HttpsClient":7}', "HttpsClient: must be an object"),
    "no certificate": (
        '{"ServerURL":"https://a","HttpsClient":{"Certificate":"/none","Key":"/none"}}',
        "HttpsClient.Certificate: cannot load",
    ),
    "pkcs11": ('{"ServerURL":"http://a","Security":{"AuthPrivateKey":"pkcs11:"}}', "AuthPrivateKey: it names no key"),
}


@pytest.mark.parametrize("wrong", WRONG_CONFIGURATIONS.values(), ids=WRONG_CONFIGURATIONS)
def test_wrong_configuration(tmp_path: Path, wrong: tuple[str | bytes, str]) -> None:
    """A wrong configuration ends the daemon with 78, and the message names file, key and reason."""
    content, words = wrong
    path = tmp_path / "etc/mender/mender.conf"
    path.parent.mkdir(parents=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = call("--root", str(tmp_path), "daemon", "--no-syslog")
    assert (78, "") == (done.returncode, done.stdout)
    assert words in done.stderr


def test_all_wrong_keys_at_once(device: Device) -> None:
    """All errors of both files are reported together, and the exit code is 78; an unknown key is a warning."""
    device.configure(UpdatePollIntervalSeconds=-1, SkipVerify=3, TenantToken=[])
    device.write("var/lib/mender/mender.conf", json.dumps({"RetryPollIntervalSeconds": True}))
    done = device.run("daemon")
    assert (78, "", 4) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    device.write("var/lib/mender/mender.conf", json.dumps({"UpdatePolIntervalSeconds": 5}))
    device.configure()
    assert "did you mean 'UpdatePollIntervalSeconds'?" in device.run("check-update").stderr


def test_missing_device_type(device: Device) -> None:
    """Without a device type no poll is sent: a wrong one would end deployments."""
    path = device.data / "device_type"
    path.unlink()
    daemon = device.daemon()
    daemon.wait_for(f"cannot find the device type in {path}; run 'mender-python-client --root {device.root} setup")
    assert not any(one.kind == "next" for one in device.server.requests)
    path.write_text("device_type=testdev\n")
    wait_until(lambda: any(one.kind == "next" for one in device.server.requests))


@pytest.mark.parametrize("content", ["", "{", "[]", "\0" * 500])
def test_damaged_journal(device: Device, content: str) -> None:
    """A state file that is no JSON object is renamed and reported, and the client continues."""
    device.write("var/lib/mender/journal.json", content)
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    assert 0 == daemon.wait_exit()
    device.wait_status(deployment, "success")
    assert "check journal.json.damaged-" in daemon.text
    aside = list(device.data.glob("journal.json.damaged-*"))
    assert [content] == [path.read_text() for path in aside]


@pytest.mark.parametrize("content", ["an-old-deployment\n", "", "../../etc\n"])
def test_stale_lock_never_silences(device: Device, content: str) -> None:
    """A daemon that finds a lock says what it waits for, and continues when the lock is gone."""
    device.lock.write_text(content)
    daemon = device.daemon()
    daemon.wait_for("for update.lock to be removed")
    assert ("an-old-deployment" if "old" in content else "an unknown deployment") in daemon.text
    if content:
        return
    device.lock.unlink()
    daemon.wait_for("authorised by")


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory that any user can reach: pytest's own is closed to others whenever another pytest starts."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def nobody(public_directory: Path, make_device: MakeDevice) -> Device:
    """A device that belongs to an ordinary user, as whom its processes run."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to become an ordinary user")
    device = make_device(str(public_directory / "of-nobody"))
    program = device.root / "as-nobody"
    program.write_text(
        "#!/bin/sh\nunset COVERAGE_PROCESS_START COVERAGE_PROCESS_CONFIG  # its data can't be written by this user\n"
        f'exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups "{PROGRAM}" "$@"\n'
    )
    program.chmod(0o755)
    for path in (device.root, *device.root.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    device.program = program
    if device.run("--version").returncode != 0:
        pytest.skip("an ordinary user can't reach this Python")
    device.write("plan", LEAVE)
    return device


def test_read_only_data_directory(nobody: Device) -> None:
    """A data directory that isn't writable ends the daemon with a message that names the file and what to check."""
    nobody.data.chmod(0o500)
    done = nobody.run("daemon", "--no-syslog")
    nobody.data.chmod(0o700)
    assert 1 == done.returncode
    assert f"cannot open {nobody.data}/daemon.lock: Permission denied; check its owner and mode" in done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("report --failure", 1),
        ("status", 1),
        ("history", 1),
        ("check-update", 78),
        ("config check", 78),
        ("config set SkipVerify false", 78),
        ("doctor", 1),
    ],
)
def test_commands_of_another_user(nobody: Device, words: str, code: int) -> None:
    """A user who may not access the data directory is told to become root or the client's user, and nothing else."""
    for path in (nobody.data, *nobody.data.rglob("*")):
        os.chown(path, 0, 0)
    nobody.data.chmod(0o700)
    done = nobody.run(*words.split())
    said = done.stdout + done.stderr
    assert (code, True) == (done.returncode, "Permission denied" in said), said
    assert "run this as root, or as the client's user" in said
    for guess in ("owner and mode", "names no deployment", "it may be between two boots", "no server is configured"):
        assert guess not in said


def test_files_of_another_user(nobody: Device) -> None:
    """``doctor`` names the files of the client that its user can't use, with the remedy."""
    lock = nobody.write("var/lib/mender/daemon.lock", "")
    lock.chmod(0o600)
    os.chown(lock, 0, 0)
    done = nobody.run("doctor")
    assert 1 == done.returncode
    assert f"{lock} belongs to user 0, and this user cannot write it" in done.stdout
    assert "-> if the client runs as this user, change the owner" in done.stdout
    assert f"cannot check {lock}: Permission denied" in done.stdout


def test_data_directory_becomes_read_only(nobody: Device) -> None:
    """A data directory that becomes read-only fails a deployment with the reason in its log; the daemon survives."""
    daemon = nobody.daemon()
    daemon.wait_for("inventory sent")
    nobody.data.chmod(0o500)
    deployment = nobody.deploy("release-2")
    nobody.wait_status(deployment, "failure")
    assert "Permission denied" in nobody.log_of(deployment)
    assert [] == nobody.runs
    nobody.data.chmod(0o700)
    again = nobody.deploy("release-3")
    assert 0 == daemon.wait_exit()
    wait_until(lambda: [again] == nobody.runs)


def test_full_disk(device: Device) -> None:
    """On a full disk the deployment fails with a reason, if possible before the download; the daemon survives."""
    files = {path.name: path.read_bytes() for path in device.data.iterdir()}
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "none", str(device.data)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"a file system can't be mounted here: {done.stderr.strip()}")
    try:
        for name, content in files.items():
            (device.data / name).write_bytes(content)
        device.key.chmod(0o600)
        deployment = device.deploy("release-2", payload=bytes(2_000_000))
        daemon = device.daemon()
        device.wait_status(deployment, "failure")
        assert "cannot store the Artifact: it needs" in device.log_of(deployment)
        wait_until(lambda: not device.journal.get("outbox"), what="the journal without the status that was sent")
        assert daemon.is_alive
        (device.data / "filler").write_bytes(bytes(1024 * 900))
        with (device.data / "rest").open("ab", buffering=0) as rest, suppress(OSError):
            while rest.write(bytes(512)):
                pass
        full = device.deploy("release-3")
        device.wait_status(full, "failure")
        assert "No space left on device" in device.log_of(full)
        assert [] == device.runs
        assert daemon.is_alive
    finally:
        device.close()
        subprocess.run(["umount", "-l", str(device.data)], check=False)


def test_lock_that_is_taken_by_hand(device: Device) -> None:
    """A lock that somebody creates by hand stops the polling until it is removed, and the daemon reports that."""
    daemon = device.daemon()
    daemon.wait_for("inventory sent")
    device.lock.write_text("by-hand\n")
    waits = "deployment by-hand has been waiting for update.lock to be removed"
    daemon.wait_for(waits)
    polls = sum(one.kind == "next" for one in device.server.requests)
    daemon.send(signal.SIGUSR1)
    for count in (1, 2):
        daemon.send(signal.SIGHUP)
        daemon.wait_for(waits, count=1 + count)  # in the first step after the reload
    assert polls == sum(one.kind == "next" for one in device.server.requests)
    device.lock.unlink()
    daemon.wait_for("update.lock removed")
    wait_until(lambda: sum(one.kind == "next" for one in device.server.requests) > polls)


def test_skip_verify_is_said_at_every_start(device: Device) -> None:
    """A client that trusts every server warns about it at each start, and does trust every server."""
    for start, setting in (([], True), ([], True), (["--skipverify"], None)):
        device.configure(SkipVerify=setting, ServerCertificate=None)
        daemon = device.daemon(*start)
        daemon.wait_for("SkipVerify is set: no server certificate is verified")
        daemon.wait_for("authorised by")
        daemon.stop()


def test_plain_http_is_said_at_the_start(device: Device) -> None:
    """A client that uses a server on another machine without TLS warns about it; on the device itself that is fine."""
    device.configure(ServerURL="http://mender.test")  # the proxy is asked for it, never a name server
    daemon = device.start("daemon", "--no-syslog", environment={"http_proxy": "http://127.0.0.1:9"})
    daemon.wait_for("http://mender.test is used without TLS: an attacker can read the token")
    daemon.stop()
    device.configure(ServerURL="http://127.0.0.1:9")
    daemon = device.daemon()
    daemon.wait_for("the connection was refused")
    daemon.stop()
    assert "without TLS" not in daemon.text


def test_sub_updater_that_another_user_could_have_written(device: Device) -> None:
    """A sub-updater that is writable by another user isn't started: the deployment fails with the reason in its log."""
    script = device.root / "usr/share/mender/install"
    script.chmod(0o777)
    deployment = device.deploy("release-2")
    device.daemon().wait_for(f"everybody can write to {script}; run 'chmod o-w {script}'")
    device.wait_status(deployment, "failure")
    assert [] == device.runs
    assert f"everybody can write to {script}" in device.log_of(deployment)


def test_configuration_that_another_user_could_have_written(device: Device) -> None:
    """Settings that are writable by another user are refused, with the command that corrects it."""
    config = device.root / "etc/mender/mender.conf"
    config.chmod(0o666)
    done = device.run("check-update")
    assert 78 == done.returncode
    assert (
        f"another user could have written it: everybody can write to {config}; run 'chmod o-w {config}'" in done.stderr
    )


@pytest.mark.parametrize("umask", ["000", "077"])
def test_private_files(device: Device, umask: str) -> None:
    """Whatever the umask: the data directory is 0700, what is in it 0600, and only the lock may be read by all."""
    device.key.rename(device.root / "etc/mender/key.pem")
    shutil.rmtree(device.data)
    device.write("etc/mender/device_type", "device_type=testdev\n")
    device.configure(Security={"AuthPrivateKey": "/etc/mender/key.pem"}, DeviceTypeFile="/etc/mender/device_type")
    device.write("plan", LEAVE)
    device.deploy("release-2")
    log = device.root / "client.log"
    command = f'umask {umask}; exec "{device.program}" --root "{device.root}" -L "{log}" daemon --no-syslog'
    subprocess.run(["/bin/sh", "-c", command], check=True)
    modes = {path.name: oct(path.stat().st_mode & 0o7777) for path in (log, device.data, *device.data.iterdir())}
    assert {"artifact.mender", "journal.json", "sub-updater.log", "deployment.log", "daemon.lock"} <= set(modes)
    assert ("0o700", "0o644") == (modes.pop("mender"), modes.pop("update.lock"))
    assert {"0o600"} == set(modes.values())


def test_an_artifact_that_needs_more_memory_than_there_is(device: Device, tmp_path: Path) -> None:
    """The fault fails the deployment immediately, with the reason; the daemon continues and installs the next one."""
    content = b"image" * 4000
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 64 << 20}]
    info = {
        "payloads": [{"type": "app"}],
        "artifact_provides": {"artifact_name": "release-2"},
        "artifact_depends": {"device_type": [DEVICE_TYPE]},
    }
    payload = lzma.compress(tar(tar_file("file", content)), filters=filters)
    greedy = Forge(compression="xz", info=dump(info), files=[("file", content)], payload=payload)
    (tmp_path / "greedy.mender").write_bytes(greedy.build())
    limited = tmp_path / "limited"
    limited.write_text(f'#!/bin/sh\nulimit -v 102400\nexec {PROGRAM} "$@"\n')
    limited.chmod(0o755)
    device.program = limited
    daemon = device.daemon()
    deployment_id = device.deploy("release-2", file=tmp_path / "greedy.mender")
    device.wait_status(deployment_id, "failure")
    assert "needs more memory to be decompressed than this device has for it" in device.log_of(deployment_id)
    assert daemon.is_alive
    device.wait_status(device.deploy("release-3"), "success")
