"""A simulated machine for the commands in the documents: its files are in a directory, some programs are stubs."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import forking

from .pages import PROJECT

STANDINS = ("systemctl", "journalctl", "useradd", "chown", "apt")
"""Programs that would change the machine that runs the tests: the call is recorded, and succeeds."""

_PATH = re.compile(r"(?<![\w./:@\"])/(etc|var|usr|run|root|opt)(?=/)")
_CLIENT = """#!/bin/sh
case $1 in setup) set -- "$@" --yes --server-url {url} --device-type testdev ;; esac
exec {program} --root {root} "$@"
"""
"""The client on that machine; the answers that ``setup`` would ask for are options here."""


class Machine:
    """A machine with the client installed, a server, and nothing set up.

    Args:
        directory: an empty directory.
        server_url: the server URL for ``setup``.
    """

    def __init__(self, directory: Path, server_url: str) -> None:
        self.root, self._bin = directory / "root", directory / "bin"
        self._calls = directory / "calls"
        self._calls.touch()
        self._bin.mkdir()
        for name in ("root", "etc/init.d", "usr/bin", "usr/share/mender/identity", "etc/systemd/system", "run/keys"):
            (self.root / name).mkdir(parents=True)
        self.write("usr/share/mender/identity/mender-device-identity", "#!/bin/sh\necho mac=02:00:5e:00:53:07\n", 0o755)
        self._program("mender-python-client", _CLIENT.format(url=server_url, program=forking.program(), root=self.root))
        for name in STANDINS:
            self._program(name, f'#!/bin/sh\necho "{name} $*" >>{self._calls}\n')

    @property
    def calls(self) -> list[str]:
        """The calls of the stubs."""
        return self._calls.read_text().splitlines()

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the machine."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def type(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run a block exactly as on a page; its absolute paths lie below the machine's directory."""
        return subprocess.run(
            ["sh", "-u", "-c", _PATH.sub(rf"{self.root}/\1", text)],
            cwd=PROJECT,
            env={**os.environ, "PATH": f"{self._bin}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def _program(self, name: str, text: str) -> None:
        (self._bin / name).write_text(text)
        (self._bin / name).chmod(0o755)
