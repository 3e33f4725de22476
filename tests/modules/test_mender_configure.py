"""The module mender-configure: stores the configuration, and runs the programs that apply it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.device import Shell

from .module import Module

FORTH = ("Download", "ArtifactInstall", "ArtifactCommit", "Cleanup")


class Configured(Module):
    """A device whose programs record their arguments."""

    def __init__(self, place: Path, shell: Shell) -> None:
        super().__init__("mender-configure", place / "module", shell)
        self.root = place / "root"
        self.programs = self.root / "usr/lib/mender-configure/apply-device-config.d"
        self.file = self.root / "var/lib/mender-configure/device-config.json"
        self.calls = place / "calls"
        self.environment["MENDER_ROOT"] = str(self.root)
        self.programs.mkdir(parents=True)

    def program(self, name: str, body: str = "") -> None:
        """Add a program that applies a configuration."""
        file = self.programs / name
        file.write_text(f'#!{self.shell.interpreter}\necho "{name} $# $1 $(cat "$1")" >>"{self.calls}"\n{body}\n')
        file.chmod(0o755)

    def wants(self, configuration: dict[str, str] | None) -> None:
        """Begin a deployment of a configuration; None is an empty one, which has no meta-data."""
        self.begin({})
        text = "" if configuration is None else json.dumps(configuration)
        (self.tree / "header/meta-data").write_text(text)

    def said_by_programs(self) -> list[str]:
        """The calls that the programs have recorded since the last time."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return lines


@pytest.fixture
def device(tmp_path: Path, shell: Shell) -> Configured:
    """A device without programs."""
    return Configured(tmp_path, shell)


def test_configuration_is_stored_and_applied(device: Configured) -> None:
    """The configuration is stored for root only, and all programs are run with its path, ordered by name."""
    device.program("20-b")
    device.program("10-a")
    device.wants({"timezone": "UTC"})
    assert [0] * 4 == device.run(*FORTH), device.said
    assert {"timezone": "UTC"} == json.loads(device.file.read_text())
    assert 0o600 == device.file.stat().st_mode & 0o777
    text = f'1 {device.file} {{"timezone": "UTC"}}'
    assert [f"10-a {text}", f"20-b {text}"] == device.said_by_programs()
    assert ["No\n", "Yes\n"] == [device.ask(one) for one in ("NeedsArtifactReboot", "SupportsRollback")]


def test_umask_of_programs(device: Configured, tmp_path: Path) -> None:
    """Files that the programs write have the usual permissions: only the module has secrets to protect."""
    device.program("10-a", f'echo UTC >"{tmp_path}/timezone"')
    device.wants({"timezone": "UTC"})
    assert [0] * 4 == device.run(*FORTH), device.said
    modes = [file.stat().st_mode & 0o777 for file in (tmp_path / "timezone", device.file)]
    assert [0o644, 0o600] == modes


def test_empty_configuration(device: Configured) -> None:
    """An empty configuration, which comes without meta-data, is stored as an empty object."""
    device.program("10-a")
    device.wants(None)
    assert [0] * 4 == device.run(*FORTH), device.said
    assert {} == json.loads(device.file.read_text())
    assert [f"10-a 1 {device.file} {{}}"] == device.said_by_programs()


def test_no_programs(device: Configured) -> None:
    """A device without programs stores the configuration."""
    device.wants({"a": "b"})
    assert [0] * 4 == device.run(*FORTH), device.said
    assert {"a": "b"} == json.loads(device.file.read_text())


def test_program_that_needs_a_reboot(device: Configured) -> None:
    """If one program exits with 20, the module requests a reboot."""
    device.program("10-a", "exit 20")
    device.program("20-b")
    device.wants({"a": "b"})
    assert [0, 0] == device.run("Download", "ArtifactInstall"), device.said
    assert ("Automatic\n", 2) == (device.ask("NeedsArtifactReboot"), len(device.said_by_programs()))


@pytest.mark.parametrize("codes", [(7, 0), (20, 7), (7, 20)])
def test_program_that_fails(device: Configured, codes: tuple[int, int]) -> None:
    """A failure takes precedence over a reboot; all programs run, and the rollback applies the old configuration."""
    device.wants({"a": "old"})
    assert [0] * 4 == device.run(*FORTH)
    for name, code in zip(("10-a", "20-b"), codes, strict=True):
        device.program(name, f'case $(cat "$1") in *new*) exit {code} ;; esac')
    device.wants({"a": "new"})
    assert "failed (exit 7)" in device.fail()
    assert {"a": "old"} == json.loads(device.file.read_text())
    old, new = (f'1 {device.file} {{"a": "{word}"}}' for word in ("old", "new"))
    assert [f"10-a {new}", f"20-b {new}", f"10-a {old}", f"20-b {old}"] == device.said_by_programs()
    assert "No\n" == device.ask("NeedsArtifactReboot")


def test_first_configuration_that_fails(device: Configured) -> None:
    """The rollback of a device's first configuration removes it."""
    device.program("10-a", 'case $(cat "$1" 2>/dev/null) in *new*) exit 1 ;; esac')
    device.wants({"a": "new"})
    device.fail()
    assert not device.file.exists()


def test_file_that_is_not_executable(device: Configured) -> None:
    """A file that isn't executable is skipped, and the log names it."""
    device.program("10-a")
    (device.programs / "10-a").chmod(0o644)
    device.wants({"a": "b"})
    assert [0] * 4 == device.run(*FORTH)
    assert "10-a: it is not executable" in device.said


def test_configuration_is_applied_at_boot(device: Configured) -> None:
    """--apply-only runs the programs with the stored configuration; without one it does nothing."""
    device.program("10-a")
    assert [0] == device.run("--apply-only")
    assert [] == device.said_by_programs()
    device.wants({"a": "b"})
    device.run("ArtifactInstall")
    device.said_by_programs()
    assert [0] == device.run("--apply-only")
    assert [f'10-a 1 {device.file} {{"a": "b"}}'] == device.said_by_programs()


def test_power_cuts(device: Configured, tmp_path: Path) -> None:
    """Wherever the power fails during the installation, the rollback ends with the old configuration."""
    device.wants({"a": "old"})
    device.run(*FORTH)
    change, has_failed = 0, True
    while has_failed:
        device.wants({"a": "new"})
        device.cut_power_at(change)
        device.run("ArtifactInstall")
        has_failed = device.restore_power()
        assert json.loads(device.file.read_text()) in ({"a": "old"}, {"a": "new"})
        assert [0, 0] == device.run("ArtifactRollback", "Cleanup"), device.said
        assert {"a": "old"} == json.loads(device.file.read_text())
        change += 1
    assert change > 3
