"""The manual pages and the completions match the parsers, and work with the usual programs."""

from __future__ import annotations

import importlib.util
import os
import pty
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mender_client.app.cli import build_parser
from mender_client.app.config import KEYS
from waiting import PATIENCE_S

from .pages import PROJECT

PAGES = sorted(PROJECT.glob("*/man/*"))
COMPLETIONS = PROJECT / "support/completions"
TYPED = {
    "": "check-update",
    "art": "artifact",
    "artifact ver": "verify",
    "report --fail": "--failure",
    "setup --mi": "--migrate-from",
    "doctor --j": "--json",
    "config explain UpdatePoll": "UpdatePollIntervalSeconds",
    "--log-level war": "warning",
}


def _run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


@pytest.mark.parametrize("tool", ["manual.py", "completions.py"])
def test_they_are_fresh(tool: str) -> None:
    """``make docs`` would change nothing."""
    if tool == "completions.py" and importlib.util.find_spec("shtab") is None:
        pytest.skip("shtab is not installed: run make venv")
    done = _run(sys.executable, str(PROJECT / "tools" / tool), "--check")
    assert ("", 0) == (done.stderr, done.returncode)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_man_has_nothing_to_complain_about(page: Path) -> None:
    """groff formats every page without a warning."""
    _needs("groff")
    done = _run(_needs("man"), "--warnings", "-l", "-Tutf8", str(page), MANROFFSEQ="", MANWIDTH="80")
    assert ("", 0) == (done.stderr, done.returncode)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_mandoc_has_nothing_to_complain_about(page: Path) -> None:
    """mandoc, the other formatter, complains only about the missing date, which would differ in every build."""
    done = _run(_needs("mandoc"), "-T", "lint", "-W", "warning", str(page))
    complaints = [line for line in done.stdout.splitlines() if "missing date" not in line]
    assert [] == complaints


def test_every_command_and_key_has_its_place() -> None:
    """The pages list every command of the client and every key of its configuration."""
    client = (PROJECT / "support/man/mender-python-client.1").read_text().replace("\\-", "-")
    (commands,) = [action.choices for action in build_parser()._actions if action.dest == "==SUPPRESS=="]
    assert commands is not None
    assert [] == [name for name in commands if f'.SS "{name}' not in client]
    configuration = (PROJECT / "support/man/mender.conf.5").read_text()
    assert [] == [key.name for key in KEYS if f"\\fB{key.name}\\fR" not in configuration]


@pytest.mark.parametrize(("typed", "offered"), TYPED.items())
def test_bash_completes(typed: str, offered: str) -> None:
    """bash completes commands, subcommands and options."""
    script = """
        . "$FILE"
        IFS=' ' read -r -a COMP_WORDS <<<"$TYPED"
        [ -n "${TYPED##* }" ] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _shtab_mender_python_client
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    file = COMPLETIONS / "bash-completion/completions/mender-python-client"
    line = f"mender-python-client {typed}"
    done = _run(_needs("bash"), "--norc", "-c", script, FILE=str(file), TYPED=line)
    assert offered in done.stdout.split(), done.stderr


@pytest.mark.parametrize(("typed", "offered"), TYPED.items())
def test_fish_completes(typed: str, offered: str, tmp_path: Path) -> None:
    """fish completes commands, subcommands and options."""
    file = COMPLETIONS / "fish/vendor_completions.d/mender-python-client.fish"
    script = 'source "$FILE"; complete --do-complete "mender-python-client $TYPED"'
    done = _run(_needs("fish"), "--no-config", "-c", script, FILE=str(file), TYPED=typed, HOME=str(tmp_path))
    assert offered in [line.split("\t")[0] for line in done.stdout.splitlines()], done.stderr


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        pytest.param("chec", "check-update", marks=pytest.mark.nightly),
        pytest.param("artifact ver", "verify", marks=pytest.mark.nightly),
        ("config explain InventoryP", "InventoryPollIntervalSeconds"),
    ],
)
def test_zsh_completes(typed: str, offered: str, tmp_path: Path) -> None:
    """zsh completes commands and subcommands in a terminal."""
    setup = (
        f"fpath=({COMPLETIONS}/zsh/site-functions $fpath); autoload -Uz compinit; compinit -u -D; PS1='ready'\"> \"\n"
    )
    environment = {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(tmp_path)}
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [_needs("zsh"), "-f", "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        ) as zsh:
            os.write(ours, setup.encode())
            _read_until(ours, "ready> ")
            os.write(ours, f"mender-python-client {typed}\t".encode())
            _read_until(ours, offered)
            zsh.kill()
    finally:
        os.close(ours)
        os.close(theirs)


def _read_until(terminal: int, words: str) -> None:
    """Read a terminal's output until it contains the words."""
    shown = ""
    while words not in shown:
        assert select.select([terminal], [], [], PATIENCE_S)[0], f"{words!r} was not shown: {shown!r}"
        shown += os.read(terminal, 4096).decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("program", "completions"),
    [
        ("mender-python-client", COMPLETIONS),
        ("mender-devserver", PROJECT / "devserver/completions"),
        ("mender-fleet", PROJECT / "devserver/completions"),
    ],
)
def test_zsh_takes_the_completion(program: str, completions: Path, tmp_path: Path) -> None:
    """zsh finds the completion in its directory, registers it for the program, and can load it."""
    script = """
        fpath=("$DIRECTORY" $fpath)
        autoload -Uz compinit && compinit -u -d "$HOME/dump"
        print -- "$_comps[$PROGRAM]"
        autoload +X "_$PROGRAM" && print loaded
    """
    directory = completions / "zsh/site-functions"
    done = _run(_needs("zsh"), "-f", "-c", script, DIRECTORY=str(directory), PROGRAM=program, HOME=str(tmp_path))
    assert ("", [f"_{program}", "loaded"]) == (done.stderr, done.stdout.split())
