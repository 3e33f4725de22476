"""Remedies contain commands that can be pasted: they act on the same device as the command that printed them."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from calling import call
from mender_client.app.command import command_of, completed
from mender_client.commandline import Options
from mender_client.core.machine import Event
from mender_client.core.model import Deployment, Link, NextForm, Provides
from mender_client.core.record import Record
from mender_client.system.journal import JsonJournal
from mender_client.system.locks import LockFile

DEPLOYMENT = Deployment(str(uuid4()), "release-2", ("board",), Link("https://storage.example/a"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "mender-python-client"),
        ({"root": "/a device", "data": "/data"}, "mender-python-client --root '/a device' --data /data"),
        ({"config": "c", "fallback_config": "f"}, "mender-python-client --config c --fallback-config f"),
        ({"devices": "all", "device": "pump"}, "mender-python-client --devices all --device pump"),
    ],
)
def test_command(given: dict[str, str], expected: str) -> None:
    """The command has the given options that select device, configuration and data."""
    assert expected == command_of(Options(log_level="debug", **given))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run 'mender-python-client setup', or reboot", "run 'mender-python-client --root d setup', or reboot"),
        ("mender-python-client 1.1.0 started", "mender-python-client 1.1.0 started"),
        ("'mender-python-client --root d status'", "'mender-python-client --root d status'"),
        ("systemctl start mender-python-client", "systemctl start mender-python-client"),
    ],
)
def test_completed(text: str, expected: str) -> None:
    """Only commands of the program are completed, and only once."""
    assert expected == completed(text, "mender-python-client --root d")


def test_doctor(tmp_path: Path) -> None:
    """The remedies of doctor name the directory, on an empty device and in the JSON, too."""
    for options in ((), ("--json",)):
        done = call("--root", str(tmp_path), "doctor", *options)
        assert f"'mender-python-client --root {tmp_path} daemon'" in done.stdout
        assert done.stdout.count("'mender-python-client ") == done.stdout.count(f"client --root {tmp_path} ")


def test_error_of_a_command(tmp_path: Path) -> None:
    """The error that ends a command names directory and data directory, so that no key of this machine is replaced."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "mender-agent.pem").write_text("no key")
    done = call("--root", str(tmp_path), "-d", "/data", "bootstrap")
    options = f"--root {tmp_path} --data /data"
    assert f"replace the key with 'mender-python-client {options} bootstrap --forcebootstrap'" in done.stderr


def test_status_and_report(tmp_path: Path) -> None:
    """``status`` names the directory in the command that ends a deployment, and ``report`` in that for the key."""
    data = tmp_path / "var/lib/mender"
    data.mkdir(parents=True)
    since = "2026-11-23T10:00:00+00:00"
    begun = Record().begun(DEPLOYMENT, Provides("board", "release-1"), NextForm.V1_POST, now=since)
    for event in (Event.FETCHED, Event.CONFIRMED, Event.STARTED):
        begun = begun.moved(DEPLOYMENT.id, event, now=since)
    JsonJournal(data / "journal.json").update(lambda _: begun)
    LockFile(data / "update.lock").write(DEPLOYMENT.id)
    shown = call("--root", str(tmp_path), "status").stdout
    assert f"run 'mender-python-client --root {tmp_path} report --failure'" in shown
    (tmp_path / "etc/mender").mkdir(parents=True)
    config = tmp_path / "etc/mender/mender.conf"
    config.write_text(json.dumps({"ServerURL": "https://127.0.0.1:1"}))
    config.chmod(0o600)
    identity = tmp_path / "usr/share/mender/identity/mender-device-identity"
    identity.parent.mkdir(parents=True)
    identity.write_text("#!/bin/sh\necho mac=1\n")
    identity.chmod(0o755)
    done = call("--root", str(tmp_path), "report", "--failure")
    assert 75 == done.returncode
    assert f"generate one with 'mender-python-client --root {tmp_path} bootstrap' [REP04]" in done.stderr
