"""``artifact write single-file`` and similar commands write what the update modules of these names expect."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from app.artifact_program import Run, described, make_run, payload_of
from modules.module import Module
from support.device import Shell

COMMON = ("-n", "release-2", "-t", "board-a")
DASH = Shell("/bin/sh", "/usr/bin:/bin")


@pytest.fixture
def run(capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Return a function that runs one command."""
    return make_run(capsysbinary)


def write(run: Run, tmp_path: Path, kind: str, *words: str | Path) -> Path:
    """Write an Artifact, and return its path."""
    out = tmp_path / f"{kind}.mender"
    done = run("write", kind, *COMMON, "-o", out, *words)
    assert (0, b"", "") == (done.code, done.out, done.err)
    return out


def installed(run: Run, tmp_path: Path, artifact: Path) -> Module:
    """Install the payload of an Artifact with the shipped update module of its type, and return the module."""
    payload = tmp_path / "payload"
    payload.mkdir()
    files = payload_of(run, artifact, payload)
    module = Module(described(run, artifact)["payloads"][0]["type"], tmp_path / "module", DASH)
    module.begin({file.name: file for file in files})
    assert [0] * 4 == module.run("Download", "ArtifactInstall", "ArtifactCommit", "Cleanup"), module.said
    return module


@pytest.mark.parametrize("kind", ["single-file", "directory", "script", "deb", "docker-compose"])
def test_provides_and_clears(run: Run, tmp_path: Path, kind: str) -> None:
    """Type, provides, depends and clears are the same as those ``module-image`` writes for the same files."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.deb").write_text("#!/bin/sh\n")
    (source / "compose.yaml").write_text("services: {}\n")
    words: dict[str, tuple[str | Path, ...]] = {
        "single-file": ("-f", source / "a.deb", "--dest-dir", "/opt"),
        "directory": ("-f", source, "--dest-dir", "/opt"),
        "script": ("-f", source / "a.deb"),
        "deb": ("-f", source / "a.deb"),
        "docker-compose": ("-f", source, "--project-name", "web"),
    }
    more = ("--provides", "app.channel:stable", "--depends", "rootfs-image.version:1", "--software-version", "2.0")
    ours = write(run, tmp_path, kind, *words[kind], *more)
    payload = tmp_path / "payload"
    payload.mkdir()
    files = payload_of(run, ours, payload)
    theirs = write(run, tmp_path, "module-image", "-T", kind, "-f", *files, *more)
    assert described(run, theirs) == described(run, ours)
    assert {f"rootfs-image.{kind}.version": "2.0", "app.channel": "stable"} == described(run, ours)["payloads"][0][
        "provides"
    ]


def test_single_file(run: Run, tmp_path: Path) -> None:
    """The module installs the file with its name and mode."""
    file, target = tmp_path / "app.py", tmp_path / "device/opt"
    file.write_text("print()")
    file.chmod(0o754)
    artifact = write(run, tmp_path, "single-file", "-f", file, "--dest-dir", str(target))
    names = [one["name"] for one in described(run, artifact)["payloads"][0]["files"]]
    assert ["dest_dir", "filename", "permissions", "app.py"] == names
    installed(run, tmp_path, artifact)
    assert ("print()", 0o754) == ((target / "app.py").read_text(), (target / "app.py").stat().st_mode & 0o7777)


def test_directory(run: Run, tmp_path: Path) -> None:
    """The module installs the directory's contents, including links and empty directories, all owned by root."""
    source, target = tmp_path / "source", tmp_path / "device/www"
    (source / "empty").mkdir(parents=True)
    (source / "z").write_text("z")
    (source / "link").symlink_to("z")
    os.utime(source / "z", (1000.5, 1000.5))
    artifact = write(run, tmp_path, "directory", "-f", source, "--dest-dir", str(target))
    installed(run, tmp_path, artifact)
    assert ["empty", "link", "z"] == sorted(os.listdir(target))
    assert "z" == os.readlink(target / "link")
    with tarfile.open(tmp_path / "payload/update.tar") as archive:
        members = archive.getmembers()
    assert [".", "./empty", "./link", "./z"] == [member.name for member in members]
    assert {(0, 0, "root", "root")} == {(one.uid, one.gid, one.uname, one.gname) for one in members}
    first = artifact.read_bytes()
    assert first == write(run, tmp_path, "directory", "-f", source, "--dest-dir", str(target)).read_bytes()


def test_script(run: Run, tmp_path: Path) -> None:
    """The module runs the scripts in the order of their names."""
    scripts = []
    for name in ("20-b", "10-a"):
        scripts.append(tmp_path / name)
        scripts[-1].write_text(f'#!/bin/sh\necho {name} >>"{tmp_path}/ran"\n')
    installed(run, tmp_path, write(run, tmp_path, "script", "-f", *scripts))
    assert "10-a\n20-b\n" == (tmp_path / "ran").read_text()


def test_docker_compose(run: Run, tmp_path: Path) -> None:
    """Manifests are packed; images are optional, and get the name that the module loads."""
    source, images = tmp_path / "web", tmp_path / "web-images-2.tar"
    source.mkdir()
    (source / "compose.yml").write_text("services: {}\n")
    images.write_text("images")
    words = ("-f", source, "--project-name", "web")
    artifact = write(run, tmp_path, "docker-compose", *words, "--images", images)
    payload = {file.name: file for file in payload_of(run, artifact, tmp_path)}
    assert ["project_name", "manifests.tar", "images.tar"] == list(payload)
    assert ("web\n", "images") == (payload["project_name"].read_text(), payload["images.tar"].read_text())
    with tarfile.open(payload["manifests.tar"]) as archive:
        assert [".", "./compose.yml"] == archive.getnames()
    files = described(run, write(run, tmp_path, "docker-compose", *words))["payloads"][0]["files"]
    assert ["project_name", "manifests.tar"] == [file["name"] for file in files]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("single-file", "-f", "app", "--dest-dir", "opt"), "[ART53]"),
        (("single-file", "-f", "dest_dir", "--dest-dir", "/opt"), "[ART50]"),
        (("single-file", "-f", "nothing", "--dest-dir", "/opt"), "cannot read nothing"),
        (("single-file", "-f", ".", "--dest-dir", "/opt"), "[ART43]"),
        (("directory", "-f", "app", "--dest-dir", "/opt"), "[ART57]"),
        (("directory", "-f", "nothing", "--dest-dir", "/opt"), "cannot read nothing"),
        (("directory", "-f", ".", "--dest-dir", "./opt"), "[ART53]"),
        (("deb", "-f", "a.deb", "app"), "[ART54]"),
        (("docker-compose", "-f", ".", "--project-name", "Web"), "[ART55]"),
        (("docker-compose", "-f", ".", "--project-name", "web"), "[ART56]"),
    ],
)
def test_what_a_module_would_refuse(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], why: str
) -> None:
    """The Artifact isn't written, and the message gives the reason."""
    for name in ("app", "dest_dir", "a.deb"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    done = run("write", *words, *COMMON, "-o", "out.mender")
    assert (1, b"") == (done.code, done.out)
    assert why in done.err
    assert not (tmp_path / "out.mender").exists()
