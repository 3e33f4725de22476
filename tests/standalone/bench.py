"""A device in a directory, with a real update module and state scripts, used through the program's own commands."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import forking
from calling import call
from core.artifact.forge import dump, forge

_PROGRAM = """#!/bin/sh
out={out}
name={name}
echo "$name" >>"$out/calls"
[ -e "$out/kill/$name" ] && rm "$out/kill/$name" && kill -9 $PPID && sleep 60
[ -e "$out/print/$name" ] && cat "$out/print/$name"
[ -e "$out/fail/$name" ] && exit "$(cat "$out/fail/$name")"
exit 0
"""
STATES = ("ArtifactInstall", "ArtifactCommit", "ArtifactRollback", "ArtifactFailure")
OLD = {"artifact_name": "old", "rootfs-image.checksum": "1", "app.version": "1"}
NEW = {"artifact_name": "new", "rootfs-image.checksum": "1", "app.version": "2"}
"""What the device provides before and after the usual Artifact."""

INCONSISTENT = {**NEW, "artifact_name": "new_INCONSISTENT"}


class Bench:
    """The device.

    Args:
        root: its root directory.
        is_reversible: whether the module supports rollback.
        reboot: its answer to NeedsArtifactReboot.
        is_scripted: whether there is a state script for each state and action.
    """

    def __init__(
        self, root: Path, *, is_reversible: bool = True, reboot: str = "No", is_scripted: bool = False
    ) -> None:
        self.root = root
        self.out = root / "out"
        for name in ("out/kill", "out/print", "out/fail", "etc/mender/scripts", "usr/share/mender/modules/v3"):
            (root / name).mkdir(mode=0o755, parents=True)
        self.data = root / "var/lib/mender"
        self.data.mkdir(mode=0o755, parents=True)
        (self.data / "device_type").write_text("device_type=board\n")
        (root / "etc/mender/mender.conf").write_text(json.dumps({"ServerURL": "https://unused.example"}))
        self.info = root / "etc/mender/artifact_info"
        self.info.write_text("".join(f"{key}={value}\n" for key, value in OLD.items()))
        self._program(root / "usr/share/mender/modules/v3/app", '"$1"')
        self.scripts: list[tuple[str, bytes]] = []
        if is_scripted:
            self._add_scripts()
        self.answers("SupportsRollback", "Yes" if is_reversible else "No")
        self.answers("NeedsArtifactReboot", reboot)

    def _program(self, path: Path, name: str) -> None:
        path.write_text(_PROGRAM.format(out=self.out, name=name))
        path.chmod(0o755)

    def _add_scripts(self) -> None:
        for action in ("Enter", "Leave", "Error"):
            self._program(self.root / f"etc/mender/scripts/Download_{action}_00", f"Download_{action}")
            for state in STATES:
                text = _PROGRAM.format(out=self.out, name=f"{state}_{action}")
                self.scripts.append((f"{state}_{action}_00", text.encode()))

    def answers(self, query: str, answer: str) -> None:
        """Let the module give this answer from now on."""
        (self.out / "print" / query).write_text(answer)

    def dies(self, name: str) -> None:
        """Let this call or script kill the client once."""
        (self.out / "kill" / name).touch()

    def fails(self, *names: str, code: int = 1) -> None:
        """Let calls and scripts fail from now on."""
        for name in names:
            (self.out / "fail" / name).write_text(str(code))

    def heal(self) -> None:
        """Remove all failures."""
        for path in (self.out / "fail").iterdir():
            path.unlink()

    def artifact(self, name: str = "new.mender", **parts: Any) -> Path:
        """Write an Artifact; see ``forge``."""
        usual = {
            "info": {},
            "type_info": {"artifact_provides": {"app.version": "2"}, "clears_artifact_provides": ["app.*"]},
            "scripts": self.scripts,
        }
        given = {**usual, **parts}
        given["info"] = dump({**_INFO, **given["info"]})
        given["type_info"] = dump({"type": "app", **given["type_info"]})
        path = self.root / name
        path.write_bytes(forge(**given))
        return path

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command in this process."""
        return call("--root", str(self.root), *map(str, words))

    def does(self, *words: str | Path) -> tuple[int, str]:
        """Run a command; return its exit code and its output."""
        done = self.run(*words)
        return done.returncode, done.stdout

    def runs_and_dies(self, *words: str | Path) -> None:
        """Run a command in a separate process, which is killed."""
        done = forking.run([str(forking.program()), "--root", str(self.root), *map(str, words)])
        assert done.returncode == -signal.SIGKILL, done

    def calls(self) -> list[str]:
        """The calls and scripts since the last query, in order."""
        path = self.out / "calls"
        found = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def provides(self) -> Mapping[str, str]:
        """The provides of the device, according to the command."""
        code, text = self.does("show-provides")
        assert code == 0
        return dict(line.split("=", 1) for line in text.splitlines())

    def position(self) -> str | None:
        """The position of the pending update, according to the state file."""
        path = self.data / "journal.json"
        stored = json.loads(path.read_text()).get("standalone") if path.exists() else None
        return stored and stored["position"]

    @property
    def has_tree(self) -> bool:
        """Whether the module still has its directory."""
        return (self.data / "modules/v3/payloads/0000/tree").exists()


_INFO = {
    "payloads": [{"type": "app"}],
    "artifact_provides": {"artifact_name": "new"},
    "artifact_depends": {"device_type": ["board"]},
}
