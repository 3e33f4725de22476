"""Files that the client reads: configuration, state file, locks, logs, output of scripts and sub-updaters."""

from __future__ import annotations

import fcntl
import json
import os
import random
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import lmdb

from fuzz.mutations import json_case, mutate_bytes, mutate_text
from fuzz.parsers import Parser
from mender_client.app.config import KEYS, load_config
from mender_client.app.paths import Paths
from mender_client.app.show_status import render
from mender_client.app.status import look
from mender_client.core.client_status import ClientStatus, Download
from mender_client.core.lmdb import read_entries
from mender_client.core.metrics import render_metrics
from mender_client.core.model import IdentityFormat, is_deployment_id
from mender_client.core.state_document import decode_record, encode_record
from mender_client.core.wire.deployments import fit_log
from mender_client.errors import ConfigError, ErrorKind, NetworkError, StorageError
from mender_client.system.deploymentlog import DeploymentLogFile
from mender_client.system.device import ScriptedDevice
from mender_client.system.locks import DaemonLock, LockFile
from mender_client.system.snapshot import peek_record, read_client_status

_CONFIGURATION = {
    "ServerURL": "https://mender.example.com",
    "Servers": [{"ServerURL": "https://a.example.com"}],
    "TenantToken": "a token",
    "ServerCertificate": "/etc/mender/server.crt",
    "SkipVerify": False,
    "HttpsClient": {"Certificate": "/a.crt", "Key": "/a.key"},
    "Security": {"AuthPrivateKey": "/key.pem"},
    "ArtifactVerifyKeys": ["/a.pub", "/b.pub"],
    "DeviceTypeFile": "/etc/device_type",
    "DaemonLogLevel": "debug",
    "UpdatePollIntervalSeconds": 1800,
    "IdentityFormat": "plain",
    "DownloadSpeedLimit": ["Mon-Fri 08:00-18:00 Europe/Berlin 65536", "Sat stop", "unlimited"],
    "UpdateGates": {
        "Download": "22:00-06:00 UTC",
        "Install": [
            "Mon-Fri 22:00-05:00",
            "ask",
            "when /sys/power >= 30",
            "when /bin/ac",
            "run /bin/idle x",
            "after 7d go",
        ],
    },
}
_JOURNAL = {
    "schema": 1,
    "update": {
        "deployment_id": "d1",
        "artifact_name": "release-2",
        "state": "downloading",
        "since": "2026-01-01T00:00:00+00:00",
        "provides": {"device_type": "board", "artifact_name": "release-1", "others": {"group": "a"}},
        "form": "v2 POST",
        "promise": {"total": 1000, "etag": '"abc"'},
        "seen_bytes": 10,
        "writes": 2,
        "tried": True,
        "hands": {"pid": 7, "boot_id": "b", "start_time": 8},
    },
    "outbox": [
        {"deployment_id": "d1", "kind": "status", "status": "downloading"},
        {"deployment_id": "d1", "kind": "log", "status": None},
    ],
    "outcomes": [
        {"deployment_id": "d0", "status": "success", "at": "2026-01-01T00:00:00+00:00", "artifact_name": "release-1"}
    ],
    "a later field": [1],
}
_LOG_LINES = [
    {"timestamp": "2026-01-01T00:00:00.000+00:00", "level": "info", "message": "begins", "deployment_id": "d1"},
    {"timestamp": "2026-01-01T00:00:01.000+00:00", "level": "error", "message": "fails"},
]


_STATUS = asdict(
    ClientStatus()
    .begun("2026-01-01T00:00:00+00:00", version="1.0", python="3.11")
    .failed("poll", NetworkError("cannot reach it", kind=ErrorKind.REFUSED), "2026-01-01T00:00:00+00:00", in_a_row=1)
    .does("downloading", "2026-01-01T00:00:00+00:00", deployment_id="d", artifact_name="release-2")
    .downloads(Download(1, 2, 3, 4))
)


def parsers(directory: Path) -> list[Parser]:
    """The parsers of this module."""
    read = _Reading(directory)
    lock = [b"d1\n", b"4242\n", b"b8ee7aee-51b0-4a9c-a8a3-2f1a5a3d8f0e\n"]
    info = ["device_type=board\n", "artifact_name=release-1\nrootfs-image.version=2\n"]
    return [
        Parser("configuration", _configuration, read.configuration, (ConfigError,)),
        Parser("journal", lambda rng: json_case(rng, [_JOURNAL]), read.journal),
        Parser("lock-file", lambda rng: mutate_bytes(rng, rng.choice(lock)), read.lock),
        Parser("deployment-log", _deployment_log, read.deployment_log),
        Parser("status-file", lambda rng: json_case(rng, [_STATUS]), read.status),
        Parser("old-database", read.make_database, read.database, (ValueError,)),
        Parser("device-files", lambda rng: mutate_text(rng, rng.choice(info)), read.device_files, (StorageError,)),
    ]


def _configuration(rng: random.Random) -> tuple[bytes, bytes]:
    keys = rng.sample(list(_CONFIGURATION), rng.randrange(1, len(_CONFIGURATION)))
    chosen = {key: _CONFIGURATION[key] for key in keys}
    extra = {rng.choice(KEYS).name: 1}
    if rng.randrange(50) == 0:
        extra = {f"{rng.choice(keys)}{number}": 1 for number in range(2000)}
    fallback = json.dumps({"ServerURL": "http://h"}).encode() if rng.randrange(2) else json_case(rng, [_CONFIGURATION])
    return json_case(rng, [_CONFIGURATION, chosen, {**chosen, **extra}]), fallback


def _deployment_log(rng: random.Random) -> tuple[bytes, bytes]:
    lines = [json.dumps(line).encode() if rng.randrange(3) else json_case(rng, [line]) for line in _LOG_LINES]
    free = mutate_text(rng, "unpacking\n50 %\r100 %\ndone\n").encode("utf-8", "surrogatepass")
    return rng.choice((b"\n", b"\n", b"\r")).join([*lines, b""]), free


def _make_database(path: Path) -> bytes:
    with lmdb.open(str(path), subdir=False, map_size=1 << 20) as store, store.begin(write=True) as transaction:
        for number in range(200):
            transaction.put(b"artifact-%03d" % number, b"v" * 50)
    return path.read_bytes()[: 8 * 4096]  # the rest is empty


class _Reading:
    """Writes each case to a file and lets the program read it.

    Args:
        directory: where the files go.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._paths = Paths.locate(root=str(directory))
        self._paths.data.mkdir(parents=True)
        self._paths.artifact_info.parent.mkdir(parents=True)
        self._database = _make_database(directory / "mender-store")

    def configuration(self, case: tuple[bytes, bytes]) -> str:
        main, fallback = self._directory / "main.conf", self._directory / "fallback.conf"
        main.write_bytes(case[0])
        fallback.write_bytes(case[1])
        loaded = load_config(main, fallback)
        assert all(str(line).isprintable() and len(str(line)) < 2000 for line in loaded.warnings), loaded.warnings
        assert len(loaded.warnings) < 200
        config = loaded.config
        for url in config.server_urls:
            assert urlsplit(url).hostname
            assert url.isascii()
            assert url.isprintable()
        paths = [config.server_certificate, config.auth_private_key, *config.artifact_verify_keys]
        assert all(os.fsencode(path).count(b"\0") == 0 for path in (*paths, config.device_type_file))
        assert 1 <= config.update_poll_seconds < 10**9
        return "accepted"

    def status(self, content: bytes) -> str:
        self._paths.status.write_bytes(content)
        found = read_client_status(self._paths.status)
        if found is None:
            return "none"
        render_metrics(found[0])
        for line in render(look(self._paths), now=datetime.now(timezone.utc)):
            assert line.isprintable(), ascii(line)
        self._paths.status.unlink()
        return "read"

    def make_database(self, rng: random.Random) -> bytes:
        return mutate_bytes(rng, self._database)

    def database(self, content: bytes) -> str:
        assert sum(map(len, read_entries(content).values())) <= len(content)
        return "read"

    def journal(self, content: bytes) -> str:
        self._paths.journal.write_bytes(content)
        record, problem = peek_record(self._paths.journal)
        assert problem.isprintable(), ascii(problem)
        assert len(problem) < 1000
        for line in render(look(self._paths), now=datetime.now(timezone.utc)):
            assert line.isprintable(), ascii(line)
        if not problem:
            again = decode_record(json.loads(json.dumps(encode_record(record))))
            assert again == record
            if record.update is not None:
                assert is_deployment_id(record.update.deployment_id)
        return "set aside" if problem else "accepted"

    def lock(self, content: bytes) -> str:
        self._paths.update_lock.write_bytes(content)
        held = LockFile(self._paths.update_lock).read()
        assert held is not None
        assert not held or is_deployment_id(held)
        self._paths.daemon_lock.write_bytes(content)
        with self._paths.daemon_lock.open("rb") as holder:
            fcntl.flock(holder, fcntl.LOCK_EX)
            pid = DaemonLock(self._paths.daemon_lock).holder()
        assert pid is None or 0 < pid < 2**31, pid
        return "an id" if held else "no id"

    def deployment_log(self, case: tuple[bytes, bytes]) -> str:
        path, other = self._directory / "deployment.log", self._directory / "sub-updater.log"
        path.write_bytes(case[0])
        other.write_bytes(case[1])
        log = DeploymentLogFile(path, other)
        messages = fit_log(log.messages("d1"))
        for message in messages:
            assert message.message.isprintable(), ascii(message.message)
            assert message.level
            assert message.timestamp.tzinfo is not None
        log.begin("d1")
        log.end()
        return "messages" if messages else "none"

    def device_files(self, text: str) -> str:
        data = text.encode("utf-8", "surrogatepass")
        self._paths.device_type.write_bytes(data)
        self._paths.artifact_info.write_bytes(data)
        unused: Any = self._directory / "none"
        device = ScriptedDevice(
            identity_script=unused,
            identity_format=IdentityFormat.PLAIN,
            inventory_directory=unused,
            device_type_file=self._paths.device_type,
            artifact_info_file=self._paths.artifact_info,
            find_problem=lambda _: None,
        )
        provides = device.provides()
        assert provides.device_type
        assert provides.artifact_name
        return "accepted"
