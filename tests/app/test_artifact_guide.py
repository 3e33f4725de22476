"""The commands, options and configurations in the guide to Artifacts work as described."""

from __future__ import annotations

import os
import re
import subprocess
import textwrap
from pathlib import Path

import pytest

import forking
from mender_client.app.config import load_config

GUIDE = (Path(__file__).parents[2] / "docs/guide/artifacts.md").read_text()
BLOCKS = [
    (kind, textwrap.dedent(text))
    for kind, text in re.findall(r"^ *```(sh|text|json)\n(.*?)^ *```$", GUIDE, re.DOTALL | re.MULTILINE)
]
STEPS = [
    (text, BLOCKS[place + 1][1] if BLOCKS[place + 1 :] and BLOCKS[place + 1][0] == "text" else "")
    for place, (kind, text) in enumerate(BLOCKS)
    if kind == "sh"
]


def test_the_commands_run_and_print_what_the_guide_shows(tmp_path: Path) -> None:
    """The commands run in order in an empty directory, from the first image to the changed key."""
    for commands, expected in STEPS:
        done = subprocess.run(
            ["sh", "-e"], input=commands, cwd=tmp_path, env={**os.environ, "PATH": forking.path()},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        errors = re.sub(r"(?m)^[.+*-]*\n?", "", done.stderr)  # openssl prints its progress in the search for primes
        assert (0, expected, "") == (done.returncode, done.stdout, errors), commands
    assert 9 == len(STEPS)


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "json"])
def test_the_configurations_are_right(tmp_path: Path, text: str) -> None:
    """The configurations contain no unknown key and no value of the wrong type."""
    (tmp_path / "mender.conf").write_text(text)
    loaded = load_config(tmp_path / "mender.conf", tmp_path / "none.conf")
    assert () == loaded.warnings
    assert loaded.config.artifact_verify_keys


def test_every_option_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    """Every option mentioned in the guide exists in one of the commands."""
    from mender_client.app.cli import main

    known = ""
    for words in (
        ["write", "rootfs-image"],
        ["write", "module-image"],
        ["show"],
        ["verify"],
        ["cat"],
        ["extract"],
        ["sign"],
    ):
        with pytest.raises(SystemExit):
            main(["artifact", *words, "-h"])
        known += capsys.readouterr().out
    options = set(re.findall(r"`(-[a-zA-Z-]+)", GUIDE)) - {"-"}
    assert options
    assert [] == sorted(option for option in options if option not in known)
