"""Plants secrets in everything that holds one, runs every command, and searches everything that was written.

A later command is driven by a line in ``COMMANDS``; the test says when one is missing.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import logging
import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from mender_client.app.cli import build_parser, main
from mender_devserver import Fault
from program.stage import Device, make_artifact
from system.authority import Authority
from system.rawserver import RawServer, answer, reset
from waiting import wait_until

TENANT = "LEAK-tenant-5f1c"
LINK = "LEAK-link-77ab"
REDIRECT = "LEAK-redirect-90cd"
CREDENTIALS = "LEAK-credentials-1e2f"
PROXY = "LEAK-proxy-33de"
PASSPHRASE = "LEAK-passphrase-8d1a"

COMMANDS: Mapping[str, Sequence[Sequence[str]]] = {
    "bootstrap": [[]],
    "connect": [[]],
    "gateway": [["--devices", "/nonexistent"]],
    "show-artifact": [[]],
    "install": [["{artifact}"], ["{key}"], ["http://u:{credentials}@127.0.0.1:9/?{link}"]],
    "commit": [[]],
    "rollback": [[]],
    "resume": [[]],
    "report": [["--failure", "--reason", "why", "--timeout", "0"]],
    "show-provides": [[], ["--json"]],
    "show-inventory": [[], ["--json"]],
    "show-identity": [[], ["--json"]],
    "log": [[], ["no-such"]],
    "check-update": [[], ["--wait"]],
    "send-inventory": [[]],
    "pause": [["--all", "--reason", "why"]],
    "postpone": [["4h", "--all"]],
    "approve": [["--all"]],
    "refuse": [["--all"], []],
    "continue": [["--all"]],
    "gate": [["reboot"]],
    "status": [[], ["--json"]],
    "history": [[], ["--json"]],
    "doctor": [[], ["--json"]],
    "config check": [[]],
    "config show": [[], ["--json"]],
    "config set": [["UpdatePollIntervalSeconds", "soon"]],
    "config explain": [["TenantToken"]],
    "artifact show": [["{artifact}"], ["--json", "{signed}"], ["{key}"]],
    "artifact verify": [
        ["-k", "{public}", "{signed}"],
        ["-k", "{key}", "{signed}"],
        ["-k", "{device_key}", "{signed}"],
    ],
    "artifact cat": [["{key}"]],
    "artifact extract": [["{key}", "{out}"]],
    "artifact write rootfs-image": [["-f", "{key}", "-n", "a", "-t", "b", "-o", "{out}", "-k", "{public}"]],
    "artifact write module-image": [["-T", "m", "-n", "a", "-t", "b", "-o", "{out}", "-m", "{key}", "-k", "{key}"]],
    "artifact write bootstrap-artifact": [["-n", "a", "-t", "b", "-o", "{out}", "-k", "{key}"]],
    "artifact write single-file": [["-f", "{key}", "-n", "a", "-t", "b", "-o", "{out}", "--dest-dir", "/x"]],
    "artifact write directory": [["-f", "{key}", "-n", "a", "-t", "b", "-o", "{out}", "--dest-dir", "/x"]],
    "artifact write script": [["-f", "{key}", "-n", "a", "-t", "b", "-o", "{out}", "-k", "{key}"]],
    "artifact write deb": [["-f", "{key}", "-n", "a", "-t", "b", "-o", "{out}", "-k", "{key}"]],
    "artifact write docker-compose": [["-f", "{key}", "-n", "a", "-t", "b", "-o", "{out}", "--project-name", "p"]],
    "artifact diff": [["{artifact}", "{signed}"], ["{key}", "{artifact}"]],
    "artifact index": [["-o", "{out}", "{signed}"], ["-o", "{out}", "{key}"]],
    "setup": [
        ["--yes", "--tenant-token-file", "{tenant}", "--device-type", "testdev"],
        ["--yes", "--server-url", "https://u:{credentials}@h/?{link}"],
    ],
    "artifact sign": [["-k", "{key}", "-o", "{out}", "{signed}"], ["-k", "{public}", "{signed}"]],
}
"""Every command with its arguments: so that it works, and so that it fails near a secret."""

DRIVEN_OTHERWISE = {"daemon", "dbus"}
"""Run for a while: ``daemon_life`` drives the daemon, tests/dbus the other."""


def all_commands() -> list[str]:
    """Every command of the program, as the parser knows them."""

    def walk(parser: argparse.ArgumentParser, words: tuple[str, ...]) -> Iterator[str]:
        below = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]  # no public interface
        if not below:
            yield " ".join(words)
        for action in below:
            for name, inner in action.choices.items():
                yield from walk(inner, (*words, name))

    return list(walk(build_parser(), ()))


def run_here(*words: str) -> str:
    """Run a command in this process; return its output. Its logging configuration ends with it."""
    logger, out = logging.getLogger("mender_client"), io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    before = (logger.handlers, logger.propagate, logger.level, logging.raiseExceptions)
    try:
        out.reconfigure(errors="backslashreplace")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.suppress(SystemExit):
            main(words)
    finally:
        for handler in logger.handlers:
            handler.close()
        logger.handlers, logger.propagate, level, logging.raiseExceptions = before
        logger.setLevel(level)
    out.seek(0)
    said = out.read()
    assert "Traceback" not in said
    return said


def key_lines(path: Path) -> list[str]:
    """The body of a private key, line by line; short lines might occur elsewhere by chance."""
    return [line for line in path.read_text("ascii").splitlines() if len(line) > 20 and "-----" not in line]


class Plant:
    """A device full of secrets, and everything that it has written.

    Args:
        device: the device.
        directory: for files that are none of the device's.
    """

    def __init__(self, device: Device, directory: Path) -> None:
        self.device = device
        self.written: dict[str, str] = {}
        authority = Authority(directory / "authority")
        client = authority.issue("client")
        self._files = {
            "key": authority.issue("signer").key,
            "public": directory / "signer.pub",
            "artifact": make_artifact(directory / "plain.mender", "plain"),
            "signed": directory / "signed.mender",
            "out": directory / "out.mender",
            "device_key": device.key,
            "tenant": device.write("etc/mender/tenant", TENANT + "\n"),
        }
        self._words = {
            **{name: str(path) for name, path in self._files.items()},
            "credentials": CREDENTIALS,
            "link": LINK,
        }
        device.write("etc/mender/passphrase", PASSPHRASE + "\n")
        self._lock_key()
        device.write("etc/mender/client.crt", client.certificate.read_text())
        device.write("etc/mender/client.key", client.key.read_text())
        self._settings: dict[str, Any] = {
            "TenantToken": TENANT,
            "HttpsClient": {"Certificate": "/etc/mender/client.crt", "Key": "/etc/mender/client.key"},
        }
        self.configure()
        for name in ("public", "signed"):
            self._prepare(name)
        self.secrets: dict[str, list[str]] = {
            "tenant token": [TENANT],
            "query of a link": [LINK, REDIRECT],
            "credentials in an address": [CREDENTIALS],
            "proxy password": [PROXY, base64.b64encode(f"u:{PROXY}".encode()).decode()],
            "passphrase": [PASSPHRASE],
            "device key": key_lines(device.key) + key_lines(device.root / "etc/mender/locked.pem"),
            "client key": key_lines(device.root / "etc/mender/client.key"),
            "signing key": key_lines(self._files["key"]),
            "token": [],
        }

    def _lock_key(self) -> None:
        """Keep a copy of the device key that is encrypted with a passphrase."""
        key = serialization.load_pem_private_key(self.device.key.read_bytes(), None)
        locked = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(PASSPHRASE.encode()),
        )
        self.device.write("etc/mender/locked.pem", locked.decode())

    def _prepare(self, name: str) -> None:
        key, public, plain, signed = (str(self._files[one]) for one in ("key", "public", "artifact", "signed"))
        if name == "public":
            subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
        else:
            done = self.device.run("artifact", "sign", "-k", key, "-o", signed, plain)
            assert 0 == done.returncode, done.stderr

    def configure(self, **keys: Any) -> None:
        """Write ``mender.conf`` with the secrets in it; other users can't read it."""
        self.device.configure(**{**self._settings, **keys})
        for home in self.homes():
            home.chmod(0o600)

    # -- what is driven -------------------------------------------------------------------------------------

    def run_commands(self, client_status: str, *options: str) -> None:
        """Run every command in every way, at the finest log level, into a file and onto the terminal.

        In this process: a hundred programs would take long to start.
        """
        for command, ways in COMMANDS.items():
            for number, way in enumerate(ways):
                words = [word.format(**self._words) for word in way]
                log = self.device.root.parent / f"commands-{client_status}.log"
                level = ["-l", "trace", *(["-L", str(log)] if number else [])]
                said = run_here("--root", str(self.device.root), *command.split(), *level, *options, *words)
                self.written[f"{command} {number}, {client_status}"] = said
                if log.exists():
                    self.written[log.name] = log.read_text("utf-8")

    def daemon_life(self, storage: str, name: str, *, plan: str) -> str:
        """Let a daemon carry out a deployment behind a marked link; return the deployment's id."""
        device = self.device
        device.write("plan", plan)
        deployment = device.deploy(name)
        link = f"{storage}/{name}?X-Amz-Signature={LINK}"
        device.server.add_fault(
            Fault(kind="next", body=offer(deployment, f"ftp://u:{CREDENTIALS}@h/?{LINK}", name), times=2)
        )
        device.server.add_fault(Fault(kind="next", body=offer(deployment, link, name), times=None))
        device.server.add_fault(Fault(kind="inventory", status=500, body=f'{{"error": "{"x" * 300}"}}'))
        log = device.root.parent / f"daemon-{name}.log"
        daemon = device.start(
            *("daemon", "--no-syslog", "-l", "trace", "-L", str(log)),
            environment={"http_proxy": f"http://u:{PROXY}@127.0.0.1:9", "no_proxy": "127.0.0.1"},
        )
        assert 0 == daemon.wait_exit(), log.read_text()
        self.written[f"daemon {name}"] = daemon.text + log.read_text("utf-8")
        wait_until(lambda: not device.lock.exists() or "report ended" in device.said)
        device.server.clear_faults()
        return deployment

    def collect(self) -> None:
        """Collect all files on disk and all requests to the server, and find out which tokens there were."""
        device = self.device
        devices: Any = device.server._state.devices  # the server doesn't disclose its tokens
        self.secrets["token"] = [token.rpartition(".")[2] for token in devices._grants]
        for path in sorted(device.root.rglob("*")):
            if path.is_file() and path not in self.homes():
                self.written[str(path.relative_to(device.root))] = path.read_bytes().decode("utf-8", "replace")
        for deployment in device.server.deployments():
            self.written[f"log of {deployment.id}"] = json.dumps(device.server.log(deployment.id, device.id))

    def homes(self) -> list[Path]:
        """The files that are meant to hold secrets; they are private."""
        root = self.device.root
        names = ("mender.conf", "client.key", "locked.pem", "passphrase", "tenant")
        return [self.device.key, *(root / "etc/mender" / name for name in names)]

    def found(self, secret: str) -> list[str]:
        """Where a secret was found."""
        marks = self.secrets[secret]
        return [name for name, text in self.written.items() if any(mark in text for mark in marks)]


def offer(deployment: str, link: str, name: str) -> str:
    """A server's offer with this link."""
    source = {"uri": link, "expire": "2030-01-01T00:00:00Z"}
    artifact = {"artifact_name": name, "source": source, "device_types_compatible": ["testdev"]}
    return json.dumps({"id": deployment, "artifact": artifact})


def bad_storage(directory: Path) -> RawServer:
    """A storage that fails in many ways, each with its own link, before it returns the Artifact."""
    ways = [
        b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header at all\r\nContent-Length: 9999\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: ftp://u:%b@h/?%b\r\n\r\n"
        % (CREDENTIALS.encode(), REDIRECT.encode()),
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:1/?%b\r\n\r\n" % REDIRECT.encode(),
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n",
    ]
    turn = iter(ways)

    def script(server: RawServer, connection: socket.socket) -> None:
        while request := server.read_request(connection):
            way = next(turn, None)
            if way is None:
                name = request.partition(b"?")[0].rpartition(b"/")[2].decode()
                connection.sendall(answer((directory / f"{name}.mender").read_bytes()))
                continue
            connection.sendall(way)
            reset(connection)
            return

    return RawServer(script)


class Watcher:
    """Reads the command line of every process below this one, as often as it can.

    And the environment of those that the program starts; what the program itself finds in its own is the operator's.
    """

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            todo = [(pid, b"") for pid in _children(os.getpid())]
            while todo:
                pid, parents = todo.pop()
                environment = _read(pid, "environ")
                todo += [(child, environment) for child in _children(pid)]
                self._note(f"command line of {pid}", _read(pid, "cmdline"))
                # a process has its parent's environment until it executes another program
                if parents and environment != parents:
                    self._note(f"environment of {pid}", environment)

    def _note(self, name: str, data: bytes) -> None:
        if data:  # otherwise it has ended
            self.seen[name] = data.replace(b"\0", b" ").decode("utf-8", "replace")


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):  # it has ended in the meantime
        for task in os.listdir(f"/proc/{pid}/task"):
            found += [int(child) for child in _read(pid, f"task/{task}/children").split()]
    return found
