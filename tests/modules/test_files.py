"""The modules single-file and directory: whatever fails, the old or the new version is there as a whole."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.device import Shell

from .module import Module

FORTH = ("Download", "ArtifactInstall", "ArtifactCommit", "Cleanup")
BACK = ("ArtifactRollback", "ArtifactFailure", "Cleanup")

Content = dict[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """An update by a module.

    Attributes:
        module: the installed module.
        target: the path that it replaces.
        payload: the update.
    """

    module: Module
    target: Path
    payload: dict[str, str | bytes | Path]

    @property
    def content(self) -> Content | None:
        """The files at the target with their content; None without a target."""
        if not self.target.exists():
            return None
        if self.target.is_file():
            return {"": self.target.read_text()}
        return {
            str(file.relative_to(self.target)): file.read_text() for file in self.target.rglob("*") if file.is_file()
        }

    @property
    def strangers(self) -> list[str]:
        """The unexpected files next to the target."""
        return [file.name for file in self.target.parent.iterdir() if file.name not in (self.target.name, "neighbour")]


def single_file(place: Path, shell: Shell, parent: str = "my app") -> Case:
    """A file that is replaced, in a directory whose name has a space."""
    target = place / parent / "app.conf"
    target.parent.mkdir(parents=True)
    (target.parent / "neighbour").write_text("neighbour")
    payload: dict[str, str | bytes | Path] = {
        "dest_dir": f"{target.parent}\n",
        "filename": target.name,
        "permissions": "640\n",
        target.name: "new",
    }
    return Case(Module("single-file", place / "module", shell), target, payload)


def directory(place: Path, shell: Shell, parent: str = "my app") -> Case:
    """A directory that is replaced, in a directory whose name has a space."""
    source, target = place / "source", place / parent / "www"
    (source / "sub").mkdir(parents=True)
    (source / "index").write_text("new")
    (source / "sub/.hidden").write_text("new")
    with tarfile.open(place / "update.tar", "w") as archive:
        archive.add(source, ".")
    target.parent.mkdir(parents=True)
    (target.parent / "neighbour").write_text("neighbour")
    payload: dict[str, str | bytes | Path] = {"dest_dir": f"{target}/\n", "update.tar": place / "update.tar"}
    return Case(Module("directory", place / "module", shell), target, payload)


@pytest.fixture(params=[single_file, directory])
def case(request: pytest.FixtureRequest, tmp_path: Path, shell: Shell) -> Case:
    """Each module with a target."""
    make: Callable[[Path, Shell], Case] = request.param
    case = make(tmp_path, shell)
    case.module.begin(case.payload)
    return case


def put_old(case: Case) -> Content:
    """Install something first; return its content."""
    if case.module.name == "single-file":
        case.target.write_text("old")
    else:
        case.target.mkdir()
        (case.target / "index").write_text("old")
        (case.target / "only-old").write_text("old")
    old = case.content
    assert old is not None
    return old


def new_of(case: Case) -> Content:
    """The content after the update."""
    return {"": "new"} if case.module.name == "single-file" else {"index": "new", "sub/.hidden": "new"}


def test_answers(case: Case) -> None:
    """The modules need no reboot and support rollback; a state that they don't implement succeeds silently."""
    assert ["No\n", "Yes\n"] == [case.module.ask(query) for query in ("NeedsArtifactReboot", "SupportsRollback")]
    assert "" == case.module.ask("ProvidePayloadFileSizes")
    assert [0, 0] == case.module.run("SomethingNew", "ArtifactVerifyReboot")


@pytest.mark.parametrize("is_there", [True, False])
def test_install(case: Case, is_there: bool) -> None:
    """The content of the Artifact replaces the target, and nothing else is left next to it."""
    if is_there:
        put_old(case)
    assert [0] * 4 == case.module.run(*FORTH), case.module.said
    assert (new_of(case), []) == (case.content, case.strangers)


@pytest.mark.parametrize("is_there", [True, False])
def test_rollback(case: Case, is_there: bool) -> None:
    """A rollback restores the previous content, even if there was none, and can be repeated."""
    old = put_old(case) if is_there else None
    assert [0] * 2 == case.module.run("Download", "ArtifactInstall"), case.module.said
    assert [0] * 4 == case.module.run("ArtifactRollback", *BACK), case.module.said
    assert (old, []) == (case.content, case.strangers)


def test_rollback_without_install(case: Case) -> None:
    """A rollback of an update that was never installed changes nothing."""
    old = put_old(case)
    assert [0] * 4 == case.module.run("Download", *BACK), case.module.said
    assert (old, []) == (case.content, case.strangers)


@pytest.mark.parametrize("is_there", [True, False])
def test_power_cut_while_installing(case: Case, is_there: bool, changes: range) -> None:
    """Wherever the power fails during the installation, the rollback restores the previous content."""
    old = put_old(case) if is_there else None
    for change in changes:
        case.module.begin(case.payload)
        case.module.cut_power_at(change)
        codes = case.module.run("ArtifactInstall")
        is_cut = case.module.restore_power()
        assert ([-9] if is_cut else [0]) == codes
        assert [0] * 3 == case.module.run(*BACK), case.module.said
        assert (old, []) == (case.content, case.strangers)
        if not is_cut:
            break
    assert change > 5


def test_power_cut_while_rolling_back(case: Case, changes: range) -> None:
    """Wherever the power fails during the rollback, the next one completes it."""
    old = put_old(case)
    for change in changes:
        case.module.begin(case.payload)
        case.module.run("ArtifactInstall")
        case.module.cut_power_at(change)
        case.module.run("ArtifactRollback")
        is_cut = case.module.restore_power()
        assert [0] * 3 == case.module.run(*BACK), case.module.said
        assert (old, []) == (case.content, case.strangers)
        if not is_cut:
            break
    assert change > 2


def test_power_cut_while_cleaning_up(case: Case, changes: range) -> None:
    """Wherever the power fails during the clean-up, the new content stays and the next clean-up completes it."""
    for change in changes:
        case.module.begin(case.payload)
        case.module.run("ArtifactInstall", "ArtifactCommit")
        case.module.cut_power_at(change)
        case.module.run("Cleanup")
        is_cut = case.module.restore_power()
        assert [0] == case.module.run("Cleanup")
        assert (new_of(case), []) == (case.content, case.strangers)
        if not is_cut:
            break


def test_install_again_after_a_power_cut(case: Case, changes: range) -> None:
    """An installation that is repeated without a rollback ends with the new content, and can still be rolled back."""
    old = put_old(case)
    for change in changes:
        case.module.begin(case.payload)
        case.module.cut_power_at(change)
        case.module.run("ArtifactInstall")
        is_cut = case.module.restore_power()
        assert [0] == case.module.run("ArtifactInstall"), case.module.said
        assert new_of(case) == case.content
        assert [0] * 3 == case.module.run(*BACK), case.module.said
        assert (old, []) == (case.content, case.strangers)
        if not is_cut:
            break


def test_a_link_stays(case: Case, tmp_path: Path) -> None:
    """If the target is a symbolic link, its destination is replaced and restored."""
    old = put_old(case)
    real = tmp_path / "real" / case.target.name
    real.parent.mkdir()
    case.target.rename(real)
    case.target.symlink_to(real)
    case.module.run("ArtifactInstall")
    assert (True, new_of(case)) == (case.target.is_symlink(), case.content)
    assert [0] * 3 == case.module.run(*BACK), case.module.said
    assert (True, old, []) == (case.target.is_symlink(), case.content, case.strangers)
    assert [case.target.name] == [file.name for file in real.parent.iterdir()]


def test_file_permissions(tmp_path: Path, shell: Shell) -> None:
    """The file gets the permissions in the Artifact, and a rollback restores the old ones."""
    case = single_file(tmp_path, shell)
    put_old(case)
    case.target.chmod(0o604)
    case.module.begin(case.payload)
    case.module.run("ArtifactInstall")
    assert 0o640 == case.target.stat().st_mode & 0o7777
    case.module.run(*BACK)
    assert 0o604 == case.target.stat().st_mode & 0o7777


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("dest_dir", "etc", "must begin with /"),
        ("dest_dir", "", "must begin with /"),
        ("filename", "../passwd", "must be the name of a file"),
        ("filename", "", "must be the name of a file"),
        ("filename", "another", "the payload has no such file"),
        ("permissions", "rw-r--r--", "must be octal"),
        ("permissions", "", "must be octal"),
    ],
)
def test_faulty_file(tmp_path: Path, shell: Shell, name: str, value: str, why: str) -> None:
    """An invalid payload fails before anything changes, and so does one with a missing file."""
    case = single_file(tmp_path, shell)
    old = put_old(case)
    case.module.begin({**case.payload, name: value})
    assert why in case.module.fail()
    case.module.begin({key: content for key, content in case.payload.items() if key != name})
    assert "the payload has no such file" in case.module.fail()
    assert (old, []) == (case.content, case.strangers)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("dest_dir", "www", "must begin with /"),
        ("dest_dir", "//", "cannot replace /"),
        ("update.tar", "not a tar file", "cannot unpack update.tar"),
    ],
)
def test_faulty_directory(tmp_path: Path, shell: Shell, name: str, value: str, why: str) -> None:
    """An invalid payload fails before anything changes, and so does one with a missing file."""
    case = directory(tmp_path, shell)
    old = put_old(case)
    case.module.begin({**case.payload, name: value})
    assert why in case.module.fail()
    case.module.begin({key: content for key, content in case.payload.items() if key != name})
    assert "the payload has no such file" in case.module.fail()
    assert (old, []) == (case.content, case.strangers)


def test_file_in_the_place_of_a_directory(tmp_path: Path, shell: Shell) -> None:
    """The module directory refuses to replace a file, and single-file to replace a directory."""
    one, other = directory(tmp_path / "one", shell), single_file(tmp_path / "other", shell)
    one.target.write_text("a file")
    other.target.mkdir()
    for case, why in ((one, "it is not a directory"), (other, "it is a directory")):
        case.module.begin(case.payload)
        assert why in case.module.fail()
        assert [] == case.strangers


@pytest.mark.parametrize("name", ["single-file", "directory"])
def test_the_stock_module_takes_the_same_payload(tmp_path: Path, name: str) -> None:
    """Mender's own module of this name, if it is installed, has the same effect with the same payload."""
    stock = Path("/usr/share/mender/modules/v3", name)
    if not stock.is_file():
        pytest.skip(f"Mender's {name} isn't installed")
    make = {"single-file": single_file, "directory": directory}[name]
    case = make(tmp_path, Shell("/bin/sh", "/usr/bin:/bin"), "app")  # Mender's module doesn't support a space
    put_old(case)
    case.module.begin(case.payload)
    for state in FORTH:
        subprocess.run([stock, state, case.module.tree], cwd=case.module.tree, check=True)
    assert new_of(case) == case.content
