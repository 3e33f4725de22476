"""Devices like those of the other tests, on which Debian's client runs instead of ours.

Its module and script directories can't be configured, so it runs in its own mount namespace, where the device's are
mounted over those of this machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mender_devserver import DevServer
from program.modules.board import Board, Happening
from program.stage import Process
from standalone.bench import Bench
from waiting import PATIENCE_S

_MOUNTED = ("/etc/mender", "/usr/share/mender")
_IN_PLACE = """
for directory in {mounted}; do mount --bind "$root$directory" "$directory" || exit 70; done
exec mender --no-syslog --config "$root/etc/mender/mender.conf" --data "$root/var/lib/mender" "$@"
""".format(mounted=" ".join(_MOUNTED))


@cache
def missing() -> str:
    """The reason why Debian's client can't run here; empty if it can."""
    if shutil.which("mender") is None:
        return "the package mender-client isn't installed"
    if not all(Path(directory).is_dir() for directory in _MOUNTED):
        return "the directories of the package mender-client are missing"
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "mount namespaces need root"


needed = pytest.mark.skipif(bool(missing()), reason=missing() or "it is there")
"""For tests that need Debian's client."""


def argv(root: Path, words: Sequence[str]) -> list[str]:
    """Its command line for a device."""
    return ["unshare", "--mount", "sh", "-c", f"root={root}\n{_IN_PLACE}", "mender", *words]


def _add_version(root: Path) -> None:
    """Write the version file of the state scripts: without it this client fails wherever a script could be run."""
    (root / "etc/mender/scripts/version").write_text("3")


class DebianBench(Bench):
    """A device whose commands are those of Debian's client."""

    def __init__(self, root: Path, **how: Any) -> None:
        super().__init__(root, **how)
        _add_version(root)

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run one of its commands."""
        return subprocess.run(
            argv(self.root, [*map(str, words)]), capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )


class DebianBoard(Board):
    """A device whose daemon is that of Debian's client."""

    def __init__(self, root: Path, server: DevServer, happening: Happening) -> None:
        super().__init__(root, server, happening)
        _add_version(root)

    def begin_life(self) -> Process:
        """Start the daemon."""
        log = self.root.parent / f"process-{self.root.name}-{len(self.processes)}.log"
        path = f"{self.root}/bin:{os.environ['PATH']}"
        process = Process(argv(self.root, ["daemon"]), log, {"PATH": path})
        self.processes.append(process)
        return process

    def is_over(self, deployment: str) -> bool:
        """Whether the server has received the outcome, and the log of a failure."""
        finals = {"success", "failure"} & set(self.statuses(deployment))
        return "success" in finals or bool(finals and self.server.log(deployment, self.id))

    @property
    def artifact_name(self) -> str:
        """The output of its ``show-artifact``."""
        done = subprocess.run(argv(self.root, ["show-artifact"]), capture_output=True, text=True, check=True)
        return done.stdout.strip()
