"""Each fault and warning that is planted is reported, and its remedy works."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mender_client.core.machine import Event
from mender_client.core.model import Deployment, Link, NextForm, Provides
from mender_client.core.record import Record
from mender_client.core.sub_updater_state import SubUpdaterState
from mender_client.core.update import ProcessRef
from mender_client.system.journal import JsonJournal
from mender_client.system.process import SystemProcesses
from mender_devserver import Fault
from system.authority import Authority

from .conftest import DEPLOYMENT, Ward, worries


def remove(name: str) -> Callable[[Ward], Callable[[], object]]:
    """A file is missing; the remedy puts it back."""

    def plant(ward: Ward) -> Callable[[], object]:
        path = ward.root / name
        kept = shutil.copy(path, ward.root / "kept")
        path.unlink()
        return lambda: shutil.copy(kept, path)

    return plant


def unreadable_key(ward: Ward) -> Callable[[], object]:
    """The key is truncated."""
    key = ward.data / "mender-agent.pem"
    whole = key.read_text()
    key.write_text(whole[:90])
    return lambda: key.write_text(whole)


def open_key(ward: Ward) -> Callable[[], object]:
    """The key is readable by all users."""
    key = ward.data / "mender-agent.pem"
    ward.data.chmod(0o755)
    key.chmod(0o644)
    return lambda: key.chmod(0o600)


def stale_lock(ward: Ward) -> Callable[[], object]:
    """A lock that belongs to no known deployment."""
    lock = ward.write("var/lib/mender/update.lock", "nobodys-deployment\n")
    return lock.unlink


def dead_sub_updater(ward: Ward) -> Callable[[], object]:
    """The sub-updater was started since the last boot and no longer runs."""
    deployment = Deployment(DEPLOYMENT, "release-2", ("board",), Link("https://x/y"))
    dead = ProcessRef(2**22 + 1, SystemProcesses(Path(os.devnull)).boot_id(), 1)

    def handed(record: Record) -> Record:
        now = "2026-01-01T00:00:00+00:00"
        record = record.begun(deployment, Provides("board", "release-1"), NextForm.V1_POST, now=now)
        for event in (Event.FETCHED, Event.CONFIRMED):
            record = record.moved(DEPLOYMENT, event, now=now)
        return record.moved(DEPLOYMENT, Event.STARTED, now=now, note=lambda update: replace(update, process=dead))

    JsonJournal(ward.data / "journal.json").update(handed)
    lock = ward.write("var/lib/mender/update.lock", f"{DEPLOYMENT}\n")

    def mend() -> None:
        ward.client("report", "--failure", "--timeout", "1")
        lock.unlink(missing_ok=True)

    return mend


def shared_identity(ward: Ward) -> Callable[[], object]:
    """The identity is that of a board that was never given a serial number."""
    name, body = "usr/share/mender/identity/mender-device-identity", "echo mac=00:00:00:00:00:00"
    ward.script(name, body)
    return lambda: ward.script(name, "echo serial=0042")


def configured(**keys: object) -> Callable[[Ward], Callable[[], object]]:
    """A key of the configuration is wrong."""

    def plant(ward: Ward) -> Callable[[], object]:
        ward.configure(**keys)
        return ward.configure

    return plant


def broken_json(ward: Ward) -> Callable[[], object]:
    """The configuration isn't JSON."""
    ward.write("etc/mender/mender.conf", '{"ServerURL": "https://x",}', 0o600)
    return ward.configure


def lying_clock(ward: Ward) -> Callable[[], object]:
    """The clock of the server differs greatly."""
    ward.server.clock_offset_seconds = 86400.0

    def mend() -> None:
        ward.server.clock_offset_seconds = 0.0

    return mend


def wrong_authority(ward: Ward) -> Callable[[], object]:
    """The device trusts another certificate authority."""
    authority = Authority(ward.root / "other-ca")
    return configured(ServerCertificate=str(authority.certificate))(ward)


def rejected(ward: Ward) -> Callable[[], object]:
    """The device was accepted, and then rejected."""
    (device,) = ward.server.devices()
    ward.server.reject(device.id)
    return lambda: ward.server.accept(device.id)


def outage(ward: Ward) -> Callable[[], object]:
    """The server answers with errors."""
    ward.server.add_fault(Fault(kind="auth", status=503, times=None))
    return ward.server.clear_faults


def closed_port(ward: Ward) -> Callable[[], object]:
    """No server listens there."""
    holder = socket.socket()  # until the fault is corrected, no other process gets the port
    holder.bind(("127.0.0.1", 0))
    mend = configured(ServerURL=f"https://127.0.0.1:{holder.getsockname()[1]}")(ward)

    def mend_and_close() -> None:
        mend()
        holder.close()

    return mend_and_close


def written(name: str, text: str) -> Callable[[Ward], Callable[[], object]]:
    """A file has another content; the remedy restores the old one, or removes the file."""

    def plant(ward: Ward) -> Callable[[], object]:
        path = ward.root / name
        before = path.read_text() if path.exists() else None
        path.write_text(text)
        return path.unlink if before is None else lambda: path.write_text(before)

    return plant


def failing_script(ward: Ward) -> Callable[[], object]:
    """The identity script fails."""
    name = "usr/share/mender/identity/mender-device-identity"
    ward.script(name, "exit 3")
    return lambda: ward.script(name, "echo serial=0042")


def writable(name: str) -> Callable[[Ward], Callable[[], object]]:
    """A file is writable by all users."""

    def plant(ward: Ward) -> Callable[[], object]:
        path = ward.root / name
        path.chmod(0o602)
        return lambda: path.chmod(0o600)

    return plant


def damaged_state(ward: Ward) -> Callable[[], object]:
    """The state file isn't JSON; the client renames it."""
    ward.write("var/lib/mender/journal.json", "{")
    return lambda: ward.client("check-update")


def changed_state(
    change: Callable[[Record], Record], *, is_locked: bool = False
) -> Callable[[Ward], Callable[[], None]]:
    """The state is another one, with or without the lock of its deployment."""

    def plant(ward: Ward) -> Callable[[], None]:
        path = ward.data / "journal.json"
        before = path.read_bytes()
        JsonJournal(path).update(change)
        if is_locked:
            ward.write("var/lib/mender/update.lock", f"{DEPLOYMENT}\n")

        def mend() -> None:
            path.write_bytes(before)
            (ward.data / "update.lock").unlink(missing_ok=True)

        return mend

    return plant


def paused(ward: Ward) -> Callable[[], object]:
    """All updates are paused."""
    ward.client("pause", "--all")
    return lambda: ward.client("continue", "--all")


IMAGE = "/etc/mender/server.crt"
"""Below ``--root``, a file can be a partition."""

PLANTED: dict[str, tuple[Callable[[Ward], Callable[[], object]], str, str]] = {
    "wrong clock": (lying_clock, "clock", "the server says that it is"),
    "wrong CA": (wrong_authority, "TLS", "its issuer is unknown"),
    "closed port": (closed_port, "connection", "refused"),
    "no DNS": (configured(ServerURL="https://no-such-host.invalid"), "DNS", "can't be resolved"),
    "unreadable key": (unreadable_key, "key", "cannot"),
    "world-readable key": (open_key, "permissions", "chmod o-r"),
    "missing script": (remove("usr/share/mender/install"), "install script", "is missing"),
    "missing identity script": (
        remove("usr/share/mender/identity/mender-device-identity"),
        "identity",
        "is missing",
    ),
    "stale lock": (stale_lock, "update", "stale lock"),
    "rejected device": (rejected, "authorisation", "no longer accepted"),
    "duplicate identity": (shared_identity, "identity", "other devices"),
    "bad JSON": (broken_json, "configuration", "is not valid JSON"),
    "misspelled key": (configured(UpdatePollIntervalSecond=5), "configuration", "did you mean"),
    "device type missing": (remove("var/lib/mender/device_type"), "device type", "No such file"),
    "dead sub-updater": (dead_sub_updater, "update", "died without reporting"),
    "server outage": (outage, "authorisation", "503"),
    "missing partition": (configured(RootfsPartA="/dev/a", RootfsPartB="/dev/b"), "partitions", "cannot find"),
    "one partition": (configured(RootfsPartA="/etc/mender/mender.conf"), "partitions", "RootfsPartB is not set"),
    "partition is none": (
        configured(RootfsPartA="/etc", RootfsPartB="/etc"),
        "partitions",
        "is not a block device",
    ),
    "same partitions": (configured(RootfsPartA=IMAGE, RootfsPartB=IMAGE), "partitions", "overwrite the running system"),
    "SkipVerify": (configured(SkipVerify=True), "TLS", "SkipVerify is set"),
    "failing identity script": (failing_script, "identity", "failed with exit code 3"),
    "writable configuration": (writable("etc/mender/mender.conf"), "permissions", "everybody can write"),
    "writable key": (writable("var/lib/mender/mender-agent.pem"), "permissions", "everybody can write"),
    "no space": (configured(DownloadReserveBytes=1 << 50), "data directory", "no space for an Artifact"),
    "no device type": (written("var/lib/mender/device_type", "x=1\n"), "device type", "has no line device_type=TYPE"),
    "damaged state": (damaged_state, "state file", "start the daemon, which renames it"),
    "no client certificate": (
        configured(HttpsClient={"Certificate": "/none", "Key": "/none"}),
        "TLS",
        "HttpsClient.Certificate: cannot load",
    ),
}


def one_without_tls(ward: Ward) -> Callable[[], object]:
    """The second of two servers is reached without TLS."""
    servers = [{"ServerURL": ward.server.url}, {"ServerURL": "http://127.0.0.1:1"}]
    ward.configure(ServerURL=None, Servers=servers)
    return ward.configure


def reported(record: Record) -> Record:
    """The record after a report of the sub-updater."""
    return record.concluded(DEPLOYMENT, Event.SUCCESS, now="2026-01-01T00:00:00+00:00")


WORRYING: dict[str, tuple[Callable[[Ward], Callable[[], object]], str, str]] = {
    "no artifact info": (remove("etc/mender/artifact_info"), "artifact info", "is reported as 'unknown'"),
    "no artifact name": (written("etc/mender/artifact_info", "x=1\n"), "artifact info", "has no line artifact_name="),
    "renamed state": (written("var/lib/mender/journal.json.damaged-1", "{"), "state file", "is a damaged state file"),
    "pending report": (changed_state(reported), "state file", "1 pending report(s)"),
    "lock after the report": (changed_state(reported, is_locked=True), "update", SubUpdaterState.REPORTED.value),
    "paused": (paused, "update", "all updates are paused by"),
    "no TLS": (configured(ServerURL="http://127.0.0.1:1"), "TLS", "http://127.0.0.1:1 is reached without TLS"),
    "one without TLS": (one_without_tls, "TLS", "http://127.0.0.1:1 is reached without TLS"),
}


@pytest.mark.parametrize("case", PLANTED)
def test_a_planted_fault(ward: Ward, case: str) -> None:
    """The fault is reported by its check with a remedy, and after the remedy nothing is reported."""
    plant, check, words = PLANTED[case]
    mend = plant(ward)
    faults = ward.faults()
    assert check in faults, faults
    assert words in faults[check]
    mend()
    assert {} == ward.faults()


@pytest.mark.parametrize("case", WORRYING)
def test_a_planted_warning(ward: Ward, case: str) -> None:
    """What doesn't prevent updates is a warning of its check, and after the remedy there is none."""
    plant, check, words = WORRYING[case]
    mend = plant(ward)
    assert words in worries(ward)[check]
    mend()
    assert ["daemon"] == list(worries(ward))
