"""State scripts on disk: their directories, and how they are run."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.core.state_scripts import VERSIONS, place_of
from mender_client.core.text import printable
from mender_client.dataclass import dataclass
from mender_client.errors import Diagnostic, ScriptError, StorageError

from .calls import Calls
from .files import make_directory, read_text, remove_tree, storage_errors, sync_directory, write_atomic
from .processgroup import end_all, listed, runners_of

if TYPE_CHECKING:
    from mender_client.core.artifact import Script

_logger = logging.getLogger(__name__)
_VERSION = "version"


@dataclass(kw_only=True, eq=False, repr=False)
class StateScriptDirectory:
    """A directory of state scripts; see ``core.ports.ScriptDirectory``.

    Attributes:
        path: the directory; it need not exist.
        calls: runs them.
        find_problem: returns why a script must not be run; None if it may.
    """

    path: Path
    calls: Calls
    find_problem: Callable[[Path], Diagnostic | None]

    def names(self, state: str, action: str) -> Sequence[str]:
        fitting = (name for name in self._entries() if place_of(name) == (state, action))
        return sorted((name for name in fitting if _is_program(self.path / name)), key=os.fsencode)

    def _entries(self) -> Sequence[str]:
        try:
            entries = os.listdir(self.path)
        except FileNotFoundError:
            return ()
        except OSError as error:
            text = f"cannot read the state scripts in {self.path}: {error.strerror}"
            raise ScriptError("SSC01", text, remedy="check its owner and mode") from error
        self.check_version()
        return entries

    def check_version(self) -> None:
        path = self.path / _VERSION
        if not os.path.lexists(path):
            return
        try:
            version = read_text(path).strip()
        except StorageError as error:
            raise ScriptError("SSC02", f"cannot run state scripts: {error.text}", remedy=error.remedy) from error
        if version not in VERSIONS:
            text = f"cannot run the state scripts in {self.path}: they are of version {printable(version)!r}"
            raise ScriptError("SSC03", text, remedy=f"write 3 to {path} if they comply with version 3")

    def problems(self) -> Sequence[Diagnostic]:
        """Why scripts of this directory can't be run."""
        try:
            names = [name for name in self._entries() if place_of(name) and _is_program(self.path / name)]
        except ScriptError as error:
            return (error.diagnostic,)
        found = (self._problem_of(self.path / name) for name in sorted(names))
        return [problem for problem in found if problem is not None]

    def _problem_of(self, path: Path) -> Diagnostic | None:
        if (problem := self.find_problem(path)) is None:
            return None
        text = f"cannot run {path}: another user could have written it: {problem.text}"
        return Diagnostic("SSC04", text, problem.remedy)

    def run(self, name: str, *, seconds: float) -> int:
        path = self.path / name
        if problem := self._problem_of(path):
            raise ScriptError(problem.code, problem.text, remedy=problem.remedy)
        with self.calls.start([str(path)], title=name, seconds=seconds) as call:
            return call.wait()

    def end_orphans(self) -> None:
        if found := runners_of(self.path):
            text = f"state scripts are still running, and are killed: {listed(found)}"
            _logger.warning("%s", Diagnostic("SSC07", text))
            end_all(lambda: runners_of(self.path), grace_seconds=self.calls.grace_seconds)

    def replace(self, scripts: Sequence[Script]) -> None:
        make_directory(self.path, mode=0o755)
        with storage_errors("empty", self.path):
            for name in os.listdir(self.path):
                self._remove(self.path / name)
        for script in scripts:
            write_atomic(self.path / script.name, script.content, mode=0o755)
        write_atomic(self.path / _VERSION, b"3\n", mode=0o644)
        with storage_errors("write", self.path):
            sync_directory(self.path.parent)

    def _remove(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        else:
            with suppress(FileNotFoundError):
                path.unlink()


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
