"""What users get: the built wheel, installed into a clean virtual environment, carries out updates over TLS.

With the oldest and the newest Python available, and without ``cryptography``: the keys
are those of the ``openssl`` program.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mender_client import __version__
from program.conftest import MakeDevice
from program.stage import FAIL, Device
from release import PROJECT, install, link_dependencies
from waiting import wait_until

OLDEST = (3, 10)


def _works(python: Path, version: tuple[int, int]) -> bool:
    """Whether an interpreter has this version and can create virtual environments."""
    code = "import ssl, sys, venv; print(*sys.version_info[:2])"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.split() == [str(number) for number in version]


def find_pythons() -> dict[tuple[int, int], Path]:
    """The interpreters of all supported versions that may be available: this one, those in PATH, and those of pyenv."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = {}
    for minor in range(OLDEST[1], OLDEST[1] + 20):
        managed = sorted(versions.glob(f"{OLDEST[0]}.{minor}.*/bin/python"))
        on_path = shutil.which(f"python{OLDEST[0]}.{minor}")
        if managed or on_path:
            found[OLDEST[0], minor] = managed[-1] if managed else Path(str(on_path))
    return found | {sys.version_info[:2]: Path(sys.executable)}


@pytest.fixture(scope="session")
def pythons() -> dict[str, Path]:
    """The oldest and the newest Python available."""
    found = sorted(find_pythons().items())
    oldest = next(python for version, python in found if _works(python, version))
    newest = next(python for version, python in reversed(found) if _works(python, version))
    return {"oldest": oldest, "newest": newest}


@pytest.fixture(params=[pytest.param("oldest", marks=pytest.mark.nightly), "newest"])
def environment(request: pytest.FixtureRequest, pythons: dict[str, Path], wheel: Path, tmp_path: Path) -> Path:
    """A virtual environment with only the wheel."""
    age = request.param
    if age == "newest" and pythons["oldest"] == pythons["newest"]:
        pytest.skip("there is only one Python at hand")
    directory = tmp_path / "environment"
    subprocess.run([str(pythons[age]), "-m", "venv", "--without-pip", str(directory)], check=True)
    install(directory, wheel)
    return directory


def _evaluate(environment: Path, expression: str) -> str:
    code = f"import importlib.metadata, importlib.util, mender_client, sys; print({expression})"
    command = [str(environment / "bin/python"), "-I", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def device(make_device: MakeDevice, environment: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """An accepted device that runs the installed program and has generated its key."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    made: Device = make_device(program=environment / "bin/mender-python-client", is_preauthorized=False)
    made.server.auto_accept = True
    assert 0 == made.run("bootstrap").returncode
    assert 0 == made.run("send-inventory").returncode
    made.id = made.server.devices()[0].id
    return made


def test_installed_program_updates_a_device(device: Device, environment: Path, is_nightly: bool) -> None:
    """The installed program carries out an update over TLS, and (at night) reports one that fails with its log."""
    assert str(environment) in _evaluate(environment, "mender_client.__file__")
    assert "None" == _evaluate(environment, "importlib.util.find_spec('cryptography')")
    assert "False" == _evaluate(environment, f"any(path.startswith({str(PROJECT / 'src')!r}) for path in sys.path)")
    good = device.deploy("release-2")
    assert 0 == device.daemon().wait_exit()
    device.wait_status(good, "success")
    wait_until(lambda: not device.lock.exists())
    assert ["downloading", "installing", "success"] == device.statuses(good)
    if not is_nightly:
        return
    device.write("plan", FAIL)
    bad = device.deploy("release-3")
    assert 0 == device.daemon().wait_exit()
    device.wait_status(bad, "failure")
    wait_until(lambda: not device.lock.exists())
    assert ["downloading", "installing", "failure"] == device.statuses(bad)
    assert "reports failure: no room on B" in device.log_of(bad)
    assert "installing release-3" in device.log_of(bad)
    assert [good, bad] == device.runs


def test_wheel_holds_the_package_alone(wheel: Path) -> None:
    """The client's wheel contains its package with type marker and licence, one program, and no pytest plugin."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        programs = [name for name in names if ".data/scripts/" in name]
        (script,) = (archive.read(name).decode() for name in programs)
    assert "mender_client/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {"mender_client"} == _packages(names)
    assert [] == [name for name in names if "devserver" in name or "mender_fleet" in name or "testing" in name]
    assert [] == [name for name in names if name.endswith("/entry_points.txt")]
    assert [f"mender_python_client-{__version__}.data/scripts/mender-python-client"] == programs
    assert script.startswith("#!python\n")  # installers write the path of their Python there


def test_devserver_wheel_holds_its_package_alone(devserver_wheel: Path) -> None:
    """The dev server's wheel contains its packages with type marker, page, manual page and licence, and the plugin."""
    with zipfile.ZipFile(devserver_wheel) as archive:
        names = archive.namelist()
        (points,) = (archive.read(name).decode() for name in names if name.endswith("/entry_points.txt"))
    assert "[pytest11]" in points
    assert {"mender_devserver/py.typed", "mender_devserver/page/index.html"} <= set(names)
    for program in ("mender-devserver", "mender-fleet"):
        assert any(name.endswith(f"/man1/{program}.1") for name in names)
        assert any(name.endswith(f"/bash-completion/completions/{program}") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("licenses/src/mender_devserver/page/vendor/LICENSE.txt") for name in names)
    vendored = {name.rpartition("/")[2] for name in names if name.startswith("mender_devserver/page/vendor/")}
    assert {"LICENSE.txt", "addon-fit.mjs", "xterm.css", "xterm.mjs"} == vendored
    assert {"mender_devserver", "mender_fleet"} == _packages(names)


def _packages(names: list[str]) -> set[str]:
    return {name.split("/")[0] for name in names if not re.search(r"\.(dist-info|data)/", name)}


@pytest.mark.nightly
def test_a_device_gets_the_client_alone(wheel: Path, devserver_wheel: Path, tmp_path: Path) -> None:
    """The client has no dependencies and is no pytest plugin; the dev server, installed with it, is one."""
    directory = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)
    install(directory, wheel)
    installed = "sorted(one.name for one in importlib.metadata.distributions())"
    assert "['mender-python-client']" == _evaluate(directory, installed)
    link_dependencies(directory, "pytest")
    assert "mender" not in _pytest(directory, tmp_path, "--trace-config", "--collect-only", expected=5)
    link_dependencies(directory, "mender-devserver")
    install(directory, devserver_wheel)
    (tmp_path / "test_it.py").write_text("def test_device(mender_device):\n    assert mender_device.id\n")
    assert "mender-devserver" in _pytest(directory, tmp_path, "--trace-config", "test_it.py", expected=0)
    done = subprocess.run(
        [str(directory / "bin/mender-devserver"), "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("usage: mender-devserver")


def _pytest(environment: Path, directory: Path, *arguments: str, expected: int) -> str:
    command = [str(environment / "bin/python"), "-I", "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert expected == done.returncode, done.stdout
    return done.stdout.replace(str(directory), "")


def test_wheel_holds_what_setup_installs(wheel: Path) -> None:
    """Scripts, sub-updater, update modules and units are included, for ``setup``."""
    support = PROJECT / "support"
    files = [
        support / "install",
        *(file for name in ("identity", "inventory", "modules/v3", "systemd") for file in (support / name).iterdir()),
    ]
    with zipfile.ZipFile(wheel) as archive:
        inside = [archive.read(f"mender_client/{file.relative_to(PROJECT)}") for file in files]
    assert [file.read_bytes() for file in files] == inside
