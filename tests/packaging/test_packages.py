"""The packages for systems, as far as that can be seen without building them; ``make deb-check`` does the rest."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mender_client import __version__

PROJECT = Path(__file__).resolve().parents[2]
PACKAGING = PROJECT / "packaging"
SCRIPTS = [*PACKAGING.glob("*-deb"), *PACKAGING.glob("debian/*.post*")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    """shellcheck has nothing to say about the scripts of the packages."""
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert "" == done.stdout


def test_debian_packages_this_version() -> None:
    """The newest entry of Debian's changelog is for the version of the program."""
    first = (PACKAGING / "debian/changelog").read_text().splitlines()[0]
    assert f"mender-python-client ({__version__}-1)" == first.partition(") ")[0] + ")"


def test_purging_knows_every_file_of_the_client() -> None:
    """Whatever the reference says that the client writes into its data folder is removed by the purge, and no more."""
    page = (PROJECT / "docs/reference/files.md").read_text()
    written = page.partition("## What the client writes")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in written.splitlines() if line.startswith("| `<datadir>/")]
    names = {name for row in rows for name in re.findall(r"`(?:<datadir>/)?([^`]+)`", row)} - {"<datadir>/", ""}
    purge = (PACKAGING / "debian/mender-python-client.postrm").read_text()
    removed = set(purge.partition("rm -f ")[2].partition("cd /")[0].replace("\\\n", " ").split())
    assert names == removed
