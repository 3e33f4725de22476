"""``artifact write`` and ``sign``: compatible with the reference tool, reproducible and atomic."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from app.artifact_program import DATA, P256, Run, described, key_pair, make_run, payload_of
from keys import RSA

BOARD = ("-t", "qemux86-64")


@pytest.fixture
def run(capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Return a function that runs one command."""
    return make_run(capsysbinary)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A file that serves as a root file system image."""
    path = tmp_path / "rootfs.img"
    path.write_bytes(b"image" * 10_000)
    return path


ROOTFS = {
    "rootfs-none": ("none", ()),
    "rootfs-gzip": ("gzip", ()),
    "rootfs-lzma": ("xz", ()),
    "rootfs-zstd_better": ("zstd", ()),
    "signed-rsa": ("gzip", ("-t", "raspberrypi4")),
    "signed-ecdsa": ("gzip", ()),
}


@pytest.mark.parametrize("name", ROOTFS)
def test_root_file_systems_read_as_the_reference_tool_s(run: Run, tmp_path: Path, name: str) -> None:
    """The same inputs give the same description, including checksums and default provides and clears."""
    expected = described(run, DATA / f"{name}.mender")
    (file,) = payload_of(run, DATA / f"{name}.mender", tmp_path)
    compression, words = ROOTFS[name]
    out = tmp_path / "out.mender"
    signing = ("-k", key_pair(tmp_path, "key", RSA)[0]) if expected["signed"] else ()
    words = (*words, "-f", str(file), "-o", str(out), "--compression", compression)
    done = run("write", "rootfs-image", "-n", name, *BOARD, *words, *signing)
    assert (0, b"", "") == (done.code, done.out, done.err)
    assert expected == described(run, out)


MODULES: dict[str, tuple[str, ...]] = {
    "module-files-scripts-meta": ("-n", "module-single-file", "-T", "single-file"),
    "empty-payload-file": ("-n", "empty-file", "-T", "empty-file"),
    "no-provides-fields": (
        "-n", "no-default-provides", "-T", "no-default-provides",
        "--no-default-software-version", "--no-default-clears-provides",
    ),
    "depends-provides": (
        "-n", "depends-provides", "-T", "app", "--provides", "app.version:2.1",
        "--depends", "rootfs-image.checksum:abc", "--clears-provides", "app.*", "-N", "old-1",
        "--artifact-name-depends", "old-2",
        "--depends-groups", "group1", "--provides-group", "group2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_modules_read_as_the_reference_tool_s(run: Run, tmp_path: Path, name: str) -> None:
    """Files, scripts, meta-data, provides, depends, groups and clears are set by the reference tool's options."""
    expected = described(run, DATA / f"{name}.mender")
    files = payload_of(run, DATA / f"{name}.mender", tmp_path)
    words = ["-f", *map(str, files)] if files else []
    meta_data = expected["payloads"][0]["meta_data"]
    if meta_data is not None:
        (tmp_path / "meta.json").write_text(json.dumps(meta_data))
        words += ["--meta-data", str(tmp_path / "meta.json")]
    for script in expected["scripts"]:
        (tmp_path / script["name"]).write_text("#!/bin/sh\nexit 0\n")
        words += ["--script", str(tmp_path / script["name"])]
    done = run("write", "module-image", *MODULES[name], *BOARD, *words, "-o", tmp_path / "out.mender")
    assert (0, "") == (done.code, done.err)
    assert expected == described(run, tmp_path / "out.mender")


def test_an_artifact_without_payload_reads_as_the_reference_tool_s(run: Run, tmp_path: Path) -> None:
    """A bootstrap Artifact only contains what the device provides."""
    words = ("-n", "bootstrap", "-p", "rootfs-image.version:v1", "--clears-provides", "rootfs-image.*")
    assert 0 == run("write", "bootstrap-artifact", *words, *BOARD, "-o", tmp_path / "out").code
    assert described(run, DATA / "bootstrap-no-payload.mender") == described(run, tmp_path / "out")


OF_AN_OLD_IMAGE = ["artifact_group", "rootfs_image_checksum", "rootfs-image.*"]


@pytest.mark.parametrize(
    ("words", "provides", "clears"),
    [
        ((), {"rootfs-image.version": "n"}, OF_AN_OLD_IMAGE),
        (("--software-name", "boot"), {"rootfs-image.boot.version": "n"}, ["rootfs-image.boot.*"]),
        (("--software-filesystem", "data"), {"data.version": "n"}, ["data.*"]),
        (("--software-version", "7"), {"rootfs-image.version": "7"}, OF_AN_OLD_IMAGE),
        (("--software-version", "7", "--no-default-software-version"), {"rootfs-image.version": "7"}, None),
        (("--no-default-software-version", "--clears-provides", "x"), None, ["x"]),
        (("-p", "rootfs-image.version:own"), {"rootfs-image.version": "own"}, OF_AN_OLD_IMAGE),
    ],
)
def test_the_software_s_version(
    run: Run, tmp_path: Path, image: Path, words: tuple[str, ...], provides: dict[str, str] | None, clears: Any
) -> None:
    """The default provides and clears follow from the software's file system, name and version, unless overridden."""
    common = ("-n", "n", *BOARD, "-f", image, "-o", tmp_path / "out", "--no-checksum-provide")
    assert 0 == run("write", "rootfs-image", *common, *words).code
    payload = described(run, tmp_path / "out")["payloads"][0]
    assert (provides, clears) == (payload["provides"], payload["clears"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lzma", ("--compression", "lzma")),
        (
            "depends",
            (
                "-N",
                "release-1",
                "-N",
                "release-0",
                "-G",
                "group-1",
                "-G",
                "group-2",
                "--depends",
                "a:1",
                "--depends",
                "b:2",
            ),
        ),
        ("provides", ("-g", "group-3", "-p", "c:3", "-p", "d:4")),
        ("clears", ("--clears-provides", "x.*", "--clears-provides", "y")),
        ("no-checksum", ("--no-checksum-provide",)),
        ("no-default-clears", ("--no-default-clears-provides",)),
        ("no-version", ("--no-default-software-version",)),
        (
            "bare",
            ("--no-checksum-provide", "--no-default-clears-provides", "--no-default-software-version"),
        ),
        ("software", ("--software-filesystem", "data", "--software-name", "app", "--software-version", "5")),
        ("two-types", ("-t", "other-board")),
    ],
)
def test_options_do_what_those_of_mender_artifact_do(
    run: Run, tmp_path: Path, name: str, words: tuple[str, ...]
) -> None:
    """The description is the same as with the same options of mender-artifact 3.9.0."""
    sample = DATA / "mender-artifact-3.9.0" / f"{name}.mender"
    (image,) = payload_of(run, sample, tmp_path)
    common = ("-n", "release-2", "-t", "board", "-f", image, "-o", tmp_path / "out")
    assert 0 == run("write", "rootfs-image", *common, *words).code
    assert described(run, sample) == described(run, tmp_path / "out")


@pytest.mark.skipif(shutil.which("mender-artifact") is None, reason="mender-artifact isn't installed")
@pytest.mark.parametrize("compression", ["none", "gzip", "xz"])
@pytest.mark.parametrize("key", [RSA, P256])
def test_mender_artifact_validates_ours(
    run: Run, tmp_path: Path, image: Path, compression: str, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
) -> None:
    """The reference tool accepts an Artifact written here, and its signature."""
    private, public = key_pair(tmp_path, "key", key)
    words = (
        "-n",
        "n",
        *BOARD,
        "-f",
        image,
        "-k",
        private,
        "--compression",
        compression,
        "--depends",
        "a:1",
        "-p",
        "b:2",
    )
    assert 0 == run("write", "rootfs-image", *words, "-o", tmp_path / "out.mender").code
    done = subprocess.run(
        ["mender-artifact", "validate", "-k", public, tmp_path / "out.mender"], capture_output=True, text=True
    )
    assert "validated successfully" in done.stdout + done.stderr


@pytest.mark.parametrize("compression", ["xz", "zstd"])
def test_an_image_of_mostly_zeros_is_written(
    run: Run, tmp_path: Path, image: Path, compression: str, is_nightly: bool
) -> None:
    """However well it compresses, the Artifact is accepted when it is read back."""
    size = (130 if is_nightly else 13) << 20
    os.truncate(image, size)
    common = ("-n", "n", *BOARD, "-f", image, "-o", tmp_path / "out", "--compression", compression)
    assert 0 == run("write", "rootfs-image", *common).code
    assert size == described(run, tmp_path / "out")["payloads"][0]["files"][0]["size"]


def test_several_values_of_one_depends(run: Run, tmp_path: Path) -> None:
    """A repeated key adds an alternative value; a value may contain colons."""
    words = ("--depends", "a:1", "--depends", "a:2:3", "--depends", "b:")
    assert 0 == run("write", "module-image", "-n", "n", "-T", "app", *BOARD, *words, "-o", tmp_path / "out").code
    assert {"a": ["1", "2:3"], "b": [""]} == described(run, tmp_path / "out")["payloads"][0]["depends"]


@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "zstd"])
def test_the_same_input_gives_the_same_bytes(run: Run, tmp_path: Path, image: Path, compression: str) -> None:
    """The time, the output's name, the input's times and modes, and randomness in RSA don't affect the Artifact."""
    key, _ = key_pair(tmp_path, "key", RSA)
    contents = []
    for turn in range(2):
        os.utime(image, (turn * 1000, turn * 1000))
        image.chmod(0o600 + turn)
        out = tmp_path / f"out-{turn}"
        words = ("-n", "n", *BOARD, "-f", image, "-o", out, "--compression", compression, "-k", key)
        assert 0 == run("write", "rootfs-image", *words).code
        contents.append(out.read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize("kind", ["RSA", "P-256"])
def test_write_verify_sign_verify(run: Run, tmp_path: Path, image: Path, kind: str) -> None:
    """An Artifact can be signed when it is written or later, and signed again; the payload is unchanged."""
    key, public = key_pair(tmp_path, "key", RSA if kind == "RSA" else P256)
    other_key, other_public = key_pair(tmp_path, "other", P256 if kind == "RSA" else RSA)
    plain, signed, later = tmp_path / "plain", tmp_path / "signed", tmp_path / "later"
    words = ("write", "rootfs-image", "-n", "n", *BOARD, "-f", image)
    assert 0 == run(*words, "-o", plain).code
    assert 0 == run(*words, "-o", signed, "--key", key).code
    assert (1, 0) == (run("verify", plain, "-k", public).code, run("verify", signed, "-k", public).code)

    assert 0 == run("sign", plain, "--key", key, "-o", later).code
    assert b"not signed" in run("verify", plain).out
    assert f"signed with the key of {public}".encode() in run("verify", later, "-k", public).out
    if kind == "RSA":
        assert signed.read_bytes() == later.read_bytes()

    done = run("sign", later, "--key", other_key)
    assert (0, b"", "") == (done.code, done.out, done.err)
    assert (1, 0) == (run("verify", later, "-k", public).code, run("verify", later, "-k", other_public).code)
    assert image.read_bytes() == run("cat", later).out
    assert {**described(run, plain), "signed": True} == described(run, later)


def test_sign_keeps_links_and_modes(run: Run, tmp_path: Path) -> None:
    """A symbolic link is followed, its target keeps its permissions, and no other file is left in the directory."""
    key, public = key_pair(tmp_path, "key", P256)
    directory = tmp_path / "directory"
    directory.mkdir()
    target = directory / "release.mender"
    target.write_bytes((DATA / "rootfs-none.mender").read_bytes())
    target.chmod(0o640)
    (tmp_path / "link").symlink_to(target)
    assert 0 == run("sign", tmp_path / "link", "-k", key).code
    assert (tmp_path / "link").is_symlink()
    assert 0o640 == stat.S_IMODE(target.stat().st_mode)
    assert [target] == list(directory.iterdir())
    assert 0 == run("verify", target, "-k", public).code


def test_augmented_artifacts_can_be_signed(run: Run, tmp_path: Path) -> None:
    """The signature covers the manifest; whether to accept augmented parts is up to the device."""
    key, _ = key_pair(tmp_path, "key", P256)
    assert 0 == run("sign", DATA / "augmented.mender", "-k", key, "-o", tmp_path / "out").code
    assert {**described(run, DATA / "augmented.mender"), "signed": True} == described(run, tmp_path / "out")


@pytest.mark.parametrize("where", [600, 3000, -2000, None], ids=["version", "header", "payload", "truncated"])
def test_no_broken_artifact_is_signed(run: Run, tmp_path: Path, where: int | None) -> None:
    """An Artifact that can't be verified is left unchanged, and no other file is left behind."""
    key, _ = key_pair(tmp_path, "key", P256)
    content = bytearray((DATA / "rootfs-none.mender").read_bytes())
    if where is None:
        del content[-700:]
    else:
        content[where] ^= 1
    directory = tmp_path / "directory"
    directory.mkdir()
    artifact = directory / "broken.mender"
    artifact.write_bytes(content)
    done = run("sign", artifact, "-k", key)
    assert 1 == done.code
    assert done.err.startswith("mender-python-client: cannot ")
    assert bytes(content) == artifact.read_bytes()
    assert [artifact] == list(directory.iterdir())


def planted(directory: Path) -> None:
    """Create the files named in the wrong inputs."""
    for name, content in {
        "rootfs.img": "image",
        "ArtifactInstall_Enter_10": "#!/bin/sh\n",
        "good.json": "{}",
        "list.json": "[1]",
        "broken.json": '{\n"a": }',
        "twice.json": '{"a": NaN}',
        "deep.json": "[" * 100_000,
        "there": "what is there already",
    }.items():
        (directory / name).write_text(content)
    (directory / "huge.json").write_text(json.dumps({"a": "x" * 300_000}))
    (directory / "sub").mkdir()
    (directory / "sub" / "rootfs.img").write_text("another")
    (directory / "sub" / "ArtifactInstall_Enter_10").write_text("#!/bin/sh\n")
    os.mkfifo(directory / "fifo")
    key_pair(directory, "key", P256)


WRITE_ROOTFS = "write rootfs-image -n n -t b -o out"
WRITE_MODULE = "write module-image -n n -t b -T app -o out"
WRONG: dict[str, tuple[int, str]] = {
    "write rootfs-image -t b -f rootfs.img -o out": (64, "required: -n/--artifact-name"),
    "write rootfs-image -n n -f rootfs.img -o out": (64, "required: -t/--device-type"),
    "write rootfs-image -n n -t b -f rootfs.img": (64, "required: -o/--output-path"),
    "write module-image -n n -t b -o out": (64, "required: -T/--type"),
    WRITE_ROOTFS: (64, "required: -f/--file"),
    f"{WRITE_ROOTFS} -f rootfs.img -f good.json": (64, "-f: give it once"),
    f"{WRITE_ROOTFS} -f -": (64, "must be the path of a file"),
    "write rootfs-image -n n -t b -f rootfs.img -o -": (64, "must be the path of a file"),
    f"{WRITE_ROOTFS} -f rootfs.img --compression lz4": (64, "invalid choice: 'lz4'"),
    f"{WRITE_MODULE} --provides novalue": (64, "'novalue' isn't of the form key:value"),
    f"{WRITE_MODULE} --depends :x": (64, "isn't of the form key:value"),
    f"{WRITE_MODULE} --provides a=b:x": (64, "isn't of the form key:value"),
    f"{WRITE_MODULE} -s good.json": (64, "'good.json' would never run; a state script is named like Artifact"),
    f"{WRITE_MODULE} -n \x1b[2J": (64, "must be one line of text"),
    "sign - -k key.pem": (64, "must be the path of a file"),
    "sign there": (64, "required: -k/--key"),
    "show": (64, "required: FILE"),
    "verify": (64, "required: FILE"),
    f"{WRITE_ROOTFS} -f gone.img": (1, "cannot read gone.img: No such file"),
    f"{WRITE_ROOTFS} -f sub": (1, "cannot read sub: it isn't a regular file"),
    f"{WRITE_ROOTFS} -f fifo": (1, "cannot read fifo: it isn't a regular file"),
    f"{WRITE_ROOTFS} -f rootfs.img -k key.pub": (1, "cannot sign with key.pub"),
    f"{WRITE_ROOTFS} -f rootfs.img -k gone.pem": (1, "cannot read the key gone.pem: No such file"),
    f"{WRITE_MODULE} -f rootfs.img sub/rootfs.img": (1, "two files named rootfs.img"),
    f"{WRITE_MODULE} -s ArtifactInstall_Enter_10 sub/ArtifactInstall_Enter_10": (1, "two scripts named"),
    f"{WRITE_MODULE} -s sub/ArtifactInstall_Enter_99": (1, "cannot read sub/ArtifactInstall_Enter_99: No such file"),
    f"{WRITE_MODULE} -m gone.json": (1, "cannot read gone.json: No such file"),
    f"{WRITE_MODULE} -m list.json": (1, "cannot use list.json as meta-data: it isn't a JSON object"),
    f"{WRITE_MODULE} -m broken.json": (1, "it is not valid JSON: line 2, column 6: expecting value"),
    f"{WRITE_MODULE} -m twice.json": (1, "meta-data isn't valid JSON"),
    f"{WRITE_MODULE} -m deep.json": (1, "deep.json as meta-data"),
    f"{WRITE_MODULE} -m huge.json": (1, "cannot read huge.json: it is larger than 262144 bytes"),
    "write rootfs-image -n n -t b -f rootfs.img -o rootfs.img": (1, "it is one of the files to read; specify another"),
    "write rootfs-image -n n -t b -f rootfs.img -o sub": (1, "isn't a regular file; specify another path"),
    "write rootfs-image -n n -t b -f rootfs.img -o /dev/null": (1, "isn't a regular file; specify another path"),
    "write rootfs-image -n n -t b -f rootfs.img -o no/directory": (1, "cannot write no/directory: No such file"),
    "sign there -k key.pem": (1, "cannot "),
    "sign gone -k key.pem": (1, "cannot read gone: No such file"),
    "sign fifo -k key.pem": (1, "cannot read fifo: it isn't a regular file"),
    "sign there -k there": (1, "cannot sign with there"),
    "sign there -k key.pem -o key.pem": (1, "cannot write key.pem: it is one of the files to read"),
}  # fmt: skip


@pytest.mark.parametrize("words", WRONG, ids=lambda words: repr(words).strip("'"))
def test_wrong_inputs(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """One clear line with exit code 1, or 64 for wrong usage; no file is created or changed."""
    planted(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, said = WRONG[words]
    done = run(*words.split(" "))
    assert (code, b"") == (done.code, done.out), done.err
    line = done.err.splitlines()[-1]
    assert said in line
    assert line.startswith("mender-python-client")
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    if code == 1:
        assert 1 == done.err.count("\n")


MEASURE = """
import resource, sys
from mender_client.app.cli import main
code = main(sys.argv[1:])
print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def peak_kib(*words: str | Path) -> int:
    """Return the peak memory of a command, in KiB."""
    program = [sys.executable, "-c", MEASURE, "artifact", *map(str, words)]
    done = subprocess.run(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    code, peak = done.stderr.split()
    assert b"0" == code
    return int(peak)


def test_memory_stays_flat(tmp_path: Path, is_nightly: bool) -> None:
    """The payload isn't held in memory: 64 MiB need at most 4 MiB more than 1 MiB, for every command."""
    many = 64 if is_nightly else 24
    key, _ = key_pair(tmp_path, "key", P256)
    peaks: dict[int, list[int]] = {}
    for mib in (1, many):
        image, out = tmp_path / f"{mib}.img", tmp_path / f"{mib}.mender"
        with image.open("wb") as file:
            file.truncate(mib << 20)
        words = ("-n", "n", *BOARD, "-f", image, "-o", out, "--compression", "none")
        peaks[mib] = [peak_kib("write", "rootfs-image", *words)]
        peaks[mib] += [peak_kib("sign", out, "-k", key), peak_kib("show", out), peak_kib("cat", out)]
    assert all(large - small < 4096 for small, large in zip(peaks[1], peaks[many], strict=True)), peaks
