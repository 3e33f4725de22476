"""The public API is typed, for the type checkers that users have."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mender_client

USE = Path(__file__).with_name("use.py")
BIN = Path(sys.executable).parent


def check(argv: list[str | Path], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a type checker on a copy of the program, as on a user's program."""
    shutil.copy(USE, directory)
    return subprocess.run(argv, cwd=directory, capture_output=True, text=True)


def test_mypy(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A user's program passes mypy in its strict mode."""
    cache = request.config.cache.mkdir("mypy") if request.config.cache else tmp_path / "cache"
    done = check([BIN / "mypy", "--strict", "--config-file=", "--cache-dir", cache, USE.name], tmp_path)
    assert (0, "") == (done.returncode, done.stderr), done.stdout


@pytest.mark.nightly
def test_pyright(tmp_path: Path) -> None:
    """A user's program passes pyright in its strict mode."""
    if not (BIN / "pyright").exists() or not shutil.which("node"):
        pytest.skip("pyright and node are not both installed")
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    done = check([BIN / "pyright", "--pythonpath", sys.executable, USE.name], tmp_path)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_every_name_is_used() -> None:
    """The program that is checked uses each public name."""
    text = USE.read_text("utf-8")
    assert [] == [name for name in mender_client.__all__ if name not in text]


def test_the_names_are_there() -> None:
    """Each public name can be imported, and a wrong one is an AttributeError."""
    assert all(hasattr(mender_client, name) for name in mender_client.__all__)
    assert not hasattr(mender_client, "Klient")
