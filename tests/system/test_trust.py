"""Which files are trusted: no other user could have written them, or any directory or link on their path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mender_client.errors import Diagnostic
from mender_client.system.trust import Trust

STRANGER = 54321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory that belongs to root or the current user, as do all directories above it."""
    made = tmp_path / "device"
    made.mkdir(mode=0o755)
    return made


@pytest.fixture
def file(directory: Path) -> Path:
    """A file that no other user can change."""
    made = directory / "etc" / "file"
    made.parent.mkdir(mode=0o755)
    made.write_text("x")
    made.chmod(0o644)
    return made


def told(problem: Diagnostic | None) -> str:
    """Text and remedy of a problem."""
    return f"{problem.text}; {problem.remedy}" if problem else ""


@pytest.fixture
def trust() -> Trust:
    """The rules of a real device."""
    return Trust.below(Path("/"))


def test_good(trust: Trust, file: Path) -> None:
    """A file is trusted if only its owner can write to it, and the same is true of the directories above it."""
    assert trust.permission_problem(file) is None


def test_missing(trust: Trust, file: Path) -> None:
    """A missing file has no permission problem."""
    assert trust.permission_problem(file.parent / "missing" / "more") is None


def test_world_writable(trust: Trust, file: Path) -> None:
    """A world-writable file is a problem, and the command in the message fixes it."""
    file.chmod(0o646)
    fault = told(trust.permission_problem(file))
    assert f"everybody can write to {file}; run 'chmod o-w {file}'" == fault
    subprocess.run(fault.partition("'")[2].rstrip("'"), shell=True, check=True)
    assert trust.permission_problem(file) is None


def test_directory(trust: Trust, file: Path) -> None:
    """A world-writable directory on the path is a problem, too: files in it can be replaced."""
    file.parent.chmod(0o777)
    assert f"everybody can write to {file.parent}; run 'chmod o-w {file.parent}'" == told(
        trust.permission_problem(file)
    )


def test_sticky_directory_on_the_way(trust: Trust, file: Path) -> None:
    """A sticky directory on the path is no problem, since nobody can replace another user's files in it."""
    file.parent.chmod(0o1777)
    assert trust.permission_problem(file) is None


def test_sticky_directory_itself(trust: Trust, file: Path) -> None:
    """A sticky directory at the end of the path is a problem: other users can put files into it."""
    file.parent.chmod(0o1777)
    assert told(trust.permission_problem(file.parent)).startswith("everybody can write to")


def test_path_with_a_space(trust: Trust, directory: Path) -> None:
    """The command in the message works for a path with spaces and quotes, too."""
    odd = directory / "a 'file'"
    odd.write_text("x")
    odd.chmod(0o666)
    command = told(trust.permission_problem(odd)).partition("run '")[2][:-1]
    subprocess.run(command, shell=True, check=True)
    assert trust.permission_problem(odd) is None


@needs_root
def test_foreign_owner(trust: Trust, file: Path) -> None:
    """A file of another user is a problem, since its owner can change it whatever its mode."""
    os.chown(file, STRANGER, 0)
    assert f"{file} belongs to user {STRANGER}; run 'chown root {file}'" == told(trust.permission_problem(file))


@needs_root
def test_foreign_directory(trust: Trust, file: Path) -> None:
    """A file in a directory of another user is a problem, too."""
    os.chown(file.parent, STRANGER, 0)
    assert f"{file.parent} belongs to user {STRANGER}; run 'chown root {file.parent}'" == told(
        trust.permission_problem(file)
    )


@needs_root
def test_group(trust: Trust, file: Path) -> None:
    """Write permission for a group is a problem, except for the private group of a trusted user."""
    file.chmod(0o664)
    assert trust.permission_problem(file) is None
    os.chown(file, 0, STRANGER)
    assert f"group {STRANGER} can write to {file}; run 'chmod g-w {file}'" == told(trust.permission_problem(file))


@needs_root
@pytest.mark.skipif(shutil.which("setfacl") is None, reason="setfacl is missing")
def test_access_list(trust: Trust, file: Path) -> None:
    """With an ACL, the group permissions may apply to another user, so that write permission is a problem."""
    if subprocess.run(["setfacl", "-m", f"u:{STRANGER}:rw", str(file)], check=False, capture_output=True).returncode:
        pytest.skip("this file system has no access lists")
    assert told(trust.permission_problem(file)).startswith("group 0 can write to")


@needs_root
def test_link_of_another_user(trust: Trust, directory: Path, file: Path) -> None:
    """A symbolic link of another user is a problem, even if its target is trusted."""
    link = directory / "link"
    link.symlink_to(file)
    os.chown(link, STRANGER, 0, follow_symlinks=False)
    assert f"{link} belongs to user {STRANGER}; run 'chown -h root {link}'" == told(trust.permission_problem(link))


@pytest.mark.parametrize("target", ["{directory}/etc/file", "etc/file", "../device/etc/file", "./etc/../etc/file"])
def test_link_of_the_operator(trust: Trust, directory: Path, file: Path, target: str) -> None:
    """A symbolic link of a trusted user is no problem, and its target is checked by the same rules."""
    link = directory / "link"
    link.symlink_to(target.format(directory=directory))
    assert trust.permission_problem(link) is None
    file.chmod(0o666)
    assert f"everybody can write to {file}; run 'chmod o-w {file}'" == told(trust.permission_problem(link))


def test_linked_directory(trust: Trust, directory: Path, file: Path) -> None:
    """The target of a symbolic link to a directory on the path, and the directories above it, are checked as well."""
    inner = file.parent / "inner"
    inner.mkdir(mode=0o755)
    (inner / "file").write_text("x")
    (directory / "short").symlink_to(inner)
    assert trust.permission_problem(directory / "short" / "file") is None
    for writable in (inner, file.parent):
        writable.chmod(0o777)
        assert f"everybody can write to {writable}; run 'chmod o-w {writable}'" == told(
            trust.permission_problem(directory / "short" / "file")
        )


def test_circle(trust: Trust, directory: Path) -> None:
    """A loop of symbolic links ends the check, without a problem."""
    (directory / "one").symlink_to("two")
    (directory / "two").symlink_to("one")
    assert trust.permission_problem(directory / "one") is None


@needs_root
def test_root_directory(directory: Path, file: Path) -> None:
    """With --root, the owner of that directory is trusted, and the directories above it are not checked."""
    directory.parent.chmod(0o777)
    for one in (directory, file.parent, file):
        os.chown(one, STRANGER, STRANGER)
    try:
        assert Trust.below(directory).permission_problem(file) is None
        assert Trust.below(Path("/")).permission_problem(file) is not None
    finally:
        directory.parent.chmod(0o700)


@needs_root
def test_link_out_of_the_root_directory(directory: Path, file: Path, tmp_path: Path) -> None:
    """The target of a symbolic link that leads out of the root directory is checked as well."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    os.chown(outside, STRANGER, 0)
    (directory / "link").symlink_to(outside / "file")
    assert f"{outside} belongs to user {STRANGER}; run 'chown root {outside}'" == told(
        Trust.below(directory).permission_problem(directory / "link")
    )


def test_root_directory_that_is_missing(tmp_path: Path) -> None:
    """With a missing root directory, only root and the current user are trusted."""
    assert frozenset({0, os.geteuid()}) == Trust.below(tmp_path / "missing").owners


def test_program(trust: Trust, file: Path) -> None:
    """A program must be an executable file, and no other user may be able to change it."""
    file.chmod(0o644)
    assert f"{file} is not executable: its mode is 0644; run 'chmod 755 {file}'" == told(trust.program_problem(file))
    file.chmod(0o755)
    assert trust.program_problem(file) is None
    file.chmod(0o757)
    assert told(trust.program_problem(file)).startswith("everybody can write")
    file.unlink()
    assert f"{file} is missing; install the program there, with mode 755" == told(trust.program_problem(file))
    assert f"{file} is missing; install it" == told(trust.program_problem(file, "install it"))
    file.symlink_to(file.with_name("nothing"))
    assert f"{file} is not a file; install it" == told(trust.program_problem(file, "install it"))
    assert f"{file.parent} is not a file; install it" == told(trust.program_problem(file.parent, "install it"))


class TestExposure:
    """Which other users can read a secret."""

    @pytest.fixture(autouse=True)
    def _open(self, tmp_path: Path) -> None:
        """Let other users into the test's directory, and don't check the directories above it."""
        self.opened = Trust(tmp_path, frozenset({0, os.geteuid()}))
        tmp_path.chmod(0o755)

    def test_private(self, file: Path) -> None:
        """No other user can read a private file."""
        file.chmod(0o600)
        assert self.opened.exposure(file) is None

    def test_everybody(self, file: Path) -> None:
        """A world-readable file is reported, with the command that fixes it."""
        assert f"everybody can read {file}; run 'chmod o-r {file}'" == told(self.opened.exposure(file))

    def test_hidden(self, file: Path) -> None:
        """No other user can read a world-readable file in a private directory."""
        file.parent.chmod(0o700)
        assert self.opened.exposure(file) is None

    @needs_root
    def test_group(self, file: Path) -> None:
        """Read permission for a group is reported, except for the client's own group."""
        file.chmod(0o640)
        assert self.opened.exposure(file) is None
        os.chown(file, 0, STRANGER)
        assert f"group {STRANGER} can read {file}; run 'chmod g-r {file}'" == told(self.opened.exposure(file))

    def test_nothing(self, file: Path) -> None:
        """A missing file and a directory are not reported."""
        assert self.opened.exposure(file.parent / "missing") is None
        assert self.opened.exposure(file.parent) is None


@needs_root
def test_program_for_its_owner_only() -> None:
    """If only others can execute a program, or nobody in spite of its mode, the remedy names the other cause, too."""
    code = (
        "import os, pathlib, shlex, sys; from mender_client.system.trust import Trust\n"
        f"os.setgid({STRANGER}); os.setuid({STRANGER})\n"
        "print(Trust.below(pathlib.Path('/')).program_problem(pathlib.Path(sys.argv[1])))"
    )
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:  # other users can't enter that of pytest
        script = Path(directory) / "program"
        script.parent.chmod(0o755)
        script.write_text("")
        script.chmod(0o700)
        done = subprocess.run([sys.executable, "-c", code, str(script)], capture_output=True, text=True, check=True)
    assert (
        f"{script} is not executable: its mode is 0700; run 'chmod 755 {script}', and check that its file"
        in done.stdout
    )


@needs_root
def test_program_out_of_reach(directory: Path) -> None:
    """A program in a directory that the client may not enter is reported as missing, and no exception is raised."""
    code = (
        "import os, pathlib, sys; from mender_client.system.trust import Trust\n"
        "import mender_client.app.file_checks, shlex\n"
        f"os.setgid({STRANGER}); os.setuid({STRANGER})\n"
        "trust = Trust.below(pathlib.Path('/')); path = pathlib.Path(sys.argv[1])\n"
        "print(trust.program_problem(path), trust.permission_problem(path), trust.exposure(path), sep='|')"
    )
    directory.chmod(0o700)
    script = directory / "program"
    script.write_text("")
    script.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code, str(script)], capture_output=True, text=True, check=True)
    assert f"{script} is missing; install the program there, with mode 755 [FIL11]|None|None\n" == done.stdout
