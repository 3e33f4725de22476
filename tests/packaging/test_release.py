"""The release: two distributions of one version, built reproducibly with pinned tools, that uninstall cleanly."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mender_client import __version__
from release import DISTRIBUTIONS, PROJECT, checkout, run

LOCKS = sorted((PROJECT / "requirements").glob("*.txt"))
_PINNED = re.compile(r"^([\w.-]+)==([\w.]+)", re.MULTILINE)


@pytest.mark.nightly
def test_the_same_bytes_twice(release: Path, tmp_path: Path) -> None:
    """Sdists and wheels are byte-identical when built in another directory, at another time, with another umask."""
    copy, again = checkout(tmp_path / "some where else"), tmp_path / "dist"
    for directory in DISTRIBUTIONS.values():
        place = copy / directory.relative_to(PROJECT)
        run("-m", "build", "--no-isolation", "--outdir", str(again), str(place), umask=0o077)
    names = sorted(file.name for file in again.iterdir())
    assert [
        f"mender_devserver-{__version__}-py3-none-any.whl",
        f"mender_devserver-{__version__}.tar.gz",
        f"mender_python_client-{__version__}-py3-none-any.whl",
        f"mender_python_client-{__version__}.tar.gz",
    ] == names
    for name in names:
        assert (release / name).read_bytes() == (again / name).read_bytes()


def test_nothing_runs_at_install(release: Path) -> None:
    """The wheels are pure Python, and the sdists have no setup.py: only the build backend runs code."""
    names: list[str] = []
    for file in release.iterdir():
        if file.suffix == ".whl":
            with zipfile.ZipFile(file) as zipped:
                names += zipped.namelist()
        elif file.suffix == ".gz":
            with tarfile.open(file) as tarred:
                names += tarred.getnames()
    assert len(names) > 100
    assert [] == [name for name in names if name.endswith((".pth", ".so", "/setup.py"))]


@pytest.mark.nightly
def test_uninstalling_leaves_nothing(release: Path, tmp_path: Path) -> None:
    """A virtual environment is unchanged after both wheels were installed, used, and uninstalled."""
    environment = tmp_path / "environment"
    venv.create(environment)
    before = files(environment)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(environment / "bin/python")]
    wheels = [str(wheel) for wheel in release.glob("*.whl")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", *wheels], check=True)
    installed = {"share/man/man5/mender.conf.5", "bin/mender-python-client", "share/man/man1/mender-devserver.1"}
    assert installed <= files(environment) - before
    used = [str(environment / "bin/mender-python-client"), "--root", str(tmp_path / "root"), "status"]
    assert 0 == subprocess.run(used, capture_output=True, check=False).returncode
    subprocess.run([*pip, "uninstall", "--quiet", "--yes", *DISTRIBUTIONS], check=True)
    assert set() == files(environment) - before


def files(directory: Path) -> set[str]:
    """The files below a directory."""
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


def test_the_digests_are_those_of_the_files(release: Path) -> None:
    """SHA256SUMS lists both wheels, both sdists, the zipapp and the SBOM."""
    lines = (release / "SHA256SUMS").read_text().splitlines()
    made = [file for file in sorted(release.iterdir()) if file.name != "SHA256SUMS"]
    assert [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in made] == lines
    assert 6 == len(lines)


def test_the_release_lists_what_it_consists_of(release: Path) -> None:
    """The SBOM, which is only written if it is valid, names the client and no other component."""
    bom = json.loads((release / "mender-python-client.cdx.json").read_text())
    assert "mender-python-client" == bom["metadata"]["component"]["name"]
    assert [] == bom.get("components", [])
    assert "timestamp" not in bom["metadata"]


# -- pinned versions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_everything_pinned_has_a_hash(lock: Path) -> None:
    """Every line pins a version, every version has digests, and no line gives a location to download from."""
    entries = lock.read_text().replace("\\\n", " ").splitlines()
    assert [] == [entry for entry in entries if not re.fullmatch(r"\S+==\S+.*?( +--hash=sha256:[0-9a-f]{64})+", entry)]


def requirements() -> list[Requirement]:
    """The requirements of both distributions and of developers, with extras, without the distributions themselves."""
    texts = [text for name in DISTRIBUTIONS for text in importlib.metadata.requires(name) or ()]
    lines = (PROJECT / "requirements/dev.in").read_text().splitlines()
    texts += [line for line in lines if not line.startswith(("#", "-e "))]
    return [one for one in map(Requirement, texts) if canonicalize_name(one.name) not in DISTRIBUTIONS]


def test_everything_required_is_pinned() -> None:
    """Each requirement is pinned, within its range, for each Python; if not, run ``make lock``."""
    pins: dict[str, list[str]] = {}
    for name, version in _PINNED.findall((PROJECT / "requirements/dev.txt").read_text()):
        pins.setdefault(canonicalize_name(name), []).append(version)
    required = requirements()
    assert len(required) > 10
    assert [] == [str(one) for one in required if not pins.get(canonicalize_name(one.name))]
    wrong = [
        str(one) for one in required for pin in pins[canonicalize_name(one.name)] if not one.specifier.contains(pin)
    ]
    assert [] == wrong


def test_the_dev_server_needs_the_client_of_its_version() -> None:
    """The dev server depends on exactly the same version of the client, and has the same licence."""
    assert f'"mender-python-client=={__version__}"' in (PROJECT / "devserver/pyproject.toml").read_text()
    assert (PROJECT / "LICENSE").read_text() == (PROJECT / "devserver/LICENSE").read_text()


def test_the_client_depends_on_nothing() -> None:
    """Without extras, pip installs only the client."""
    required = importlib.metadata.requires("mender-python-client") or ()
    assert [] == [one for one in required if "extra ==" not in one]
