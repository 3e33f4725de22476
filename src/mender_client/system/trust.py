"""Checks who could have changed a file: other users must not be able to write files that control updates.

The client may run as root, and it runs programs, reads keys and applies settings by path. So a path is trusted only if
everything that determines which file it refers to (each directory, each symbolic link, and the file) can be changed
only by root, the user that the client runs as, and the owner of the root directory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from mender_client.dataclass import dataclass
from mender_client.errors import Diagnostic

_MOST_LINKS = 40
_ACCESS_LIST = "system.posix_acl_access"


@dataclass(frozen=True)
class Trust:
    """Judges files by their owners and modes, and by those of everything above them.

    Attributes:
        base: the directory where the check begins: ``/``, or the directory of ``--root``, which is trusted.
        owners: the users whose files are trusted, and whose private groups (with the same number) are, too.
    """

    base: Path
    owners: frozenset[int]

    @classmethod
    def below(cls, root: Path) -> Trust:
        """Trust root, the user that the client runs as, and the owner of the root directory, who could change it all.

        Args:
            root: ``/``, or the directory of ``--root``.
        """
        try:
            owner = root.stat().st_uid
        except OSError:
            owner = 0
        return cls(root, frozenset({0, os.geteuid(), owner}))

    def permission_problem(self, path: Path) -> Diagnostic | None:
        """Why another user could change the file, and the command that fixes it; None if no other user could.

        A missing file is not a problem here: it is reported when it is opened.
        """
        steps = list(self._steps(path))
        for number, (step, state) in enumerate(steps, 1):
            if problem := self._problem_of(step, state, is_last=number == len(steps)):
                return problem
        return None

    def program_problem(
        self, path: Path, remedy: str = "install the program there, with mode 755"
    ) -> Diagnostic | None:
        """Why a program can't or must not be run; None if it may.

        Args:
            path: the program.
            remedy: what to do if it is missing.
        """
        if not os.path.isfile(path):
            if os.path.lexists(path):
                return Diagnostic("FIL21", f"{path} is not a file", remedy)
            return Diagnostic("FIL11", f"{path} is missing", remedy)
        if not os.access(path, os.X_OK):
            return _not_executable(path)
        return self.permission_problem(path)

    def exposure(self, path: Path) -> Diagnostic | None:
        """Why another user could read the file, and the command that fixes it; None if no other user could."""
        last: tuple[Path, os.stat_result] | None = None
        for last in self._steps(path):
            step, state = last
            others = stat.S_IXOTH | (0 if self._is_private_group(step, state) else stat.S_IXGRP)
            if stat.S_ISDIR(state.st_mode) and not state.st_mode & others:
                return None  # nobody else can get past it
        if last is None or not stat.S_ISREG(last[1].st_mode):
            return None
        step, state = last
        if state.st_mode & stat.S_IROTH:
            return Diagnostic("FIL12", f"everybody can read {step}", f"run 'chmod o-r{_quoted(step)}'")
        is_ours = state.st_gid == os.getegid() or self._is_private_group(step, state)
        if state.st_mode & stat.S_IRGRP and not is_ours:
            return Diagnostic("FIL13", f"group {state.st_gid} can read {step}", f"run 'chmod g-r{_quoted(step)}'")
        return None

    def _steps(self, path: Path) -> Iterator[tuple[Path, os.stat_result]]:
        """Everything that determines to which file a path refers, from the top down, with links and their targets."""
        links, left = 0, [path]
        here = Path("/")
        while left:
            part = left.pop()
            if part.is_absolute():
                here = self.base if part.is_relative_to(self.base) else Path("/")
                left += [Path(one) for one in reversed(part.relative_to(here).parts)]
            else:
                here = here.parent if str(part) == ".." else here / part
            try:
                state = here.lstat()
                target = Path(os.readlink(here)) if stat.S_ISLNK(state.st_mode) else None
            except OSError:
                return
            yield here, state
            if target is not None:
                links += 1
                if links > _MOST_LINKS:
                    return
                here = here.parent
                left += [target] if target.is_absolute() else [Path(one) for one in reversed(target.parts)]

    def _problem_of(self, path: Path, state: os.stat_result, *, is_last: bool) -> Diagnostic | None:
        is_link = stat.S_ISLNK(state.st_mode)
        if state.st_uid not in self.owners:
            remedy = f"run 'chown{' -h' if is_link else ''} root{_quoted(path)}'"
            return Diagnostic("FIL14", f"{path} belongs to user {state.st_uid}", remedy)
        is_sticky_directory = stat.S_ISDIR(state.st_mode) and state.st_mode & stat.S_ISVTX
        if is_link or (is_sticky_directory and not is_last):
            return None  # a link has no mode; in a sticky directory nobody can replace what belongs to another
        if state.st_mode & stat.S_IWOTH:
            return Diagnostic("FIL15", f"everybody can write to {path}", f"run 'chmod o-w{_quoted(path)}'")
        if state.st_mode & stat.S_IWGRP and not self._is_private_group(path, state):
            return Diagnostic("FIL16", f"group {state.st_gid} can write to {path}", f"run 'chmod g-w{_quoted(path)}'")
        return None

    def _is_private_group(self, path: Path, state: os.stat_result) -> bool:
        """Whether the group mode gives access only to a trusted owner; with an ACL, it is a mask for other users."""
        try:
            os.getxattr(path, _ACCESS_LIST, follow_symlinks=False)
        except OSError:
            return state.st_gid in self.owners
        return False


def _not_executable(path: Path) -> Diagnostic:
    """Why a file can't be executed, which may have another reason than its mode."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        mode = 0  # it has just been removed
    remedy = f"run 'chmod 755{_quoted(path)}'"
    if mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH):
        remedy += ", and check that its file system is not mounted with the option noexec"
    return Diagnostic("FIL22", f"{path} is not executable: its mode is {mode:04o}", remedy)


def _quoted(path: Path) -> str:
    """The path as a shell argument, with a leading space."""
    from shlex import quote  # only for a message that is rarely needed

    return f" {quote(str(path))}"
