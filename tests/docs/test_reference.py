"""The reference matches the code: no key, command, exit code or state is missing or obsolete."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mender_client.app.assemble import DeviceParts
from mender_client.app.config import ACCEPTED_KEYS, KEYS, RETIRED_KEYS, load_config
from mender_client.app.exitcodes import ExitCode
from mender_client.app.host import Host
from mender_client.app.paths import Paths
from mender_client.core.machine import ENDS, RESUME, TRANSITIONS, Event, Flow, InstallerState, State
from mender_client.core.model import Deployment, Link
from mender_client.core.update import ProcessRef
from mender_client.installers.sub_updater import SubUpdaterInstaller

from .pages import PROJECT, prose, row

REFERENCE = PROJECT / "docs/reference"
TOOL = PROJECT / "tools/reference.py"
EXIT_CODES = REFERENCE / "exit-codes.md"
FILES = REFERENCE / "files.md"


def interpreters() -> list[str]:
    """This Python, and the oldest and the newest of the other supported versions that are installed here."""
    found: dict[int, str] = {}
    for minor in range(10, 20):
        managed = [str(path) for path in sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))]
        on_path = shutil.which(f"python3.{minor}")
        # a shim exists even if that version isn't installed
        if paths := managed + ([on_path] if on_path and "shims" not in on_path else []):
            found[minor] = paths[-1]
    return list(dict.fromkeys([sys.executable, *list(found.values())[:1], *list(found.values())[-1:]]))


@pytest.mark.parametrize("python", interpreters())
@pytest.mark.parametrize("columns", ["30", "200"])
def test_generated_pages_are_fresh(python: str, columns: str) -> None:
    """``python tools/reference.py`` would change nothing, with any Python and any width of the terminal."""
    result = subprocess.run(
        [python, str(TOOL), "--check"],
        env={"COLUMNS": columns, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ("", 0) == (result.stderr, result.returncode)


@pytest.mark.parametrize("name", [*(key.name for key in KEYS), *ACCEPTED_KEYS, *RETIRED_KEYS])
def test_every_key_has_its_place(name: str) -> None:
    """Every key that the parser knows is on the configuration page."""
    assert f"`{name}`" in prose(REFERENCE / "configuration.md")


@pytest.mark.parametrize("code", ExitCode, ids=lambda code: code.name)
def test_every_exit_code_has_its_place(code: ExitCode) -> None:
    """Every exit code is in the table, with its name."""
    assert f"`{code.name}`" == row(EXIT_CODES, str(code.value))[1]


def test_no_exit_code_is_invented() -> None:
    """The table has no code that the program doesn't use."""
    table = prose(EXIT_CODES).partition("| code |")[2].partition("\n\n")[0]
    listed = [line.split(" | ")[0].strip("| ") for line in table.splitlines()[2:]]
    assert [str(code.value) for code in ExitCode] == listed


class _Spawned(Exception):
    """Ends the hand-over before a process is started."""


class _Processes:
    """Records the environment that a sub-updater would get."""

    def __init__(self) -> None:
        self.variables: Mapping[str, str] = {}

    def spawn(self, argv: object, variables: Mapping[str, str]) -> ProcessRef:
        self.variables = variables
        raise _Spawned

    def has_spawned(self) -> bool:
        return False

    def is_alive(self, process: ProcessRef) -> bool:
        return False

    def age_seconds(self, process: ProcessRef) -> float:
        """How long it runs."""
        return process.age_seconds("this-boot", 100.0, 100)

    def stop(self, process: ProcessRef | None, variable: str, value: str, *, is_forced: bool) -> bool:
        return False

    def find(self, variable: str, value: str) -> ProcessRef | None:
        return None


def test_every_variable_of_the_sub_updater_has_its_place(tmp_path: Path) -> None:
    """The environment that the program builds for a sub-updater is the one that both pages list."""
    (tmp_path / "etc/mender").mkdir(parents=True)
    (tmp_path / "etc/mender/mender.conf").write_text('{"ServerURL": "http://127.0.0.1"}')
    paths = Paths.locate(root=str(tmp_path))
    config = load_config(paths.config, paths.fallback_config).config
    parts = DeviceParts(Host(config, paths), config, paths)
    installer = parts.installer
    assert isinstance(installer, SubUpdaterInstaller)
    processes = _Processes()
    ours = replace(installer, processes=processes, find_problem=lambda _: None)
    with pytest.raises(_Spawned):
        ours.install(Deployment("d", "a", (), Link("")), paths.artifact)
    for page in (FILES, PROJECT / "docs/guide/sub-updater.md"):
        assert [] == [variable for variable in processes.variables if f"`{variable}`" not in prose(page)]


def test_every_file_has_its_place() -> None:
    """Each path that the program determines is on the page about files."""
    paths = Paths.locate()
    located = [getattr(paths, key) for key, value in vars(Paths).items() if isinstance(value, property)]
    located = [path for path in located if isinstance(path, Path)]
    text = prose(FILES)
    missing = [path for path in located if str(path).replace("/var/lib/mender", "<datadir>") not in text]
    assert [] == missing


def test_architecture_tells_where_a_restarted_client_goes_on() -> None:
    """The resumption table in ARCHITECTURE.md is that of the code."""
    table = prose(PROJECT / "ARCHITECTURE.md").partition("| last state |")[2].partition("\n\n")[0]
    rows = [[cell.strip(" |`") for cell in line.split(" | ")] for line in table.splitlines()[2:]]
    told = {first: [cell.split("`")[0] for cell in rest] for first, *rest in rows}
    assert {
        state.value: [there[sight].value for sight in InstallerState] for state, there in RESUME[Flow.HANDOVER].items()
    } == told


HANDED_OVER = [(Flow.HANDOVER, state) for state in TRANSITIONS[Flow.HANDOVER] if state not in ENDS]
INSTALLED = [(Flow.MODULES, state) for state in TRANSITIONS[Flow.MODULES] if state not in TRANSITIONS[Flow.HANDOVER]]


@pytest.mark.parametrize(("flow", "state"), HANDED_OVER + INSTALLED, ids=str)
def test_architecture_tells_what_leads_out_of_a_state(flow: Flow, state: State) -> None:
    """The state tables in ARCHITECTURE.md list every next state except the failure after a state loop."""
    cell = row(PROJECT / "ARCHITECTURE.md", f"`{state.value}`")[-1]
    named = {one for one in State if f"`{one.value}`" in cell}
    assert {after for event, after in TRANSITIONS[flow][state].items() if event is not Event.LOOP} == named
