"""Update modules: each call, the tree, and the payload in FIFOs or files (protocol: update modules)."""

from __future__ import annotations

import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mender_client.core.model import Provides
from mender_client.errors import DownloadError, InstallError, Interrupted
from running import is_running
from waiting import PATIENCE_S, wait_until

from .bench import STREAMING, Bench, header, info, type_info


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A device with one update module."""
    place = tmp_path / "device"
    place.mkdir(mode=0o755)
    return Bench(place)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The log lines."""
    return [record.getMessage() for record in caplog.records]


def printed(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The log lines with a module's output."""
    return [record.getMessage() for record in caplog.records if record.name.endswith(".outputlog")]


@pytest.fixture(autouse=True)
def _log_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


# -- the tree -----------------------------------------------------------------------------------------------------


def test_tree(bench: Bench) -> None:
    """The tree describes the installed and the new software, and contains the documents of the Artifact's header."""
    group = info(artifact_provides={"artifact_name": "new", "artifact_group": "g"})
    bench.prepare(info=group, meta_data=b'{"a": 1}')
    found = {str(p.relative_to(bench.tree)): p.read_bytes() for p in bench.tree.rglob("*") if p.is_file()}
    assert {
        "version": b"3\n",
        "current_artifact_name": b"old\n",
        "current_artifact_group": b"group\n",
        "current_device_type": b"board\n",
        "header/artifact_name": b"new",
        "header/artifact_group": b"g",
        "header/payload_type": b"app",
        "header/header-info": group,
        "header/type-info": type_info(),
        "header/meta-data": b'{"a": 1}',
    } == found
    assert [] == list((bench.tree / "tmp").iterdir())


def test_tree_without_groups_and_meta_data(bench: Bench) -> None:
    """Missing values are empty files."""
    bench.modules.prepare(header(), Provides("board", ""))
    names = ("current_artifact_name", "current_artifact_group", "header/artifact_group", "header/meta-data")
    assert dict.fromkeys(names, "") == {name: bench.text(name) for name in names}


def test_tree_is_made_anew(bench: Bench) -> None:
    """Previous content of the tree is removed first, without following links."""
    bench.prepare()
    (bench.tree / "tmp" / "link").symlink_to(bench.out)
    (bench.tree / "tmp" / "deep").mkdir()
    (bench.tree / "tmp" / "deep" / "file").touch()
    (bench.out / "kept").touch()
    bench.prepare()
    assert ([], True) == (list((bench.tree / "tmp").iterdir()), (bench.out / "kept").exists())
    bench.modules.remove_tree()
    assert (False, []) == (bench.modules.has_tree(), list(bench.tree.parent.iterdir()))
    bench.modules.remove_tree()


def test_file_name_with_a_space(bench: Bench) -> None:
    """A payload file with white space in its name is refused before anything is started."""
    bench.module(STREAMING)
    assert bench.failure(files=[("a b", b"x")]).startswith("ArtifactError: ")
    assert [] == bench.calls()


# -- one call -----------------------------------------------------------------------------------------------------


def test_call(bench: Bench) -> None:
    """A module is called with state and tree, in the tree, with the client's environment, in its own session."""
    bench.module('{ echo $# $1 $2; pwd; echo $FROM; cut -d" " -f5,6 /proc/$$/stat; echo $$; } > "$OUT/seen"')
    bench.prepare()
    bench.variables["FROM"] = "client"
    bench.modules.run("app", "ArtifactInstall")
    arguments, place, variable, group, pid = (bench.out / "seen").read_text().splitlines()
    assert (f"2 ArtifactInstall {bench.tree}", str(bench.tree), "client") == (arguments, place, variable)
    assert f"{pid} {pid}" == group


def test_descriptors(bench: Bench) -> None:
    """A module has no file descriptors of the client but 0, 1 and 2, even if others are inheritable."""
    lists = 'import os; print([number for number in range(1000) if os.path.exists(f"/proc/self/fd/{number}")])'
    bench.module(f"exec '{sys.executable}' -ISc '{lists}' > \"$OUT/seen\"")
    bench.prepare()
    with open(bench.out / "secret", "w") as secret, socket.socket() as server:
        reader, writer = os.pipe()
        for descriptor in (secret.fileno(), server.fileno(), reader, writer):
            os.set_inheritable(descriptor, True)
        bench.modules.run("app", "ArtifactInstall")
        os.close(reader)
        os.close(writer)
    assert "[0, 1, 2]\n" == (bench.out / "seen").read_text()


def test_output(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A module's output is logged line by line, with stdout and stderr distinguished, and made printable."""
    bench.module("echo one; printf 'a\\033[1mb\\377\\tc\\r\\n'; printf 'no newline'; echo bad >&2")
    bench.prepare()
    bench.modules.run("app", "ArtifactInstall")
    said = printed(caplog)
    title = "ArtifactInstall (app)"
    assert [f"{title}: one", f"{title}: a?[1mb\ufffd c", f"{title}: no newline"] == [
        line for line in said if "stderr" not in line
    ]
    assert f"{title}, stderr: bad" in said
    assert {logging.INFO} == {record.levelno for record in caplog.records}


def test_endless_output(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Excessive output is read to its end, but only its beginning is logged, with a note that the rest was omitted."""
    bench.module("yes 'a line' | head -c 20000000; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end >&2")
    bench.prepare()
    bench.modules.run("app", "ArtifactInstall")
    said = lines(caplog)
    assert sum(map(len, said)) < 512 * 1024
    assert "ArtifactInstall (app): further output is left out: it is more than 64 KiB" == said[-1]


def test_empty_lines(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Endless empty lines don't fill the log either."""
    bench.module("yes '' | head -c 1000000")
    bench.prepare()
    bench.modules.run("app", "ArtifactInstall")
    assert sum(map(len, lines(caplog))) < 128 * 1024


def test_long_line(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A long line is truncated."""
    bench.module("head -c 5000 /dev/zero | tr '\\0' x; echo; echo next")
    bench.prepare()
    bench.modules.run("app", "ArtifactInstall")
    assert [f"ArtifactInstall (app): {'x' * 1000}…", "ArtifactInstall (app): next"] == printed(caplog)


@pytest.mark.parametrize(
    ("body", "how"),
    [("exit 3", "failed with exit code 3"), ("exit 21", "failed with exit code 21"), ("kill -9 $$", "signal 9")],
)
def test_failing_call(bench: Bench, body: str, how: str) -> None:
    """An exit code other than 0, including 21, and a signal fail the state."""
    bench.module(body)
    bench.prepare()
    with pytest.raises(InstallError, match=how):
        bench.modules.run("app", "ArtifactInstall")


def test_missing_tree(bench: Bench) -> None:
    """Without a tree each state fails without a call, and Cleanup succeeds without a call."""
    bench.module("true")
    bench.modules.run("app", "Cleanup")
    with pytest.raises(InstallError, match="missing"):
        bench.modules.run("app", "ArtifactInstall")
    assert [] == bench.calls()


@pytest.mark.parametrize("name", ["../app", "/bin/true", "", ".", "..", "a/b", "none", "a\0b"])
def test_no_module(bench: Bench, name: str) -> None:
    """A payload type without a module, or with a path out of the directory, is refused."""
    bench.module("true")
    bench.prepare()
    with pytest.raises(InstallError, match="cannot"):
        bench.modules.check(name)
    with pytest.raises(InstallError, match="cannot"):
        bench.modules.run(name, "ArtifactInstall")


def test_module_that_cannot_be_started(bench: Bench) -> None:
    """A module that isn't executable, or whose interpreter is missing, fails the state; a directory is no module."""
    for interpreter, mode in (("#!/nonexistent\n", 0o755), ("\x7fELF", 0o755), ("#!/bin/sh\n", 0o644)):
        bench.module("true", interpreter=interpreter).chmod(mode)
        bench.prepare()
        with pytest.raises(InstallError):
            bench.modules.run("app", "ArtifactInstall")
    directory = bench.place / "modules" / "directory"
    directory.mkdir()
    with pytest.raises(InstallError):
        bench.modules.check("directory")


def test_module_of_a_stranger(bench: Bench) -> None:
    """A module that is writable by another user is refused."""
    bench.module("true").chmod(0o777)
    with pytest.raises(InstallError, match="everybody can write"):
        bench.modules.check("app")


def noted(bench: Bench, name: str = "pid") -> int:
    """The process whose id a module has recorded."""
    wait_until(lambda: (bench.out / name).exists() and (bench.out / name).read_text().strip())
    return int((bench.out / name).read_text())


def test_time_limit(bench: Bench) -> None:
    """A module that exceeds its time limit is killed with all its descendants, even if it ignores SIGTERM."""
    bench.module('trap "" TERM; sleep 3600 & echo $! > "$OUT/pid"; while true; do sleep 3600; done')
    bench.prepare()
    bench.seconds, bench.grace_seconds = 2.0, 0.2
    with pytest.raises(InstallError, match="did not exit within 2 s"):
        bench.modules.run("app", "ArtifactInstall")
    assert not is_running(noted(bench))


def test_children_that_are_left(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A child process left with the module's output isn't waited for; it is killed, and named in the log."""
    is_named = 'until [ "$(cat /proc/$!/comm)" = sleep ]; do :; done'  # between fork and exec it has another name
    bench.module(f'echo before; sleep 3600 & echo $! > "$OUT/pid"; {is_named}; echo after')
    bench.prepare()
    begun = time.monotonic()
    bench.modules.run("app", "ArtifactInstall")
    assert time.monotonic() - begun < PATIENCE_S
    assert not is_running(noted(bench))
    assert f"ArtifactInstall (app) left processes behind, which are killed: sleep (pid {noted(bench)})" in caplog.text
    assert "ArtifactInstall (app): after" in lines(caplog)


def test_child_that_prints_without_end(bench: Bench) -> None:
    """A child process that is left behind, ignores SIGTERM and prints endlessly is killed, and the call ends."""
    prints = '(trap "" TERM; echo > "$OUT/up"; while echo y; do :; done) & echo $! > "$OUT/pid"'
    bench.module(f'{prints}; until [ -e "$OUT/up" ]; do :; done')
    bench.prepare()
    bench.grace_seconds = 0.2
    bench.modules.run("app", "ArtifactInstall")
    assert not is_running(noted(bench))


def test_reboot_that_goes_on(bench: Bench) -> None:
    """A process left behind by ArtifactReboot keeps running, since it may be the reboot."""
    bench.module('(sleep 1; echo > "$OUT/rebooted") &')
    bench.prepare()
    bench.modules.run("app", "ArtifactReboot")
    wait_until((bench.out / "rebooted").exists)


def test_stopping(bench: Bench) -> None:
    """If the client is asked to stop, the running module is ended, and the state doesn't fail."""
    bench.module('echo $$ > "$OUT/noted"; mv "$OUT/noted" "$OUT/pid"; sleep 3600')
    bench.prepare()
    bench.is_stopping = (bench.out / "pid").exists
    with pytest.raises(Interrupted):
        bench.modules.run("app", "ArtifactInstall")
    assert not is_running(noted(bench))


def test_sign_of_life(bench: Bench) -> None:
    """While a module is running, the client keeps signalling that it is alive."""
    bench.module("sleep 2")
    bench.prepare()
    bench.modules.run("app", "ArtifactInstall")
    assert bench.beats >= 2


# -- queries ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("", "No"), ("echo Yes", "Yes"), ("printf Yes", "Yes"), ("echo No", "No"), ("echo Automatic", "Automatic"),
        ("printf Y; sleep 0.1; printf es; sleep 0.1; echo", "Yes"), ("echo Yes; echo noise >&2", "Yes"),
    ],
)  # fmt: skip
def test_answer(bench: Bench, body: str, answer: str) -> None:
    """A query is answered with one line, with or without its newline; empty output means the default."""
    bench.module(body)
    bench.prepare()
    assert answer == bench.modules.ask("app", "NeedsArtifactReboot")


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("SupportsRollback", "echo Automatic"), ("SupportsRollback", "echo yes"), ("SupportsRollback", "echo Maybe"),
        ("SupportsRollback", "echo Yes; echo Yes"), ("SupportsRollback", "echo Yes; echo"),
        ("SupportsRollback", "echo Yes; exit 1"), ("SupportsRollback", "echo 'Yes '"),
        ("ProvidePayloadFileSizes", "head -c 30000000 /dev/zero"), ("NeedsArtifactReboot", "kill -9 $$"),
    ],
)  # fmt: skip
def test_wrong_answer(bench: Bench, query: str, body: str) -> None:
    """Any other word, a second line or a failure is an error."""
    bench.module(body)
    bench.prepare()
    with pytest.raises(InstallError):
        bench.modules.ask("app", query)


# -- Download -----------------------------------------------------------------------------------------------------

FILES = [("one", b"1" * 300000), ("empty", b""), ("three", b"333")]


@pytest.mark.parametrize("sizes", ["No", "Yes"])
def test_streams(bench: Bench, sizes: str) -> None:
    """A module gets the files through FIFOs in the payload's order, with sizes if requested, then an empty read."""
    bench.module(STREAMING)
    bench.variables["SIZES"] = sizes
    bench.download(files=FILES)
    assert FILES == [(name, (bench.out / name).read_bytes()) for name, _ in FILES]
    told = [f"streams/{name} {len(content)}" if sizes == "Yes" else f"streams/{name}" for name, content in FILES]
    assert told == (bench.out / "lines").read_text().splitlines()
    assert ["ProvidePayloadFileSizes", "Download" + "WithFileSizes" * (sizes == "Yes")] == bench.calls()
    assert not {"streams", "stream-next", "files"} & set(bench.listing())


def test_many_files(bench: Bench) -> None:
    """Two hundred small files are not mixed up by a module that reads them fast."""
    files = [(f"f{number}", b"%d" % number) for number in range(200)]
    path = bench.place / "modules" / "app"
    path.write_text(
        "#!/usr/bin/env python3\nimport os, sys\n"
        'if sys.argv[1] == "Download":\n'
        '    while line := open("stream-next").read():\n'
        '        with open(os.environ["OUT"] + "/" + line.strip()[8:], "wb") as out:\n'
        '            out.write(open(line.strip(), "rb").read())\n'
    )
    path.chmod(0o755)
    bench.download(files=files)
    assert files == [(name, (bench.out / name).read_bytes()) for name, _ in files]


def test_modes(bench: Bench) -> None:
    """The FIFO stream-next is accessible only to the client's user."""
    bench.module('[ "$1" != Download ] || { stat -c %a stream-next > "$OUT/mode"; [ -d streams ]; }')
    bench.download()
    assert "600\n" == (bench.out / "mode").read_text()


def test_files(bench: Bench) -> None:
    """A module that never opens stream-next gets the files in the tree."""
    bench.module("true")
    bench.download(files=FILES)
    assert FILES == [(name, (bench.tree / "files" / name).read_bytes()) for name, _ in FILES]
    assert not {"streams", "stream-next"} & set(bench.listing())
    assert {0o600} == {stat.S_IMODE((bench.tree / "files" / name).stat().st_mode) for name, _ in FILES}


@pytest.mark.parametrize(
    "body",
    [
        "cat stream-next",
        "cat stream-next; head -c 1000 streams/one > /dev/null",
        "cat stream-next; head -c 1000 streams/one > /dev/null; cat stream-next",
        "cat stream-next; cat streams/one > /dev/null",
        "cat stream-next; cat streams/one > /dev/null; cat stream-next; cat streams/empty; cat stream-next",
        "cat stream-next; cat streams/one > /dev/null; cat stream-next; cat streams/empty; cat stream-next;"
        " cat streams/three",
        ": < stream-next",
        "rm stream-next",
    ],
)
def test_part(bench: Bench, body: str) -> None:
    """A module that exits with 0 after reading only a part of the streams fails, unless it has removed stream-next."""
    bench.module(f'[ "$1" != Download ] || {{ {body}; true; }}')
    said = bench.failure(files=FILES)
    if body.startswith("rm"):
        assert "" == said
    else:
        assert "InstallError: cannot run Download of update module app: it didn't read all files to the end" == said
    assert not {"streams", "stream-next"} & set(bench.listing())


@pytest.mark.parametrize(
    "body", ["exit 1", "cat stream-next; exit 1", "cat stream-next; head -c 9 streams/one; exit 1"]
)
def test_failing_download(bench: Bench, body: str) -> None:
    """A module that fails at any point fails the download; no signal reaches the client, and nothing hangs."""
    bench.module(f'[ "$1" != Download ] || {{ {body}; }}')
    assert "InstallError: cannot run Download of update module app: it failed with exit code 1" == bench.failure(
        files=FILES
    )


def test_failing_after_all(bench: Bench) -> None:
    """A module that reads everything and then exits with an error fails the download."""
    bench.module(STREAMING.replace("done ;;", "done; exit 4 ;;"))
    assert "failed with exit code 4" in bench.failure(files=FILES)


def test_failing_query(bench: Bench) -> None:
    """If ProvidePayloadFileSizes fails, the download fails, and Download isn't called."""
    bench.module("exit 1")
    assert "cannot run ProvidePayloadFileSizes" in bench.failure()
    assert ["ProvidePayloadFileSizes"] == bench.calls()


@pytest.mark.parametrize(
    "body",
    ["sleep 3600", "cat stream-next; sleep 3600", "exec 3<stream-next; sleep 3600",
     "cat stream-next; exec 3<streams/one; sleep 3600", "cat stream-next; cat stream-next",
     "cat stream-next; cat streams/one > /dev/null; exec 3<stream-next; sleep 3600"],
)  # fmt: skip
def test_module_that_hangs(bench: Bench, body: str) -> None:
    """A module that hangs instead of opening a FIFO, reading or exiting is terminated after the time limit."""
    bench.module(f'[ "$1" != Download ] || {{ {body}; }}')
    bench.seconds = 1.0
    assert "did not exit within 1 s" in bench.failure(files=[("one", b"1" * 3000000), ("two", b"")])


def test_wrong_digest(bench: Bench) -> None:
    """A file that doesn't match the manifest fails the download, even if the module succeeds."""
    bench.module(STREAMING)
    members = forged_members()
    assert bench.failure(files=[("file", b"content")], payload_members=members).startswith("ArtifactError")


def forged_members() -> list[bytes]:
    """A payload whose file doesn't have the content in the manifest."""
    from core.artifact.forge import tar_file

    return [tar_file("file", b"CONTENT")]


class _Broken:
    """A file whose download breaks off."""

    name = "file"
    size = 100

    def __init__(self) -> None:
        self.given = 0

    def readinto(self, buffer: memoryview) -> int:
        if self.given:
            raise DownloadError("DWN99", "cannot go on")
        self.given += 1
        buffer[:5] = b"begin"
        return 5


def test_download_that_breaks_off(bench: Bench) -> None:
    """If the download fails for good, the module is terminated, and the error is that of the download."""
    bench.module('[ "$1" != Download ] || { echo $$ > "$OUT/pid"; cat $(cat stream-next); sleep 3600; }')
    bench.prepare()
    with pytest.raises(DownloadError):
        bench.modules.download("app", iter([_Broken()]))  # type: ignore[list-item] # the part that is used
    assert not is_running(noted(bench))


def test_module_that_prints_while_it_reads(bench: Bench) -> None:
    """A module may print megabytes while it reads the payload."""
    bench.module(STREAMING.replace("while true; do", "yes | head -c 3000000; while true; do yes | head -c 300000;"))
    bench.download(files=FILES)


# -- the remains of a client that was killed ------------------------------------------------------------------------


def test_orphans(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Processes that still run in the tree after the client was killed are killed, and named in the log."""
    bench.prepare()
    command = ["sh", "-c", 'trap "" TERM; while true; do sleep 3600; done']
    orphan = subprocess.Popen(command, cwd=bench.tree / "tmp", start_new_session=True)
    wait_until(Path(f"/proc/{orphan.pid}/task/{orphan.pid}/children").read_text)
    bench.grace_seconds = 0.2
    bench.modules.end_orphans()
    assert -signal.SIGKILL == orphan.wait(PATIENCE_S)
    assert f"sh (pid {orphan.pid})" in caplog.text


def test_no_orphans(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Without a tree, or without processes in it, there is nothing to do."""
    bench.modules.end_orphans()
    bench.prepare()
    bench.modules.end_orphans()
    assert "" == caplog.text


# -- reboot -------------------------------------------------------------------------------------------------------


def test_reboot(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The program reboot is looked up in PATH and called without arguments; its exit code is only logged."""
    program = bench.place / "modules" / "reboot"
    program.write_text('#!/bin/sh\necho "reboot $#" >> "$OUT/calls"; exit 5\n')
    program.chmod(0o755)
    bench.variables["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    bench.modules.reboot()
    assert ["reboot", "0"] == bench.calls()
    assert "reboot has exited with code 5" in lines(caplog)


def test_reboot_that_stops_the_client(bench: Bench) -> None:
    """The program reboot keeps running when the client is asked to stop, since the reboot itself causes that."""
    program = bench.place / "modules" / "reboot"
    program.write_text('#!/bin/sh\nsleep 1; echo > "$OUT/rebooted"\n')
    program.chmod(0o755)
    bench.variables["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    bench.is_stopping = lambda: True
    with pytest.raises(Interrupted):
        bench.modules.reboot()
    wait_until((bench.out / "rebooted").exists)


def test_missing_reboot(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Without the program reboot, only an error is logged."""
    bench.variables["PATH"] = str(bench.out)
    bench.modules.reboot()
    assert "cannot run reboot" in caplog.text
