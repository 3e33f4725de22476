"""The examples of docs/guide/update-modules.md: each Artifact is written, and installed by its module."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import forking
from mender_client.app.artifact.payload import extract
from mender_devserver.testing import ModuleUnderTest, Trouble, Walk
from modules.board import Board
from modules.module import MODULES, Module
from support.device import Shell

from .pages import PROJECT, examples

PAGE = PROJECT / "docs/guide/update-modules.md"
DASH = Shell("/bin/sh", "/usr/bin:/bin")
FORTH = ("Download", "ArtifactInstall", "ArtifactCommit", "Cleanup")


def blocks(heading: str) -> list[str]:
    """The shell examples below a heading."""
    return [block.text for where, block in examples(PAGE) if where == heading and block.language == "sh"]


def payload(heading: str, tmp_path: Path, number: int = 0) -> dict[str, str | bytes | Path]:
    """Run an example, with the device's directories below this one; return the content of its Artifact."""
    place = tmp_path / "host"
    place.mkdir()
    commands = blocks(heading)[number].replace(" /opt/", f" {tmp_path}/opt/").replace(">/etc/", f">{tmp_path}/")
    environment = {**os.environ, "PATH": forking.path()}
    done = subprocess.run(
        ["sh", "-e"], input=commands, cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    (artifact,) = place.glob("*.mender")
    return {file.name: file for file in extract(str(artifact), place / "payload")}


def installed(name: str, heading: str, tmp_path: Path) -> Module:
    """Install an example with its module."""
    module = Module(name, tmp_path / "module", DASH)
    module.command("docker", f'echo "$*" >>"{tmp_path}/calls"')
    module.command("dpkg", f'echo "$*" >>"{tmp_path}/calls"')
    module.begin(payload(heading, tmp_path))
    assert [0] * 4 == module.run(*FORTH), module.said
    return module


def test_single_file(tmp_path: Path) -> None:
    """The file is installed."""
    installed("single-file", "A single file", tmp_path)
    assert "level = 3\n" == (tmp_path / "opt/app/app.conf").read_text()


def test_directory(tmp_path: Path) -> None:
    """The directory is replaced."""
    (tmp_path / "opt/www").mkdir(parents=True)
    (tmp_path / "opt/www/old").write_text("old")
    installed("directory", "A directory", tmp_path)
    assert ["css", "index.html"] == sorted(os.listdir(tmp_path / "opt/www"))


def test_containers(tmp_path: Path) -> None:
    """The images of the project are pulled, and it is started."""
    module = installed("docker-compose", "Containers", tmp_path)
    words = [line.split()[3] for line in (tmp_path / "calls").read_text().splitlines()]
    assert ["config", "pull", "up", "up"] == words
    assert "web:2" in (module.place / "data/docker-compose/web/current/compose.yaml").read_text()


def test_debian_packages(tmp_path: Path) -> None:
    """The package is passed to dpkg."""
    installed("deb", "Debian packages", tmp_path)
    assert (tmp_path / "calls").read_text().endswith("/files/app_2.0_all.deb\n")


def test_scripts(tmp_path: Path) -> None:
    """The script runs."""
    installed("script", "Scripts", tmp_path)
    assert "board-of-release-2\n" == (tmp_path / "hostname").read_text()


def test_root_file_system(tmp_path: Path) -> None:
    """The image is on the other partition."""
    files = payload("A root file system", tmp_path)
    board = Board(tmp_path / "board")
    (image,) = files.values()
    assert isinstance(image, Path)
    assert 0 == board.download(image.read_bytes()), board.said
    assert bytes(100_000) == board.partition(11)[:100_000]


@pytest.mark.parametrize("is_rolled_back", [False, True])
def test_own_module(tmp_path: Path, is_rolled_back: bool) -> None:
    """The module on the page installs its Artifact, and rolls back, even if the power fails before or after."""
    module = Module("script", tmp_path / "module", DASH)  # its test harness, with another program in it
    program = blocks("Write your own")[0].replace("/opt/", f"{tmp_path}/opt/")
    assert 10 >= len(program.splitlines())
    (module.place / "script").write_text(program)
    model = tmp_path / "opt/model/model.bin"
    model.parent.mkdir(parents=True)
    model.write_text("old")
    files = payload("Write your own", tmp_path, 1)
    module.begin(files)
    assert ("Yes\n", "") == (module.ask("SupportsRollback"), module.ask("NeedsArtifactReboot"))
    if not is_rolled_back:
        assert [0] * 4 == module.run(*FORTH), module.said
        assert "weights\n" == model.read_text()
        return
    for change in range(20):
        module.begin(files)
        module.cut_power_at(change)
        module.run("ArtifactInstall")
        module.restore_power()
        assert [0] * 4 == module.run("ArtifactRollback", "ArtifactRollback", "ArtifactFailure", "Cleanup")
        assert "old" == model.read_text()


WALKS: list[dict[int, Trouble]] = [
    {1: Trouble.CUT_AFTER},
    {2: Trouble.FAILS},
    {4: Trouble.FAILS, 6: Trouble.CUT_AFTER},
]
"""Some of the walks: the download, the installation and the rollback fail."""


def test_python(tmp_path: Path, is_nightly: bool) -> None:
    """The module in Python streams, and the old or the new version is installed after each failure and power cut."""
    program, target = tmp_path / "firmware", tmp_path / "firmware.bin"
    (example,) = (block.text for where, block in examples(PAGE) if where == "In Python")
    program.write_text(example)
    module = ModuleUnderTest(
        tmp_path / "harness", program, {"any": b"new"}, environment={"PATH": forking.path(), "TARGET": str(target)}
    )

    def reset() -> None:
        target.write_text("old")

    def some() -> Iterator[Walk]:
        for troubles in WALKS:
            reset()
            yield module.walk(troubles)

    for walk in module.walks(reset) if is_nightly else some():
        assert walk.installed in (target.read_text(), "unknown"), walk
        assert walk.is_streamed or walk.road == "DownloadWithFileSizes fails"
        assert not target.with_suffix(".bin.new").exists()


def test_the_page_names_each_module() -> None:
    """The table has a row for each module that is shipped."""
    text = PAGE.read_text()
    assert [] == [file.name for file in MODULES.iterdir() if f"\n| `{file.name}` |" not in text]
