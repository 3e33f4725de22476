"""The modules script, deb and docker-compose: the programs that they start, and what happens when these fail."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from support.device import Shell

from .module import Module

FORTH = ("Download", "ArtifactInstall", "ArtifactCommit", "Cleanup")
BACK = ("ArtifactRollback", "ArtifactFailure", "Cleanup")


def lines(file: Path) -> list[str]:
    """The lines of a file; none if it doesn't exist."""
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.parametrize("name", ["script", "deb"])
def test_no_rollback(tmp_path: Path, shell: Shell, name: str) -> None:
    """The modules script and deb answer that they need no reboot and support no rollback."""
    module = Module(name, tmp_path / "module", shell)
    assert ["No\n", "No\n"] == [module.ask(query) for query in ("NeedsArtifactReboot", "SupportsRollback")]
    assert "" == module.ask("ProvidePayloadFileSizes")
    assert [0] * 4 == module.run("Download", "SomethingNew", "ArtifactRollback", "Cleanup")


@pytest.mark.parametrize("name", ["script", "deb"])
def test_empty_payload(tmp_path: Path, shell: Shell, name: str) -> None:
    """A payload without files is a failure."""
    module = Module(name, tmp_path / "module", shell)
    module.command("dpkg", "exit 0")
    assert "the payload is empty" in module.fail()


def test_scripts_run_in_order(tmp_path: Path, shell: Shell) -> None:
    """Each script is run once, in the order of the names."""
    module, calls = Module("script", tmp_path / "module", shell), tmp_path / "calls"
    body = f'#!{shell.interpreter}\necho "${{0##*/}} $#" >>"{calls}"\n'
    module.begin(dict.fromkeys(("20-b", "10 a", "Z", "a"), body))
    assert [0] * 4 == module.run(*FORTH), module.said
    assert ["10 a 0", "20-b 0", "Z 0", "a 0"] == lines(calls)


def test_script_that_fails(tmp_path: Path, shell: Shell) -> None:
    """The first script that fails ends the update; the log names it."""
    module, calls = Module("script", tmp_path / "module", shell), tmp_path / "calls"
    module.begin({name: f'#!{shell.interpreter}\necho {name} >>"{calls}"\nexit {code}\n' for name, code in
                  (("1", 0), ("2", 7), ("3", 0))})  # fmt: skip
    assert "script: 2 failed (exit 7)\n" == module.fail()
    assert ["1", "2"] == lines(calls)


def test_packages(tmp_path: Path, shell: Shell) -> None:
    """All packages are passed to one non-interactive dpkg; packages left by an earlier one are configured first."""
    module, calls = Module("deb", tmp_path / "module", shell), tmp_path / "calls"
    module.command("dpkg", f'echo "$DEBIAN_FRONTEND $*" >>"{calls}"')
    module.begin({"b.deb": "", "a.deb": ""})
    assert [0] * 4 == module.run(*FORTH), module.said
    force, files = "noninteractive --force-confdef --force-confold", module.tree / "files"
    assert [f"{force} --configure -a", f"{force} -i {files}/a.deb {files}/b.deb"] == lines(calls)


def test_packages_that_fail(tmp_path: Path, shell: Shell) -> None:
    """If dpkg fails, the update fails, and the packages that were unpacked are configured."""
    module, calls = Module("deb", tmp_path / "module", shell), tmp_path / "calls"
    module.command("dpkg", f'echo "$3" >>"{calls}"\nexit 1')
    module.begin({"a.deb": ""})
    assert "deb: cannot install the packages: see the lines above\n" == module.fail()
    assert ["--configure", "-i", "--configure"] == lines(calls)


def test_file_that_is_no_package(tmp_path: Path, shell: Shell) -> None:
    """A payload with anything else is refused before dpkg is called."""
    module = Module("deb", tmp_path / "module", shell)
    module.command("dpkg", f": >{tmp_path}/called")
    module.begin({"a.deb": "", "notes.txt": ""})
    assert [1] == module.run("ArtifactInstall")
    assert "deb: cannot install notes.txt: its name doesn't end in .deb\n" == module.said
    assert not (tmp_path / "called").exists()


DOCKER = """
place="{place}"
[ "$1" != load ] || {{ echo "load ${{4##*/}}" >>"$place/calls"; [ ! -e "$place/fail-load" ]; exit; }}
[ "$1 $2 $3" = "compose --project-name web" ] || exit 64
shift 3
echo "$1 $(cat compose.yaml)" >>"$place/calls"
case $1 in
    config) [ -s compose.yaml ] ;;
    pull) [ ! -e "$place/fail-pull" ] ;;
    up) cp compose.yaml "$place/running"; [ "$(cat compose.yaml)" != sick ] ;;
    down) rm -f "$place/running" ;;
esac
"""
"""A Docker that records its calls; ``running`` is the running manifest, and the manifest ``sick`` is unhealthy."""


class Compose(Module):
    """The module docker-compose with a Docker that is a script."""

    def __init__(self, place: Path, shell: Shell) -> None:
        super().__init__("docker-compose", place / "module", shell)
        self.docker = place
        self.command("docker", DOCKER.format(place=place))

    def offer(self, manifest: str, **more: str) -> None:
        """Start an update to a manifest."""
        file = self.docker / "manifests.tar"
        with tarfile.open(file, "w") as archive:
            info = tarfile.TarInfo("compose.yaml")
            info.size = len(manifest)
            archive.addfile(info, io.BytesIO(manifest.encode()))
        self.begin({"project_name": "web\n", "manifests.tar": file, **more})

    def install(self, manifest: str) -> None:
        """Update to a manifest, and clear the recorded calls."""
        self.offer(manifest)
        assert [0] * 4 == self.run(*FORTH), self.said
        (self.docker / "calls").unlink()

    @property
    def calls(self) -> list[str]:
        """The calls of Docker."""
        return lines(self.docker / "calls")

    @property
    def running(self) -> list[str]:
        """The running manifest."""
        return lines(self.docker / "running")

    @property
    def stored(self) -> dict[str, str]:
        """The manifests on the device, by directory."""
        place = self.place / "data/docker-compose/web"
        return {found.parent.name: found.read_text() for found in sorted(place.glob("*/compose.yaml"))}


@pytest.fixture
def compose(tmp_path: Path, shell: Shell) -> Compose:
    """The module with its Docker."""
    return Compose(tmp_path, shell)


def test_project_pulled(compose: Compose) -> None:
    """Images that aren't in the payload are pulled before the containers are replaced."""
    assert ["No\n", "Yes\n"] == [compose.ask(query) for query in ("NeedsArtifactReboot", "SupportsRollback")]
    compose.install("one")
    compose.offer("two")
    assert [0] * 4 == compose.run(*FORTH), compose.said
    assert ["config two", "pull two", "up two", "up two"] == compose.calls
    assert (["two"], {"current": "two"}) == (compose.running, compose.stored)


def test_project_loaded(compose: Compose) -> None:
    """Images in the payload are loaded, and nothing is pulled."""
    compose.offer("one", **{"images.tar": "images"})
    assert [0] * 4 == compose.run(*FORTH), compose.said
    assert ["config one", "load images.tar", "up one", "up one"] == compose.calls


@pytest.mark.parametrize(
    ("flag", "why"), [("fail-load", "cannot load images.tar"), ("fail-pull", "cannot pull the images")]
)
def test_no_images(compose: Compose, flag: str, why: str) -> None:
    """If images can't be loaded or pulled, an update fails, and the old containers keep running untouched."""
    compose.install("one")
    (compose.docker / flag).touch()
    compose.offer("two", **({"images.tar": "images"} if flag == "fail-load" else {}))
    assert why in compose.fail()
    assert (["one"], {"current": "one"}) == (compose.running, compose.stored)
    assert not any(call.startswith(("up", "down")) for call in compose.calls)


def test_sick_containers(compose: Compose) -> None:
    """Containers that don't become healthy are replaced by the old ones."""
    compose.install("one")
    compose.offer("sick")
    assert "a container does not run, or is not healthy" in compose.fail()
    assert (["one"], {"current": "one"}) == (compose.running, compose.stored)


def test_sick_containers_of_a_first_update(compose: Compose) -> None:
    """If nothing was installed before, the containers are removed, and nothing is left."""
    compose.offer("sick")
    compose.fail()
    assert ([], {}) == (compose.running, compose.stored)


def test_containers_that_fall_ill_before_the_commit(compose: Compose) -> None:
    """The commit checks the containers again; if that fails, the old ones are restored."""
    compose.install("one")
    compose.offer("two")
    assert [0] == compose.run("ArtifactInstall")
    (compose.place / "data/docker-compose/web/current/compose.yaml").write_text("sick")
    assert "not healthy any more" in compose.fail("ArtifactCommit")
    assert (["one"], {"current": "one"}) == (compose.running, compose.stored)


@pytest.mark.parametrize("is_there", [True, False])
def test_power_cut_in_a_project(compose: Compose, is_there: bool, changes: range) -> None:
    """Wherever the power fails during the installation, the rollback restores the previous project."""
    if is_there:
        compose.install("one")
    old: tuple[list[str], dict[str, str]] = (["one"], {"current": "one"}) if is_there else ([], {})
    for change in changes:
        compose.offer("two")
        compose.cut_power_at(change)
        compose.run("ArtifactInstall")
        is_cut = compose.restore_power()
        assert [0] * 3 == compose.run(*BACK), compose.said
        assert old == (compose.running, compose.stored)
        if not is_cut:
            break
    assert change > 5


def test_power_cut_in_the_rollback_of_a_project(compose: Compose, changes: range) -> None:
    """Wherever the power fails during the rollback, the next one completes it."""
    compose.install("one")
    for change in changes:
        compose.offer("two")
        assert [0] == compose.run("ArtifactInstall")
        compose.cut_power_at(change)
        compose.run("ArtifactRollback")
        is_cut = compose.restore_power()
        assert [0] * 3 == compose.run(*BACK), compose.said
        assert (["one"], {"current": "one"}) == (compose.running, compose.stored)
        if not is_cut:
            break
    assert change > 2


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ({}, "the payload has no such file"),
        ({"project_name": "../web", "manifests.tar": ""}, "cannot use project_name '../web'"),
        ({"project_name": "Web", "manifests.tar": ""}, "cannot use project_name 'Web'"),
        ({"project_name": "web"}, "cannot read manifests.tar"),
        ({"project_name": "web", "manifests.tar": "not a tar file"}, "cannot unpack manifests.tar"),
    ],
)
def test_faulty_project(compose: Compose, payload: dict[str, str | bytes | Path], why: str) -> None:
    """An invalid payload fails before anything changes."""
    compose.install("one")
    compose.begin(payload)
    assert why in compose.fail()
    assert (["one"], {"current": "one"}, []) == (compose.running, compose.stored, compose.calls)


def test_manifests_that_compose_refuses(compose: Compose) -> None:
    """Manifests that Docker Compose refuses fail the update, and the old project stays."""
    compose.install("one")
    compose.offer("")
    assert "cannot use the manifests" in compose.fail()
    assert (["one"], {"current": "one"}) == (compose.running, compose.stored)
