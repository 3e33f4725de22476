"""The guide to the first device: its three commands, exactly as on the page."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import forking
from waiting import wait_until

from .pages import PROJECT, blocks

PAGE = PROJECT / "docs/guide/first-device.md"
PORT = "8443"
"""The port on the page; the test uses a free one instead, because others use this machine."""


class Shell:
    """A directory in which the commands on the page are run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.socket() as finder:
            finder.bind(("127.0.0.1", 0))
            self._port = str(finder.getsockname()[1])
        self._environment = {**os.environ, "PATH": forking.path()}

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a command and wait for its end."""
        return subprocess.run(
            ["sh", "-c", line.replace(PORT, self._port)],
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, line: str) -> subprocess.Popen[bytes]:
        """Run a command that ends with ``&``; wait until it has printed its address."""
        argv = shlex.split(line.rstrip(" &\n").replace(PORT, self._port))
        process = subprocess.Popen(argv, cwd=self.directory, env=self._environment, stdout=subprocess.PIPE)
        assert process.stdout
        said = b""
        while b"stop with" not in said:
            piece = os.read(process.stdout.fileno(), 4096)
            assert piece, said
            said += piece
        return process


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """An empty directory."""
    return Shell(tmp_path)


@pytest.fixture
def server(shell: Shell) -> Iterator[subprocess.Popen[bytes]]:
    """The first command of the page."""
    process = shell.start(commands()[0])
    yield process
    process.terminate()
    process.wait()
    assert process.stdout
    process.stdout.close()


def commands() -> list[str]:
    """The commands for a workstation on the page."""
    return [block.text for block in blocks(PAGE) if block.language == "sh"][:3]


def test_three_commands(shell: Shell, server: subprocess.Popen[bytes]) -> None:
    """From an empty directory to an accepted device it takes the page's three commands, to an update two more."""
    _, set_up, accept = commands()
    done = shell.run(set_up)
    assert (0, "") == (done.returncode, done.stderr)
    assert "\nwarning  authorisation   not accepted: pending" in done.stdout
    assert 0 == shell.run(accept).returncode
    (device,) = json.loads(shell.run("mender-devserver devices --json").stdout)
    assert ("accepted", {"serial": "0001"}) == (device["status"], device["identity"])
    then = shell.run("mender-python-client --root device check-update")
    assert (2, "no update\n") == (then.returncode, then.stdout)
    assert 0o600 == (shell.directory / "device/var/lib/mender/mender-agent.pem").stat().st_mode & 0o777
    check_first_update(shell)


def check_first_update(shell: Shell) -> None:
    """The two commands that follow install an update on that device."""
    update = [block.text for block in blocks(PAGE) if block.language == "sh"][3:5]
    for line in update:
        done = shell.run(line)
        assert 0 == done.returncode, done.stderr
    wait_until(lambda: (shell.directory / "device/app.py").exists())  # polling costs nothing; the report is due
    wait_until(lambda: "success" in shell.run("mender-devserver status").stdout)
    assert "app-2\n" == shell.run("mender-python-client --root device show-artifact").stdout
    assert 'print("hello")\n' == (shell.directory / "device/app.py").read_text()
