"""A shipped update module as a real process: its tree, its states, and power failures at changes to the disk."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from support.device import SUPPORT, Shell

MODULES = SUPPORT / "modules/v3"
CHANGES = ("chmod", "cp", "mkdir", "mv", "rm", "sync", "tar")
"""The commands of the modules that change the disk."""

COUNTED = """#!{interpreter}
read -r count <"{place}/count"
echo "$((count + 1))" >"{place}/count"
read -r at <"{place}/cut-at"
[ "$count" -ne "$at" ] || kill -9 0
"""
"""The code that is put before each of them: `kill -9 0` is the power failure, for the whole process group."""


@dataclass(slots=True)
class Module:
    """A module and a client that follows the contract.

    Attributes:
        name: its file in ``support/modules/v3``.
        place: an empty directory for the module.
        shell: the shell that runs it.
        said: the standard error of all calls.
    """

    name: str
    place: Path
    shell: Shell
    environment: dict[str, str] = field(default_factory=dict)
    said: str = ""

    def __post_init__(self) -> None:
        (self.place / "bin").mkdir(parents=True)
        (self.place / "data").mkdir()
        program = self.place / self.name
        program.write_text(f"#!{self.shell.interpreter}\n" + (MODULES / self.name).read_text().split("\n", 1)[1])
        program.chmod(0o755)
        self.environment = {
            "PATH": f"{self.place / 'bin'}:{self.shell.path}",
            "MENDER_DATASTORE_DIR": str(self.place / "data"),
        }
        self.begin({})

    @property
    def tree(self) -> Path:
        """The directory of the update."""
        return self.place / "tree"

    def begin(self, payload: dict[str, str | bytes | Path]) -> None:
        """Begin a new update; the files of the previous one are removed."""
        shutil.rmtree(self.tree, ignore_errors=True)
        for name in ("files", "header", "tmp"):
            (self.tree / name).mkdir(parents=True)
        for name, content in payload.items():
            file = self.tree / "files" / name
            if isinstance(content, Path):
                shutil.copyfile(content, file)
            else:
                file.write_bytes(content.encode() if isinstance(content, str) else content)

    def ask(self, state: str) -> str:
        """The answer to a query."""
        done = self._call(state)
        assert 0 == done.returncode, done.stderr
        return done.stdout

    def run(self, *states: str) -> list[int]:
        """The exit codes of consecutive calls; except for queries, they print nothing to standard output."""
        done = [self._call(state) for state in states]
        assert [""] * len(done) == [one.stdout for one in done]
        return [one.returncode for one in done]

    def fail(self, state: str = "ArtifactInstall") -> str:
        """Run a state that must fail, then the states of a failed update; return the reason."""
        before = len(self.said)
        assert [1] == self.run(state), self.said
        said = self.said[before:]
        assert [0] * 3 == self.run("ArtifactRollback", "ArtifactFailure", "Cleanup"), self.said
        return said

    def _call(self, state: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.place / self.name, state, self.tree],
            cwd=self.tree,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            check=False,
        )
        self.said += done.stderr
        return done

    def command(self, name: str, body: str) -> None:
        """Put a command into the module's PATH, before any other of the same name."""
        file = self.place / "bin" / name
        file.write_text(f"#!{self.shell.interpreter}\n{body}\n")
        file.chmod(0o755)

    def cut_power_at(self, change: int) -> None:
        """Let the power fail at the `change`-th change to the disk (from 0) from now on."""
        (self.place / "count").write_text("0\n")
        (self.place / "cut-at").write_text(f"{change}\n")
        for name in CHANGES:
            program = shutil.which(name, path=self.shell.path)
            counted = COUNTED.format(interpreter=self.shell.interpreter, place=self.place)
            # a real sync would only take time: this power failure doesn't affect the page cache
            (self.place / "bin" / name).write_text(counted + ("" if name == "sync" else f'exec {program} "$@"\n'))
            (self.place / "bin" / name).chmod(0o755)

    def restore_power(self) -> bool:
        """End the power failures; return whether the power has failed."""
        count = int((self.place / "count").read_text())
        for name in CHANGES:
            (self.place / "bin" / name).unlink()
        return count > int((self.place / "cut-at").read_text())
