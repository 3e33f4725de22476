"""``artifact show``, ``verify`` and ``cat``, on the reference tool's files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import forking
from app.artifact_program import DATA, Run, described, make_run
from mender_client.core.artifact import ArtifactReader, PayloadSource, module_image, write_artifact

REAL = sorted(path.name for path in DATA.glob("*.mender"))


@pytest.fixture
def run(capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Return a function that runs one command."""
    return make_run(capsysbinary)


@pytest.mark.parametrize("name", REAL)
def test_show_json_says_everything(run: Run, name: str) -> None:
    """The output is the header's description with the sizes of all files, and the index, which is null here."""
    with (DATA / name).open("rb") as stream:
        expected = ArtifactReader(stream, accept_augmented=True).finish().describe()
    expected["payloads"][0]["index"] = None
    assert json.loads(json.dumps(expected)) == described(run, DATA / name)


DEPENDS_PROVIDES = """\
Artifact        depends-provides
Group           group2
Device types    qemux86-64
Needs Artifact  old-1 or old-2
Needs group     group1
Format          version 3, compression gzip
Signed          no
Payload type    app
Provides        app.version = 2.1
                rootfs-image.app.version = depends-provides
Depends         rootfs-image.checksum = abc
Clears          app.*
                rootfs-image.app.*
Scripts         none
Files           small.bin  1,000 bytes
                  SHA-256 572a8a5bcaf189b1efd92e23b0bbc9ca93512e4981c528eb35573849178c99bc
Meta-data       none
"""


def test_show_is_for_people(run: Run) -> None:
    """The text output shows everything, aligned, with one value per line."""
    assert DEPENDS_PROVIDES == run("show", DATA / "depends-provides.mender").out.decode()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("augmented", "Augmented     yes: parts of it are listed only in manifest-augment"),
        ("augmented", "text.txt   174,893 bytes  augmented"),
        ("signed-rsa", "Signed        yes; 'artifact verify --key FILE' checks by whom"),
        ("bootstrap-no-payload", "Payload type  none"),
        ("module-files-scripts-meta", "Scripts       ArtifactInstall_Enter_10_check  17 bytes"),
        ("module-files-scripts-meta", '"dest_dir": "/opt/app",'),
        ("rootfs-zstd_better", "Format        version 3, compression zstd"),
        ("empty-payload-file", "0 bytes"),
    ],
)
def test_show_tells_what_is_special(run: Run, name: str, line: str) -> None:
    """Signatures, augmented parts, scripts, meta-data and compression have lines of their own."""
    done = run("show", DATA / f"{name}.mender")
    assert 0 == done.code
    assert line in done.out.decode()


def test_no_text_of_a_stranger_acts_on_the_terminal(run: Run, tmp_path: Path) -> None:
    """Unprintable characters in an Artifact are escaped, both in text and in JSON."""
    name = "evil\u202ename"
    with (tmp_path / "evil.mender").open("wb") as out:
        file = PayloadSource("\u2066x", 1, lambda: io.BytesIO(b"x"))
        write_artifact(out, module_image(name, ["board"], "app", meta_data={"k": "\x1b[2J\x9b"}), [file])
    for done in (run("show", tmp_path / "evil.mender"), run("show", "--json", tmp_path / "evil.mender")):
        text = done.out.decode().replace("\n", "")
        assert 0 == done.code
        assert text.isprintable()
        assert "evil\\u202ename" in text
    assert "evil\\u202ename: verified" in run("verify", tmp_path / "evil.mender").out.decode()


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("rootfs-gzip", (), "rootfs-gzip: verified; not signed"),
        ("signed-rsa", (), "signed-rsa: verified; signed, but no key was given to verify that"),
        ("signed-rsa", ("-k", "rsa3072.pub"), "signed-rsa: verified; signed with the key of rsa3072.pub"),
        ("signed-ecdsa", ("-k", "other.pub", "--key", "ecdsa.pub"), "signed with the key of ecdsa.pub"),
        ("signed-rsa", ("-t", "raspberrypi4"), "signed-rsa: verified"),
        ("depends-provides", ("--device-type", "qemux86-64"), "depends-provides: verified"),
    ],
)
def test_verify_accepts(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, words: tuple[str, ...], said: str
) -> None:
    """One line says that the Artifact is verified and who signed it."""
    monkeypatch.chdir(DATA)
    done = run("verify", f"{name}.mender", *words)
    assert (0, "", 1) == (done.code, done.err, done.out.count(b"\n"))
    assert said in done.out.decode()


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        (
            "rootfs-gzip.mender",
            ("-k", "rsa3072.pub"),
            "it is not signed (no manifest.sig), but a verify key is configured",
        ),
        ("signed-rsa.mender", ("-k", "ecdsa.pub"), "matches none of the keys of --key (ecdsa.pub)"),
        ("signed-rsa.mender", ("-k", "gone.pub"), "--key: cannot read the key gone.pub: No such file"),
        ("signed-rsa.mender", ("-k", "README.md"), "--key: cannot use README.md: it contains no PEM block"),
        ("signed-rsa.mender", ("-t", "toaster"), "requires 'device_type' to be 'qemux86-64' or 'raspberrypi4', and"),
        ("augmented.mender", (), "manifest-augment lists parts that no signature covers"),
        ("README.md", (), "cannot accept the Artifact"),
        ("gone.mender", (), "cannot read gone.mender: No such file or directory; check the path"),
        (".", (), "cannot read .: Is a directory"),
    ],
)
def test_verify_refuses(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, words: tuple[str, ...], said: str
) -> None:
    """One line on standard error gives the reason, and the exit code is 1."""
    monkeypatch.chdir(DATA)
    done = run("verify", name, *words)
    assert (1, b"", 1) == (done.code, done.out, done.err.count("\n"))
    assert said in done.err


@pytest.mark.parametrize("command", ["show", "verify", "cat"])
def test_a_broken_artifact_is_refused(run: Run, tmp_path: Path, command: str) -> None:
    """A single changed byte at the end of the payload makes the command fail."""
    content = bytearray((DATA / "rootfs-none.mender").read_bytes())
    content[-2000] ^= 1
    (tmp_path / "broken.mender").write_bytes(content)
    done = run(command, tmp_path / "broken.mender")
    assert 1 == done.code
    assert done.err.startswith("mender-python-client: cannot accept the Artifact: ")


def test_cat_writes_a_payload_file(run: Run) -> None:
    """The name of the file can be omitted if the Artifact has only one."""
    text = run("cat", DATA / "module-files-scripts-meta.mender", "text.txt")
    expected = "da2c00402df5f9ea0a99ce45fd3e4d99a87298887fb289478a8087ad5491f935"
    assert (0, expected) == (text.code, hashlib.sha256(text.out).hexdigest())
    assert 200000 == len(run("cat", DATA / "rootfs-lzma.mender").out)
    assert b"" == run("cat", DATA / "empty-payload-file.mender").out


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        (
            "module-files-scripts-meta",
            (),
            "the Artifact has text.txt, small.bin; specify one",
        ),
        ("bootstrap-no-payload", (), "cannot choose a payload file: the Artifact has none"),
        ("rootfs-none", ("other",), "cannot find the payload file 'other': the Artifact has rootfs.img"),
    ],
)
def test_cat_needs_a_file(run: Run, name: str, words: tuple[str, ...], said: str) -> None:
    """If the file doesn't exist or none was named, the error message lists the files of the Artifact."""
    done = run("cat", DATA / f"{name}.mender", *words)
    assert (1, b"") == (done.code, done.out)
    assert said in done.err


@pytest.mark.parametrize("words", [("show", "-"), ("verify", "-"), ("cat", "-"), ("cat", "-", "rootfs.img")])
def test_a_pipe_will_do(run: Run, words: tuple[str, ...]) -> None:
    """``-`` reads standard input, sequentially and only once; the result is the same as for a file."""
    artifact = DATA / "rootfs-gzip.mender"
    expected = run(words[0], artifact, *words[2:]).out
    program = [str(forking.python()), "-m", "mender_client", "artifact", *words]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        out, _ = process.communicate(artifact.read_bytes())
    assert (0, expected) == (process.returncode, out)


@pytest.mark.parametrize(
    ("stdin", "said"), [(b"", "truncated"), ((DATA / "rootfs-gzip.mender").read_bytes()[:-1], "truncated")]
)
def test_a_pipe_that_ends_early_is_refused(stdin: bytes, said: str) -> None:
    """Input from a pipe is verified like a file."""
    program = [str(forking.python()), "-m", "mender_client", "artifact", "verify", "-"]
    done = subprocess.run(program, input=stdin, capture_output=True, check=False)
    assert (1, b"") == (done.returncode, done.stdout)
    assert said in done.stderr.decode()


@pytest.mark.parametrize("command", ["show", "verify", "cat"])
def test_results_that_can_t_be_written(command: str) -> None:
    """A full disk, a closed standard output and a broken pipe lead to exit code 1 without a traceback."""
    program = [str(forking.python()), "-m", "mender_client", "artifact", command, str(DATA / "rootfs-none.mender")]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (1, b"mender-python-client: cannot write the result: No space left on device [USE04]\n") == (
        done.returncode,
        done.stderr,
    )
    program[0] = sys.executable  # a forked process always has standard output
    closed = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *program], stderr=subprocess.PIPE, check=False)
    assert (
        1,
        b"mender-python-client: cannot write to standard output: it is closed; redirect it to a file [ART45]\n",
    ) == (
        closed.returncode,
        closed.stderr,
    )
    reader, writer = os.pipe()
    os.close(reader)
    gone = subprocess.run(program, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (1, b"") == (gone.returncode, gone.stderr)
