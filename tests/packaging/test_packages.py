"""The distribution packages, as far as they can be tested without building them; ``make deb-check`` tests the rest."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mender_client import __version__

PROJECT = Path(__file__).resolve().parents[2]
PACKAGING = PROJECT / "packaging"
SCRIPTS = [*PACKAGING.glob("*-deb"), *PACKAGING.glob("debian/*.post*"), *PROJECT.glob("support/init/mender-*")]
# none in an unpacked sdist, because it would contain its own digest
RECIPES = [*PACKAGING.glob("yocto/**/*.bb")]
BUILDROOT = PACKAGING / "buildroot"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    """shellcheck has no complaints about the scripts of the packages."""
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
    assert "" == done.stdout


def test_debian_packages_this_version() -> None:
    """The newest entry of Debian's changelog is for the version of the program."""
    first = (PACKAGING / "debian/changelog").read_text().splitlines()[0]
    assert f"mender-python-client ({__version__}-1)" == first.partition(") ")[0] + ")"


def test_purging_knows_every_file_of_the_client() -> None:
    """A purge removes exactly the files in the data directory that the reference lists."""
    page = (PROJECT / "docs/reference/files.md").read_text()
    written = page.partition("## Files that the client writes")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in written.splitlines() if line.startswith("| `<datadir>/")]
    paths = {path for row in rows for path in re.findall(r"`(?:<datadir>/)?([^`]+)`", row)} - {"<datadir>/", ""}
    purge = (PACKAGING / "debian/mender-python-client.postrm").read_text()
    files, _, directories = purge.partition("rm -f ")[2].partition("cd /")[0].replace("\\\n", " ").partition("rm -rf ")
    assert {path for path in paths if "/" not in path} == set(files.split())
    assert {path.split("/")[0] for path in paths if "/" in path} == set(directories.split())


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_recipe_is_of_this_version_and_licence(recipe: Path) -> None:
    """The Yocto recipe is named after the version, and has the digest of the licence."""
    assert f"mender-python-client_{__version__}.bb" == recipe.name
    digest = hashlib.md5((PROJECT / "LICENSE").read_bytes()).hexdigest()
    assert f'LIC_FILES_CHKSUM = "file://LICENSE;md5={digest}"' in recipe.read_text().splitlines()
    assert re.search(r'^SRC_URI\[sha256sum\] = "[0-9a-f]{64}"$', recipe.read_text(), re.MULTILINE)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_linter_of_recipes_finds_nothing(recipe: Path) -> None:
    """oelint-adv reports neither errors nor warnings for the layer."""
    if importlib.util.find_spec("oelint_adv") is None:
        pytest.skip("oelint-adv is not installed")
    files = [str(recipe), *map(str, PACKAGING.glob("yocto/*/conf/layer.conf"))]
    command = [sys.executable, "-m", "oelint_adv", "--release", "scarthgap", "--hide", "info", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [] == re.findall(r"^.*:(?:error|warning):.*$", done.stdout + done.stderr, re.MULTILINE)


def test_make_reads_the_package_of_buildroot() -> None:
    """Make parses Buildroot's file, and finds this version, its sources and its licence in it."""
    name = "mender-python-client"
    given = f"""
        BR2_EXTERNAL_MENDER_PYTHON_CLIENT_PATH = {BUILDROOT}
        BR2_PACKAGE_MENDER_PYTHON_CLIENT_SUB_UPDATER_AB = y
        include {BUILDROOT}/external.mk
        $(info $(MENDER_PYTHON_CLIENT_VERSION))
        $(info $(realpath $(MENDER_PYTHON_CLIENT_SITE)))
        all: ;
    """
    lines = "\n".join(line.strip() for line in given.splitlines())
    done = subprocess.run(["make", "-s", "-f", "-"], input=lines, capture_output=True, text=True, check=False)
    assert ("", [__version__, str(PROJECT)]) == (done.stderr, done.stdout.splitlines())
    digest = hashlib.sha256((PROJECT / "LICENSE").read_bytes()).hexdigest()
    assert f"sha256  {digest}  LICENSE" in (BUILDROOT / f"package/{name}/{name}.hash").read_text().splitlines()


def test_every_package_has_the_scripts_of_the_device() -> None:
    """Debian, Yocto and Buildroot install identity, inventory, sub-updater, modules and units from support/."""
    texts = {
        "debian": "".join(file.read_text() for file in (PACKAGING / "debian").iterdir() if file.is_file()),
        "buildroot": next(BUILDROOT.glob("package/*/*.mk")).read_text(),
        **{recipe.name: recipe.read_text() for recipe in RECIPES},
    }
    wanted = [
        "support/identity",
        "support/inventory",
        "support/install",
        "support/modules/v3/rootfs-image",
        "support/modules/v3",
        "support/dbus/",
        *(f"support/systemd/{unit}" for unit in units()),
    ]
    missing = {name: [one for one in wanted if one not in text] for name, text in texts.items()}
    assert {name: [] for name in texts} == missing


def units() -> list[str]:
    """The units of the device; those in subdirectories are optional variants."""
    return sorted(file.name for file in (PROJECT / "support/systemd").iterdir() if file.suffix == ".service")
