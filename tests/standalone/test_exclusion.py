"""Daemon and commands exclude each other; ``status`` with a pending update, signals, and the name mender-update."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

import forking
from calling import call
from mender_client.app.cli import main
from mender_client.app.mender_update import MENDER_UPDATE
from mender_client.system.locks import DaemonLock
from program.stage import PROGRAM
from running import is_running
from waiting import PATIENCE_S, wait_until

from .bench import NEW, OLD, Bench
from .test_way import BEGUN, NOT_COMMITTED

HELD = "import sys, time\nfrom pathlib import Path\nfrom mender_client.system.locks import DaemonLock\n" + (
    "lock = DaemonLock(Path(sys.argv[1]), is_command=len(sys.argv) > 2)\nlock.acquire()\nprint(flush=True)\n"
    "sys.stdin.read()\n"
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A device."""
    return Bench(tmp_path)


class _Holder:
    """Another process that holds a lock."""

    def __init__(self, path: Path, *words: str) -> None:
        argv = [sys.executable, "-c", HELD, str(path), *words]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> int:
        assert self.process.stdout is not None
        self.process.stdout.readline()
        return self.process.pid

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


def test_install_beside_a_daemon(bench: Bench) -> None:
    """While a daemon is running, ``install`` is refused."""
    with _Holder(bench.data / "daemon.lock") as pid:
        done = bench.run("install", bench.artifact())
    assert (1, "", []) == (done.returncode, done.stdout, bench.calls())
    assert f"a daemon (pid {pid}) already uses" in done.stderr


def test_commit_beside_a_daemon(bench: Bench) -> None:
    """A daemon that was started after ``install`` doesn't prevent ``commit``."""
    bench.does("install", bench.artifact())
    with _Holder(bench.data / "daemon.lock"):
        assert (0, "Committed.\n") == bench.does("commit")


@pytest.mark.parametrize("command", ["install", "commit", "rollback", "resume"])
def test_two_commands(bench: Bench, command: str) -> None:
    """While a command is running, another one is refused."""
    bench.does("install", bench.artifact())
    bench.calls()
    with _Holder(bench.data / "standalone.lock", "command") as pid:
        done = bench.run(command, *([bench.artifact()] if command == "install" else []))
    assert (1, "", []) == (done.returncode, done.stdout, bench.calls())
    assert f"a command (pid {pid}) already uses" in done.stderr


def test_daemon_beside_install(bench: Bench) -> None:
    """While ``install`` is running, no daemon can start, and the command isn't mistaken for one."""
    with _Holder(bench.data / "daemon.lock", "command") as pid:
        assert DaemonLock(bench.data / "daemon.lock").holder() is None
        done = bench.run("daemon")
    assert 1 == done.returncode
    assert f"a command (pid {pid}) already uses" in done.stderr


def test_deployment_under_way(bench: Bench) -> None:
    """``install`` is refused while a deployment of the server is in progress."""
    (bench.data / "update.lock").write_text("dep-1\n")
    done = bench.run("install", bench.artifact())
    assert (1, "System not modified.\n", []) == (done.returncode, done.stdout, bench.calls())
    assert "a deployment of the server is in progress" in done.stderr


def test_status(bench: Bench) -> None:
    """``status`` shows the pending update, its position, since when, and how to continue; after the commit, none."""
    begun = datetime.now(timezone.utc).replace(microsecond=0)
    bench.does("install", bench.artifact())
    ended = datetime.now(timezone.utc)
    status = json.loads(bench.does("status", "--json")[1])
    assert ("new", "installed") == (status["standalone"]["artifact_name"], status["standalone"]["position"])
    assert status["since"] == status["standalone"]["since"]
    assert begun <= datetime.fromisoformat(status["since"]) <= ended
    assert f", since {datetime.fromisoformat(status['since']):%Y-%m-%dT%H:%M:%SZ}" in bench.does("status")[1]
    assert (
        "new is being installed in standalone mode; it is installed, but not committed; 'commit' makes it permanent"
        in status["activity"]
    )
    bench.does("commit")
    assert json.loads(bench.does("status", "--json")[1])["standalone"] is None


def test_poll_beside_a_standalone_update(bench: Bench) -> None:
    """Until the update is committed, ``check-update`` asks no server, as the daemon, and says how to continue."""
    bench.does("install", bench.artifact())
    code, text = bench.does("check-update")
    assert (2, True) == (code, text.startswith("no update poll: new is being installed in standalone mode; it is"))
    assert "'commit' makes it permanent" in text


def test_doctor(bench: Bench) -> None:
    """``doctor`` warns of an update that waits for its commit, because the client doesn't poll before."""
    bench.does("install", bench.artifact())
    (found,) = [one for one in json.loads(bench.does("doctor", "--json")[1]) if one["check"] == "update"]
    assert ("warning", True) == (found["verdict"], "not committed" in found["found"])
    assert found["remedy"].startswith("finish it with")


def test_doctor_after_a_failed_rollback(bench: Bench) -> None:
    """``doctor`` warns that the device is in an unknown state after an update could not be rolled back."""
    bench.fails("ArtifactInstall", "ArtifactRollback")
    bench.does("install", bench.artifact())
    (found,) = [one for one in json.loads(bench.does("doctor", "--json")[1]) if one["check"] == "artifact info"]
    assert ("warning", True) == (found["verdict"], found["found"].startswith("new_INCONSISTENT: "))
    assert "install a complete Artifact" in found["remedy"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal(bench: Bench, number: signal.Signals) -> None:
    """A signal ends the running module, and the command with 1; ``resume`` rolls the interrupted update back."""
    module = bench.root / "usr/share/mender/modules/v3/app"
    usual = module.read_text()
    hang = '[ "$1" = ArtifactInstall ] && echo $$ >$out/pid && mv $out/pid $out/begun && sleep 600\n'
    module.write_text(usual.removesuffix("exit 0\n") + hang + "exit 0\n")
    argv = [str(forking.program()), "--root", str(bench.root), "install", str(bench.artifact())]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until((bench.out / "begun").exists)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (1, BEGUN) == (process.returncode, out), err
    assert not is_running(int((bench.out / "begun").read_text()))
    assert "artifact-install" == bench.position()
    module.write_text(usual)
    assert ((0, "Rolled back.\n"), OLD) == (bench.does("resume"), bench.provides())


@pytest.mark.parametrize("command", ["commit", "rollback", "resume"])
def test_broken_configuration(bench: Bench, command: str) -> None:
    """An update that has broken the configuration can still be committed, rolled back or resumed."""
    bench.does("install", bench.artifact())
    (bench.root / "etc/mender/mender.conf").write_text("{")
    assert 0 == bench.does(command)[0]
    (bench.root / "etc/mender/mender.conf").write_text("{}")
    assert (OLD if command == "rollback" else NEW) == bench.provides()


def test_other_name(bench: Bench) -> None:
    """Called as ``mender-update`` the program has that client's commands, options and exit codes."""

    def run(*words: str) -> tuple[int, str]:
        done = call(*words, main=lambda given: main(given, MENDER_UPDATE))
        return done.returncode, done.stdout

    common = ("--config", str(bench.root / "etc/mender/mender.conf"), "--data", str(bench.data), "--log-level", "fatal")
    assert (1, "") == run(*common, "setup")
    assert (1, "") == run(*common, "install")
    assert (1, "") == run(*common, "--log-level", "loud", "commit")
    assert (2, "No update in progress.\n") == run(*common, "commit")
    link = bench.root / "mender-update"
    link.symlink_to(PROGRAM)
    argv = [str(link), "--root", str(bench.root), "-b", "/none", "install", str(bench.artifact())]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (0, BEGUN + NOT_COMMITTED) == (done.returncode, done.stdout)
    assert 1 == subprocess.run([str(link), "doctor"], capture_output=True, timeout=PATIENCE_S, check=False).returncode
