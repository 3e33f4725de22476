"""What a release consists of: the same bytes wherever it is made, from what is pinned, without leftovers."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
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

PROJECT = Path(__file__).resolve().parents[2]
LOCKS = sorted((PROJECT / "requirements").iterdir())
_PINNED = re.compile(r"^([\w.-]+)==([\w.]+)", re.MULTILINE)


def checkout(target: Path) -> Path:
    """A copy of the files of this checkout that git knows, or would know, with other times and modes."""
    command = ["git", "-C", str(PROJECT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout")
    for name in filter(None, listed.split("\0")):
        if (source := PROJECT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(source.read_bytes())
    return target


def run(*words: str, umask: int) -> None:
    """Run this Python, as somebody with another umask would."""
    done = subprocess.run(
        [sys.executable, *words], umask=umask, capture_output=True, text=True, timeout=180, check=False
    )
    assert 0 == done.returncode, done.stderr


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a release that is made of a copy of this checkout, once for all workers."""
    if importlib.util.find_spec("cyclonedx_py") is None:
        pytest.skip("cyclonedx-bom is not installed: run make venv")
    base = tmp_path_factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "release-of-the-project"
    directory.mkdir(exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "dist/SHA256SUMS").exists():
            run(str(checkout(directory / "here") / "tools/dist.py"), str(directory / "dist"), umask=0o022)
    return directory / "dist"


def test_the_same_bytes_twice(release: Path, tmp_path: Path) -> None:
    """Sdist and wheel are the same bytes in another directory, at another time, under another umask."""
    copy, again = checkout(tmp_path / "some where else"), tmp_path / "dist"
    run("-m", "build", "--no-isolation", "--outdir", str(again), str(copy), umask=0o077)
    names = sorted(file.name for file in again.iterdir())
    assert [
        f"mender_python_client-{__version__}-py3-none-any.whl",
        f"mender_python_client-{__version__}.tar.gz",
    ] == names
    for name in names:
        assert (release / name).read_bytes() == (again / name).read_bytes()


def test_nothing_runs_at_install(release: Path) -> None:
    """The wheel is pure, and the sdist has no setup.py: its build backend is the only code that runs."""
    wheel, sdist = (next(release.glob(pattern)) for pattern in ("*.whl", "*.tar.gz"))
    with zipfile.ZipFile(wheel) as zipped, tarfile.open(sdist) as tarred:
        names = [*zipped.namelist(), *tarred.getnames()]
    assert [] == [name for name in names if name.endswith((".pth", ".so", "/setup.py"))]


def test_uninstalling_leaves_nothing(release: Path, tmp_path: Path) -> None:
    """A virtual environment is the same after the wheel was installed, used, and removed."""
    (wheel,) = release.glob("*.whl")
    environment = tmp_path / "environment"
    venv.create(environment)
    before = files(environment)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(environment / "bin/python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", str(wheel)], check=True, timeout=120)
    assert {"share/man/man5/mender.conf.5", "bin/mender-python-client"} <= files(environment) - before
    used = [str(environment / "bin/mender-python-client"), "--root", str(tmp_path / "root"), "status"]
    assert 0 == subprocess.run(used, capture_output=True, timeout=60, check=False).returncode
    subprocess.run([*pip, "uninstall", "--quiet", "--yes", "mender-python-client"], check=True, timeout=120)
    assert set() == files(environment) - before


def files(directory: Path) -> set[str]:
    """The files below a directory."""
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


def test_the_digests_are_those_of_the_files(release: Path) -> None:
    """SHA256SUMS has wheel, sdist, zipapp and SBOM."""
    lines = (release / "SHA256SUMS").read_text().splitlines()
    made = [file for file in sorted(release.iterdir()) if file.name != "SHA256SUMS"]
    assert [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in made] == lines
    assert 4 == len(lines)


def test_the_release_lists_what_it_consists_of(release: Path) -> None:
    """The SBOM keeps to its schema, and names the client and the pinned urllib3 and no more."""
    text = (release / "mender-python-client.cdx.json").read_text()
    assert is_valid(text)
    bom = json.loads(text)
    assert "mender-python-client" == bom["metadata"]["component"]["name"]
    pinned = dict(_PINNED.findall((PROJECT / "requirements/device.txt").read_text()))
    assert pinned == {one["name"]: one["version"] for one in bom["components"]}
    assert "timestamp" not in bom["metadata"]


def is_valid(text: str) -> bool:
    """Whether the schema of CycloneDX 1.6 has nothing to complain about."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


# -- what is pinned ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_everything_pinned_has_a_hash(lock: Path) -> None:
    """Every line pins a version, every version has digests, and no line says where to fetch it from."""
    entries = lock.read_text().replace("\\\n", " ").splitlines()
    assert [] == [entry for entry in entries if not re.fullmatch(r"\S+==\S+.*?( +--hash=sha256:[0-9a-f]{64})+", entry)]


def test_what_is_asked_for_is_pinned() -> None:
    """Whatever pyproject.toml asks for is pinned, in its range, for each Python: else run ``make lock``."""
    pins: dict[str, list[str]] = {}
    for name, version in _PINNED.findall((PROJECT / "requirements/dev.txt").read_text()):
        pins.setdefault(canonicalize_name(name), []).append(version)
    wanted = [Requirement(text) for text in importlib.metadata.requires("mender-python-client") or ()]
    wanted = [one for one in wanted if canonicalize_name(one.name) != "mender-python-client"]
    assert len(wanted) > 10
    missing = [str(one) for one in wanted if not pins.get(canonicalize_name(one.name))]
    assert [] == missing
    wrong = [str(one) for one in wanted for pin in pins[canonicalize_name(one.name)] if not one.specifier.contains(pin)]
    assert [] == wrong


def test_devices_get_what_developers_test() -> None:
    """What is pinned for devices is pinned to the same version for developers."""
    assert ["dev.txt", "device.txt"] == [lock.name for lock in LOCKS]
    dev, device = (dict(_PINNED.findall(lock.read_text())) for lock in LOCKS)
    assert device.items() <= dev.items()
