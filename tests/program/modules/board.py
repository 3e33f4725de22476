"""A device that installs with an update module, which records each call and does what the test tells it.

State scripts, the update module, the program ``reboot`` and the server note what happens in one file, in the order in
which it happens, so that a test compares one line with the installer contract.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.artifact.forge import forge, info
from mender_devserver import DevServer, Event, Fault
from program.stage import DEVICE_TYPE, Device, Process
from waiting import wait_until

NOTED = "noted"
STATES = ("Install", "Reboot", "Commit", "Rollback", "RollbackReboot", "Failure")
SCRIPTS = tuple(f"Artifact{state}_{action}" for state in STATES for action in ("Enter", "Leave", "Error"))
DOWNLOAD_SCRIPTS = ("Download_Enter", "Download_Leave", "Download_Error")
SYNC_SCRIPTS = ("Idle_Enter", "Idle_Leave", "Sync_Enter", "Sync_Leave", "Sync_Error")
MOST_LIVES = 40

_BODY = """#!/bin/sh
call={call}
echo "$call" >>{root}/noted
once() {{ mkdir "{root}/once-$call" 2>/dev/null; }}
if [ -e "{root}/plan-$call" ]; then . "{root}/plan-$call"; fi
exit 0
"""
FAIL = "exit 1"
KILL = "once && kill -9 $PPID; true"
STOP = "once && kill -TERM $PPID && exec sleep 60; true"
CUT = "kill -9 $PPID; exec sleep 60"
"""What ``reboot`` does: it ends the client."""


@dataclass(frozen=True, kw_only=True)
class Happening:
    """The events of a deployment.

    Attributes:
        plan: shell code by the call or script that runs it.
        refused: how many statuses the server takes before it answers 409 to the next one; None: it takes all.
        parts: parts of the Artifact, for ``forge``.
        keys: of ``mender.conf``.
        name: the Artifact's name.
    """

    plan: Mapping[str, str] = field(default_factory=dict)
    refused: int | None = None
    parts: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)
    name: str = "new"


class Board(Device):
    """The device.

    Args:
        root: its directory.
        server: the server.
        happening: what happens in its deployment.
    """

    def __init__(self, root: Path, server: DevServer, happening: Happening) -> None:
        super().__init__(root, server)
        self._happening = happening
        self.codes: list[int] = []
        for name in ("etc/mender/scripts", "usr/share/mender/modules/v3", "bin"):
            (root / name).mkdir(parents=True)
        for name in DOWNLOAD_SCRIPTS:
            self.program_at(f"etc/mender/scripts/{name}_00", name)
        self.program_at("usr/share/mender/modules/v3/app", '"$1"')
        self.program_at("bin/reboot", "reboot")
        for call, code in happening.plan.items():
            self.write(f"plan-{call}", f"{code}\n")
        self.configure(
            Installer="modules",
            StateScriptRetryIntervalSeconds=1,
            **happening.keys,
        )
        self._close_events = server.subscribe(self._note)

    def program_at(self, name: str, call: str) -> None:
        """Write a program that notes its call."""
        self.write(name, self.body(call)).chmod(0o755)

    def body(self, call: str) -> str:
        """A program that records its call."""
        return _BODY.format(call=call, root=self.root)

    def _note(self, event: Event) -> None:
        if event.name == "status" and event.data["device_id"] == self.id:
            self._append(f"[{event.data['status']}]")
        elif event.name == "fault" and event.data["kind"] == "status":
            self._append(f"[{event.data['fault']['status']}]")

    def _append(self, line: str) -> None:
        with open(self.root / NOTED, "a") as file:
            file.write(f"{line}\n")

    @property
    def noted(self) -> list[str]:
        """The events so far."""
        path = self.root / NOTED
        return path.read_text().split() if path.exists() else []

    def artifact(self) -> Path:
        """Write the Artifact."""
        scripts = [(f"{name}_00", self.body(name).encode()) for name in SCRIPTS]
        usual = {"info": described(), "scripts": scripts}
        path = self.root / "new.mender"
        path.write_bytes(forge(**{**usual, **self._happening.parts}))
        return path

    def live(self) -> str:
        """Carry the deployment out, in as many lives as it takes; return its id."""
        deployment = self.offer()
        self.go_on(deployment)
        return deployment

    def offer(self) -> str:
        """Let the server offer the deployment."""
        name = self._happening.name
        self.server.upload(self.artifact(), artifact_name=name, device_types=[DEVICE_TYPE])
        if self._happening.refused is not None:
            self.server.add_fault(Fault(kind="status", after=self._happening.refused, status=409))
        return self.server.deploy(name, [self.id])

    def go_on(self, deployment: str) -> None:
        """Start the daemon until the deployment is over."""
        while not self.is_over(deployment):
            assert len(self.codes) < MOST_LIVES, self.noted
            daemon = self.begin_life()
            wait_until(
                lambda one=daemon: not one.is_alive or self.is_over(deployment),  # type: ignore[misc]
                what=lambda: f"an end ({self.said})",
            )
            self.codes.append(daemon.stop())

    def begin_life(self) -> Process:
        """Start the daemon."""
        path = f"{self.root}/bin:{os.environ['PATH']}"
        return self.start("daemon", "--no-syslog", environment={"PATH": path})

    def is_over(self, deployment: str) -> bool:
        """Whether the outcome is known and sent."""
        journal = self.journal
        has_outcome = any(one["deployment_id"] == deployment for one in journal.get("outcomes", ()))
        return has_outcome and not journal.get("update") and not journal.get("outbox")

    @property
    def provides(self) -> dict[str, str]:
        """The output of ``show-provides``."""
        return dict(line.split("=", 1) for line in self.call("show-provides").stdout.splitlines())

    @property
    def left(self) -> list[str]:
        """The remains of the update in the data directory."""
        found = {path.name for path in self.data.iterdir()} | {
            str(path.relative_to(self.data)) for path in (self.data / "modules").rglob("*") if path.is_file()
        }
        return sorted(name for name in found if name.startswith(("artifact.", "modules/", "update.")))

    def close(self) -> None:
        """Stop all processes."""
        self._close_events()
        super().close()


def described(**changes: Any) -> bytes:
    """The header-info of an Artifact for the device."""
    usual = {"artifact_provides": {"artifact_name": "new"}, "artifact_depends": {"device_type": [DEVICE_TYPE]}}
    return info(**{**usual, **changes})


MakeBoard = Callable[[Happening], Board]
