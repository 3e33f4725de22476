"""A release of this checkout, built once for all workers."""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[1]
DISTRIBUTIONS = {"mender-python-client": PROJECT, "mender-devserver": PROJECT / "devserver"}


def checkout(target: Path) -> Path:
    """Copy the files of this checkout that git tracks or would track. Times and modes differ, but a program stays
    executable for its owner."""
    command = ["git", "-C", str(PROJECT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout")
    for name in filter(None, listed.split("\0")):
        source, copy = PROJECT / name, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            copy.symlink_to(source.readlink())
        elif source.is_file():
            copy.write_bytes(source.read_bytes())
            copy.chmod(copy.stat().st_mode | source.stat().st_mode & 0o100)
    return target


def run(*words: str, umask: int = 0o022) -> None:
    """Run this Python with another umask."""
    done = subprocess.run([sys.executable, *words], umask=umask, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr


def install(environment: Path, wheel: Path) -> None:
    """Install a wheel with pip into a virtual environment that has all its dependencies."""
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(environment / "bin/python"))
    run(*pip, "install", "--no-index", "--no-compile", str(wheel))


def link_dependencies(environment: Path, *names: str) -> None:
    """Link installed packages and their dependencies into a virtual environment of this Python, except our own."""
    (target,) = environment.glob("lib/python*/site-packages")
    found: set[str] = set()
    wanted = [canonicalize_name(name) for name in names]
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        found.add(name)
        distribution = importlib.metadata.distribution(name)
        needed = map(Requirement, distribution.requires or ())
        wanted += [
            canonicalize_name(one.name) for one in needed if not one.marker or one.marker.evaluate({"extra": ""})
        ]
        if name not in DISTRIBUTIONS:
            tops = {file.parts[0] for file in distribution.files or () if ".." not in file.parts}
            for top in tops - {"__pycache__"}:
                if not (target / top).exists():
                    (target / top).symlink_to(Path(str(distribution.locate_file(top))))


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory, is_nightly: bool) -> Path:
    """The directory of a release built from a copy of this checkout; its SBOM is validated only in nightly runs."""
    if importlib.util.find_spec("cyclonedx_py") is None:
        pytest.skip("cyclonedx-bom is not installed: run make venv")
    base = tmp_path_factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "release-of-the-project"
    directory.mkdir(exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "dist/SHA256SUMS").exists():
            options = () if is_nightly else ("--no-validate",)
            run(str(checkout(directory / "here") / "tools/dist.py"), *options, str(directory / "dist"))
    return directory / "dist"


@pytest.fixture(scope="session")
def wheel(release: Path) -> Path:
    """The client's wheel."""
    (built,) = release.glob("mender_python_client-*.whl")
    return built


@pytest.fixture(scope="session")
def devserver_wheel(release: Path) -> Path:
    """The dev server's wheel."""
    (built,) = release.glob("mender_devserver-*.whl")
    return built
