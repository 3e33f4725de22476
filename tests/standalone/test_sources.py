"""The sources of an Artifact, and the cases that are refused before anything is started."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

import forking
from app.artifact_program import P256, key_pair
from core.artifact.forge import tar_file
from keys import RSA
from system.rawserver import RawServer, answer, raw
from waiting import PATIENCE_S

from .bench import NEW, OLD, Bench
from .test_way import BEGUN, INSTALLED, NOT_COMMITTED, UNTOUCHED

DONE = (0, BEGUN + NOT_COMMITTED)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A device."""
    return Bench(tmp_path, is_scripted=True)


def _is_untouched(bench: Bench) -> bool:
    return (bench.calls(), bench.position(), bench.provides(), bench.has_tree) == ([], None, OLD, False)


def test_standard_input(bench: Bench) -> None:
    """``-`` reads the Artifact from standard input, a pipe."""
    content = bench.artifact().read_bytes()
    argv = [str(forking.program()), "--root", str(bench.root), "install", "-"]
    done = subprocess.run(argv, input=content, capture_output=True, timeout=PATIENCE_S, check=False)
    assert (*DONE, INSTALLED) == (done.returncode, done.stdout.decode(), bench.calls())


def test_standard_input_is_the_clients_alone(bench: Bench) -> None:
    """Modules and scripts get nothing on standard input, which contains the Artifact."""
    module = bench.root / "usr/share/mender/modules/v3/app"
    module.write_text(module.read_text().replace("exit 0\n", 'head -c 1 >>"$out/found"\nexit 0\n'))
    content = bench.artifact(files=[("file", os.urandom(1_000_000))]).read_bytes()
    argv = [str(forking.program()), "--root", str(bench.root), "install", "-"]
    done = subprocess.run(argv, input=content, capture_output=True, timeout=PATIENCE_S, check=False)
    assert (*DONE, b"") == (done.returncode, done.stdout.decode(), (bench.out / "found").read_bytes())


def test_address(bench: Bench) -> None:
    """An http URL is downloaded, without a token."""
    content = bench.artifact().read_bytes()
    with RawServer(raw(answer(content))) as server:
        assert DONE == bench.does("install", f"{server.url}/a.mender?x=1")
    assert b"authorization" not in server.requests[0].lower()
    assert INSTALLED == bench.calls()


def test_output_is_on_standard_error(bench: Bench) -> None:
    """The output of modules and scripts is logged on standard error; standard output has only the command's text."""
    bench.answers("ArtifactInstall", "hello from the module\n")
    done = bench.run("install", bench.artifact())
    assert DONE == (done.returncode, done.stdout)
    assert "hello from the module" in done.stderr


@pytest.mark.parametrize(
    "source", ["missing.mender", "", "ftp://host/a.mender", "http://", "http://127.0.0.1:9/a.mender"]
)
def test_nothing_there(bench: Bench, source: str) -> None:
    """A source that can't be opened changes nothing."""
    assert (1, UNTOUCHED) == bench.does("install", source)
    assert _is_untouched(bench)


def test_download_that_breaks_off(bench: Bench) -> None:
    """A download that breaks off is resumed without the module noticing."""
    content = bench.artifact(files=[("file", os.urandom(100_000))]).read_bytes()

    def script(server: RawServer, connection: socket.socket) -> None:
        request = server.read_request(connection)
        if b"Range: bytes=" not in request:
            connection.sendall(answer(content, 'ETag: "1"')[: -len(content) // 2])
            return
        begin = int(request.partition(b"Range: bytes=")[2].partition(b"-")[0])
        where = f"Content-Range: bytes {begin}-{len(content) - 1}/{len(content)}"
        connection.sendall(answer(content[begin:], where, 'ETag: "1"', status=206))

    with RawServer(script) as server:
        assert DONE == bench.does("install", f"{server.url}/a.mender")
    assert (2, INSTALLED) == (len(server.requests), bench.calls())


@pytest.mark.parametrize("status", [404, 403, 500])
def test_refused_address(bench: Bench, status: int) -> None:
    """A download that the server refuses fails, and nothing is modified."""
    with RawServer(raw(answer(b"no", status=status))) as server:
        assert (1, UNTOUCHED) == bench.does("install", f"{server.url}/a.mender")
    assert _is_untouched(bench)


@pytest.mark.parametrize("content", [b"", b"hello", bytes(4096)])
def test_no_artifact(bench: Bench, content: bytes) -> None:
    """A file that isn't an Artifact is refused before the installation is announced."""
    path = bench.root / "file"
    path.write_bytes(content)
    assert (1, UNTOUCHED) == bench.does("install", path)
    assert _is_untouched(bench)


@pytest.mark.parametrize(
    "parts",
    [
        {"info": {"artifact_depends": {"device_type": ["other"]}}},
        {"info": {"artifact_depends": {"device_type": ["board"], "artifact_name": ["other"]}}},
        {"info": {"artifact_depends": {"device_type": ["board"], "artifact_group": ["any"]}}},
        {"type_info": {"artifact_depends": {"app.version": "2"}}},
        {"type_info": {"artifact_depends": {"missing": "1"}}},
        {"type_info": {"artifact_depends": {"app.version": ["2", "3"]}}},
        {"scripts": [("ArtifactInstall_Begin_00", b"")]},
        {"files": [("a b", b"x")]},
    ],
)
def test_refused_artifact(bench: Bench, parts: dict[str, Any]) -> None:
    """An unsuitable Artifact is refused once its header has been read, before anything is started."""
    assert (1, BEGUN + UNTOUCHED) == bench.does("install", bench.artifact(**parts))
    assert _is_untouched(bench)


@pytest.mark.parametrize("payload_type", ["../x", "/bin/true", "..", "a/b"])
def test_type_that_leads_out(bench: Bench, payload_type: str) -> None:
    """A payload type with a path out of the modules' directory is refused before anything is started."""
    artifact = bench.artifact(info={"payloads": [{"type": payload_type}]}, type_info={"type": payload_type})
    assert (1, BEGUN + UNTOUCHED) == bench.does("install", artifact)
    assert _is_untouched(bench)


def test_no_module(bench: Bench) -> None:
    """Without a module for the payload type the first call fails, and nothing is modified."""
    artifact = bench.artifact(info={"payloads": [{"type": "nobody"}]}, type_info={"type": "nobody"})
    done = bench.run("install", artifact)
    assert (1, f"{BEGUN}Streaming failed.\nSystem not modified. Cleanup failed.\n") == (done.returncode, done.stdout)
    assert ["Download_Enter", "Download_Error"] == bench.calls()
    assert "cannot use update module nobody" in done.stderr
    assert _is_untouched(bench)


def test_two_payloads(bench: Bench) -> None:
    """An Artifact with two payloads is refused."""
    assert (1, UNTOUCHED) == bench.does("install", bench.artifact(info={"payloads": [{"type": "app"}] * 2}))
    assert _is_untouched(bench)


def test_wrong_digest(bench: Bench) -> None:
    """A payload that doesn't match the manifest fails during the download, which is cleaned up."""
    artifact = bench.artifact(payload=bytes(tar_file("file", b"another") + bytes(1024)))
    assert (1, BEGUN + UNTOUCHED) == bench.does("install", artifact)
    assert ["Download_Error", "Cleanup"] == bench.calls()[-2:]
    assert _is_untouched(bench)


def test_cut_artifact(bench: Bench) -> None:
    """A truncated Artifact fails during the download, which is cleaned up."""
    path = bench.artifact(files=[("file", os.urandom(8192))])
    path.write_bytes(path.read_bytes()[:-4096])
    assert (1, BEGUN + UNTOUCHED) == bench.does("install", path)
    assert ["Download_Error", "Cleanup"] == bench.calls()[-2:]
    assert _is_untouched(bench)


@pytest.mark.parametrize("depends", [{"app.version": "1"}, {"app.version": ["3", "1"]}, {"artifact_name": "old"}])
def test_depends_that_are_met(bench: Bench, depends: dict[str, object]) -> None:
    """An Artifact can depend on what the device provides, with one value or a list."""
    artifact = bench.artifact(type_info={"artifact_depends": depends, "artifact_provides": {"app.version": "2"}})
    assert DONE == bench.does("install", artifact)


def test_empty_payload(bench: Bench) -> None:
    """An Artifact without payload is committed immediately, without module and scripts."""
    words = "Artifact with empty payload. Committing immediately.\nInstalled and committed.\n"
    assert (0, BEGUN + words) == bench.does("install", _empty(bench))
    assert ([], None, False) == (bench.calls(), bench.position(), bench.has_tree)
    assert {**NEW, "app.version": "3"} == bench.provides()


def test_empty_payload_that_does_not_fit(bench: Bench) -> None:
    """The depends of an Artifact without payload are checked as well."""
    assert (1, BEGUN + UNTOUCHED) == bench.does("install", _empty(bench, device_type="other"))
    assert _is_untouched(bench)


def _empty(bench: Bench, device_type: str = "board") -> Path:
    return bench.artifact(
        info={"payloads": [{"type": None}], "artifact_depends": {"device_type": [device_type]}},
        type_info={"type": None, "artifact_provides": {"app.version": "3"}, "clears_artifact_provides": ["app.*"]},
        files=(),
        scripts=(),
    )


def test_signature(bench: Bench, tmp_path: Path) -> None:
    """With a verification key, only an Artifact that is signed with the matching private key can be installed."""
    artifact = bench.artifact()
    private, public = key_pair(tmp_path, "good", P256)
    other, _ = key_pair(tmp_path, "other", RSA)
    config = {"ServerURL": "https://unused.example", "ArtifactVerifyKey": str(public)}
    (bench.root / "etc/mender/mender.conf").write_text(json.dumps(config))
    assert (1, UNTOUCHED) == bench.does("install", artifact)
    for key, ending in ((other, (1, UNTOUCHED)), (private, DONE)):
        signed = tmp_path / f"{key.stem}.mender"
        assert 0 == bench.run("artifact", "sign", "-k", key, "-o", signed, artifact).returncode
        assert ending == bench.does("install", signed)


def test_several_files(bench: Bench) -> None:
    """Files that the module doesn't take as a stream are in the tree when it installs."""
    files = [("one", b"1"), ("two", os.urandom(70_000)), ("empty", b"")]
    assert DONE == bench.does("install", bench.artifact(files=files))
    tree = bench.data / "modules/v3/payloads/0000/tree"
    assert dict(files) == {path.name: path.read_bytes() for path in (tree / "files").iterdir()}
    assert ("old\n", "new") == (
        (tree / "current_artifact_name").read_text(),
        (tree / "header/artifact_name").read_text(),
    )
