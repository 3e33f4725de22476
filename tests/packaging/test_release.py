"""What a release consists of: the same bytes wherever it is made, from what is pinned, without leftovers."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
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

PROJECT = Path(__file__).resolve().parents[2]
LOCKS = sorted((PROJECT / "requirements").iterdir())
_PINNED = re.compile(r"^([\w.-]+)==([\w.]+)", re.MULTILINE)

needs_cyclonedx = pytest.mark.skipif(
    importlib.util.find_spec("cyclonedx_py") is None, reason="cyclonedx-bom is not installed: run make venv"
)


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


def build(project: Path, target: Path, umask: int) -> dict[str, bytes]:
    """The sdist, and the wheel that is made from it."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(project)]
    done = subprocess.run(command, umask=umask, capture_output=True, text=True, timeout=120, check=False)
    assert 0 == done.returncode, done.stderr
    return {file.name: file.read_bytes() for file in sorted(target.iterdir())}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Sdist and wheel of a copy of this checkout."""
    folder = tmp_path_factory.mktemp("release")
    return build(checkout(folder / "here"), folder / "dist", 0o022)


def test_the_same_bytes_twice(built: dict[str, bytes], tmp_path: Path) -> None:
    """Sdist and wheel are the same bytes in another folder, at another time, under another umask."""
    again = build(checkout(tmp_path / "some where else"), tmp_path / "dist", 0o077)
    digests = [{name: hashlib.sha256(content).hexdigest() for name, content in one.items()} for one in (built, again)]
    assert digests[0] == digests[1]
    assert 2 == len(digests[0])


def test_nothing_runs_at_install(built: dict[str, bytes], tmp_path: Path) -> None:
    """The wheel is pure, and the sdist has no setup.py: its build backend is the only code that runs."""
    for name, content in built.items():
        (tmp_path / name).write_bytes(content)
    wheel, sdist = (next(tmp_path.glob(pattern)) for pattern in ("*.whl", "*.tar.gz"))
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as zipped, tarfile.open(sdist) as tarred:
        names = [*zipped.namelist(), *tarred.getnames()]
    assert [] == [name for name in names if name.endswith((".pth", ".so", "/setup.py"))]


def test_uninstalling_leaves_nothing(built: dict[str, bytes], tmp_path: Path) -> None:
    """A virtual environment is the same after the wheel was installed, used, and removed."""
    wheel = tmp_path / next(name for name in built if name.endswith(".whl"))
    wheel.write_bytes(built[wheel.name])
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


def files(folder: Path) -> set[str]:
    """The files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


@needs_cyclonedx
def test_the_release_lists_what_it_consists_of(tmp_path: Path) -> None:
    """The SBOM, which cyclonedx-py holds against its schema, names the client and the pinned urllib3 and no more."""
    command = [sys.executable, str(PROJECT / "tools/dist.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert 0 == done.returncode, done.stderr
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    made = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in tmp_path.iterdir()}
    assert made == {**sums, "SHA256SUMS": made["SHA256SUMS"]}
    assert 4 == len(sums)
    bom = json.loads((tmp_path / "mender-python-client.cdx.json").read_text())
    assert "mender-python-client" == bom["metadata"]["component"]["name"]
    pinned = dict(_PINNED.findall((PROJECT / "requirements/device.txt").read_text()))
    assert pinned == {one["name"]: one["version"] for one in bom["components"]}
    assert "timestamp" not in bom["metadata"]


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
