"""Scripts within limits, and programs that outlive this process."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mender_client.core.update import ProcessRef
from mender_client.errors import ScriptError, StorageError
from mender_client.system.process import CLEAN_ENVIRONMENT, ScriptLimits, SystemProcesses, run_script
from mender_client.system.process_table import ProcessTable
from running import is_running
from waiting import PATIENCE_S, wait_until

MakeScript = Callable[..., str]
LIMITS = ScriptLimits(seconds=PATIENCE_S)


@pytest.fixture
def script(tmp_path: Path) -> MakeScript:
    """Makes executable scripts."""

    def make(body: str, *, interpreter: str = "#!/bin/sh\n", mode: int = 0o755) -> str:
        path = tmp_path / f"a script {len(list(tmp_path.iterdir()))}"
        path.write_text(interpreter + body)
        path.chmod(mode)
        return str(path)

    return make


def test_output(script: MakeScript) -> None:
    """The result of a script is its standard output, without its standard error."""
    assert b"a=1\nb=2\n" == run_script([script("echo a=1; echo warn >&2; echo b=2")], limits=LIMITS)


def test_arguments_see_no_shell(script: MakeScript) -> None:
    """Arguments are passed unchanged, without a shell."""
    assert b"$(id) * ;\n" == run_script([script('printf "%s\\n" "$1"'), "$(id) * ;"], limits=LIMITS)


def test_bytes_that_are_no_text(script: MakeScript) -> None:
    """Output that is not UTF-8 is returned unchanged."""
    assert b"\xff\xfe\x00" == run_script([script("printf '\\377\\376\\000'")], limits=LIMITS)


def test_no_input(script: MakeScript) -> None:
    """A script that reads its standard input finds it empty, and doesn't block."""
    assert b"" == run_script([script("cat")], limits=LIMITS)


def test_clean_environment(script: MakeScript) -> None:
    """A script gets a clean environment and the working directory /, whatever the environment of this process."""
    code = (
        "from mender_client.system.process import *\n"
        f"print(run_script([{script('env | sort; pwd')!r}], limits=ScriptLimits()).decode())"
    )
    environment = {**os.environ, "SECRET": "x", "LD_PRELOAD": "", "IFS": "y", "http_proxy": "z"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.split("\n") if line and not line.startswith(("PWD=", "_=", "SHLVL="))]
    assert [*sorted(f"{name}={value}" for name, value in CLEAN_ENVIRONMENT.items()), "/"] == lines


def test_closed_descriptors(script: MakeScript, tmp_path: Path) -> None:
    """A script inherits only the descriptors that are passed to it, and no others, even if they are inheritable."""
    with open(tmp_path / "secret", "w") as secret, open(tmp_path / "given", "w") as given:
        os.set_inheritable(secret.fileno(), True)
        listing = [script('for f in /proc/$$/fd/*; do readlink "$f"; done; true')]
        assert b"/secret" not in run_script(listing, limits=LIMITS)
        given_too = run_script(listing, limits=LIMITS, pass_descriptors=[given.fileno()])
        assert (False, True) == (b"/secret" in given_too, b"/given" in given_too)


def test_own_session(script: MakeScript) -> None:
    """A script runs in its own session, so that signals from this process's terminal don't reach it."""
    output = run_script([script("cut -d' ' -f5,6 /proc/self/stat; echo $$")], limits=LIMITS).split()
    assert output[0] == output[1] == output[2]


def failure(argv: list[str], **limits: float) -> str:
    """The text of the ScriptError that a script causes."""
    with pytest.raises(ScriptError) as caught:
        run_script(argv, limits=ScriptLimits(seconds=limits.get("seconds", PATIENCE_S), output_bytes=1000))
    assert str(caught.value).isprintable()
    return caught.value.text


def test_exit_code(script: MakeScript) -> None:
    """The error for a non-zero exit code contains the code and the last line of standard error."""
    path = script("echo a=1; echo first >&2; echo 'no such \033[31mthing' >&2; exit 3")
    assert f"cannot use {path}: it failed with exit code 3 (no such ?[31mthing)" == failure([path])


def test_exit_code_without_a_word(script: MakeScript) -> None:
    """If a failing script prints nothing to standard error, the error contains only the exit code."""
    path = script("exit 1")
    assert f"cannot use {path}: it failed with exit code 1" == failure([path])


def test_complaint_that_is_a_novel(script: MakeScript) -> None:
    """The error contains only the last line of a long standard error."""
    path = script("yes 'a very long complaint' | head -c 300000 >&2; echo >&2; echo the end >&2; exit 1")
    assert failure([path]).endswith("(the end)")


def test_signal(script: MakeScript) -> None:
    """The error for a script that is killed contains the signal."""
    path = script("kill -9 $$")
    assert f"cannot use {path}: it was killed by signal 9" == failure([path])


def out_of_time(path: str, sign: Path) -> int:
    """Let a script exceed its time limit after it has written a pid to a file; returns the pid.

    The longer limits are for a machine so busy that the script doesn't get that far within the shortest.
    """
    for seconds in (0.3, 3.0, 30.0):
        assert f"cannot use {path}: it did not exit within {seconds:g} s" == failure([path], seconds=seconds)
        if sign.exists() and (noted := sign.read_text().strip()):
            return int(noted)
    raise AssertionError("the script does not even begin within 30 s")


def test_time_limit(script: MakeScript, tmp_path: Path) -> None:
    """A script that exceeds its time limit is ended, together with everything that it started."""
    path = script(f"sleep 600 & echo $! > '{tmp_path}/child'; sleep 600")
    child = out_of_time(path, tmp_path / "child")
    wait_until(lambda: not is_running(child))


def test_deaf_script(script: MakeScript, tmp_path: Path) -> None:
    """A script that exceeds its time limit is killed if it ignores SIGTERM."""
    path = script(f"trap '' TERM; echo $$ > '{tmp_path}/pid'; while :; do sleep 0.1; done")
    assert not is_running(out_of_time(path, tmp_path / "pid"))


def test_output_limit(script: MakeScript) -> None:
    """A script that prints without end is ended with an error."""
    path = script("yes")
    assert f"cannot use {path}: it printed more than 1000 bytes" == failure([path])


def test_output_up_to_the_limit(script: MakeScript) -> None:
    """A script may print exactly as much as the limit allows."""
    argv = [script("head -c 1000 /dev/zero")]
    assert 1000 == len(run_script(argv, limits=ScriptLimits(output_bytes=1000)))


def test_child_that_holds_the_pipe(script: MakeScript, tmp_path: Path) -> None:
    """A background process that keeps the output open is not waited for, and is ended with its script."""
    path = script(f"echo a=1; sleep 600 & echo $! > '{tmp_path}/child'")
    assert b"a=1\n" == run_script([path], limits=LIMITS)
    wait_until(lambda: not is_running(int((tmp_path / "child").read_text())))


RUN_ONE = """
import sys
from mender_client.system.process import ScriptLimits, run_script
sys.stdout.write(run_script(sys.argv[1:], limits=ScriptLimits(seconds=600)).decode())
"""


def test_output_before_an_exit_that_is_noticed_late(script: MakeScript, tmp_path: Path) -> None:
    """What a script prints just before it exits counts even if the client was kept from running at that time."""
    begun, end = tmp_path / "begun", tmp_path / "end"
    path = script(f"echo $$ > '{begun}'; until [ -e '{end}' ]; do sleep 0.01; done; echo a=1")
    client = subprocess.Popen([sys.executable, "-c", RUN_ONE, path], stdout=subprocess.PIPE, text=True)
    wait_until(lambda: begun.exists() and begun.read_text())
    client.send_signal(signal.SIGSTOP)
    end.touch()
    wait_until(lambda: Path(f"/proc/{begun.read_text().strip()}/stat").read_text().split(") ")[1][0] == "Z")
    time.sleep(0.6)  # longer than the client waits for output before it checks whether the script has exited
    client.send_signal(signal.SIGCONT)
    assert "a=1\n" == client.communicate(timeout=PATIENCE_S)[0]


def test_closed_output_but_no_end(script: MakeScript) -> None:
    """A script that closes its output and then hangs is ended with an error, too."""
    path = script("exec >&- 2>&-; sleep 600")
    assert f"cannot use {path}: it closed its output but did not exit" == failure([path])


def refusal(program: str) -> str:
    """The error, with its remedy and code, for a program that can't be started."""
    with pytest.raises(ScriptError) as caught:
        run_script([program], limits=LIMITS)
    return str(caught.value)


def test_missing_program() -> None:
    """A missing program causes an error that names it and recommends installing it."""
    remedy = "install it, or the interpreter in its first line"
    assert f"cannot run /no/such: No such file or directory; {remedy} [SCR03]" == refusal("/no/such")


def test_not_executable(script: MakeScript) -> None:
    """A program that is not executable causes an error that names it and the remedy."""
    path = script("", mode=0o644)
    assert f"cannot run {path}: Permission denied; make it executable [SCR03]" == refusal(path)


def test_missing_interpreter(script: MakeScript) -> None:
    """The error for a script whose interpreter is missing says that a file doesn't exist."""
    path = script("", interpreter="#!/no/such/interpreter\n")
    assert failure([path]).endswith("No such file or directory")


def test_no_interpreter(script: MakeScript) -> None:
    """A script whose first line doesn't name an interpreter causes an error that recommends checking that line."""
    path = script("echo a=1\n", interpreter="")
    assert f"cannot run {path}: Exec format error; check its first line [SCR03]" == refusal(path)


# -- programs that outlive this process --------------------------------------------------------------------


def test_no_procfs(tmp_path: Path) -> None:
    """Without procfs, a search for a process raises an error: an empty result would mean that it has ended."""
    proc = tmp_path / "proc"
    with pytest.raises(StorageError, match=f"cannot list {proc}: No such file"):
        ProcessTable(proc).find("MENDER_DEPLOYMENT_ID", "x")


@pytest.fixture
def processes(tmp_path: Path) -> SystemProcesses:
    """Starts programs whose output goes to a file."""
    return SystemProcesses(tmp_path / "output.log")


def ended(process: ProcessRef) -> None:
    """End a spawned process and its group, and reap it."""
    os.killpg(process.pid, signal.SIGKILL)
    os.waitpid(process.pid, 0)


def test_spawned_outlives_us(script: MakeScript, tmp_path: Path) -> None:
    """A spawned program keeps running after its parent has exited, in its own session, with its output in the file."""
    path = script("trap '' HUP; cut -d' ' -f6 /proc/self/stat; echo $$; sleep 0.5; echo $MENDER_A; echo warn >&2")
    log = tmp_path / "output.log"
    log.write_text("before\n")
    code = (
        "import pathlib; from mender_client.system.process import SystemProcesses\n"
        f"SystemProcesses(pathlib.Path({str(log)!r})).spawn([{path!r}], {{'MENDER_A': 'a value'}})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ("", "") == (done.stdout, done.stderr)
    wait_until(lambda: log.read_text().endswith("warn\n"))
    before, session, pid, *rest = log.read_text().splitlines()
    assert ("before", pid, ["a value", "warn"]) == (before, session, rest)


def test_spawned_environment(script: MakeScript, processes: SystemProcesses, tmp_path: Path) -> None:
    """A spawned program gets only the clean environment and the given variables."""
    process = processes.spawn([script("env; echo end")], {"MENDER_A": "x"})
    wait_until(lambda: (tmp_path / "output.log").read_text().endswith("end\n"))
    os.waitpid(process.pid, 0)
    names = {line.partition("=")[0] for line in (tmp_path / "output.log").read_text().splitlines()[:-1]}
    assert {*CLEAN_ENVIRONMENT, "MENDER_A"} == names - {"PWD", "_", "SHLVL", "OLDPWD"}


def test_spawned_output_is_private(script: MakeScript, processes: SystemProcesses, tmp_path: Path) -> None:
    """Only its owner can read the output file."""
    os.waitpid(processes.spawn([script("true")], {}).pid, 0)
    assert 0o600 == stat.S_IMODE((tmp_path / "output.log").stat().st_mode)


def test_spawned_is_recognised(script: MakeScript, processes: SystemProcesses) -> None:
    """A spawned program is recognised by pid, start time and boot ID, and by its environment, until it has ended."""
    process = processes.spawn([script("exec sleep 600")], {"MENDER_DEPLOYMENT_ID": "an-id-of-this-test"})
    assert processes.is_alive(process)
    wait_until(lambda: processes.find("MENDER_DEPLOYMENT_ID", "an-id-of-this-test") == process)
    assert None is processes.find("MENDER_DEPLOYMENT_ID", "an-id-of-this")
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not processes.is_alive(process))  # a zombie has ended
    assert None is processes.find("MENDER_DEPLOYMENT_ID", "an-id-of-this-test")
    os.waitpid(process.pid, 0)
    assert not processes.is_alive(process)


@pytest.mark.parametrize("other", [{"boot_id": "another"}, {"start_time": 1}])
def test_same_pid_is_not_the_same_process(
    script: MakeScript, processes: SystemProcesses, other: dict[str, object]
) -> None:
    """A process with the same pid, but of another boot or with another start time, isn't taken for the sub-updater."""
    process = processes.spawn([script("exec sleep 600")], {})
    facts: dict[str, object] = {
        "pid": process.pid,
        "boot_id": process.boot_id,
        "start_time": process.start_time,
        **other,
    }
    assert not processes.is_alive(ProcessRef(**facts))  # type: ignore[arg-type]  # the table mixes types
    ended(process)


def test_no_proc(tmp_path: Path) -> None:
    """If procfs contains no processes, a program that was started counts as ended."""
    nothing = tmp_path / "proc"
    nothing.mkdir()
    processes = SystemProcesses(tmp_path / "output.log", proc=nothing)
    process = processes.spawn(["/bin/true"], {})
    assert (False, None) == (processes.is_alive(process), processes.find("A", "b"))
    os.waitpid(process.pid, 0)


def test_spawn_missing(processes: SystemProcesses) -> None:
    """A program that can't be started causes an error that names it."""
    with pytest.raises(ScriptError, match=r"cannot run /no/such: No such file or directory; install it"):
        processes.spawn(["/no/such"], {})


def test_output_through_a_planted_link(script: MakeScript, tmp_path: Path) -> None:
    """The output is never written through a planted symbolic link."""
    (tmp_path / "output.log").symlink_to(tmp_path / "victim")
    with pytest.raises(ScriptError, match=r"cannot open .*output\.log for the output of .*: Too many levels"):
        SystemProcesses(tmp_path / "output.log").spawn([script("true")], {})
    assert not (tmp_path / "victim").exists()


def test_parent_killed_before_the_start(script: MakeScript, tmp_path: Path) -> None:
    """If the parent is killed while the child is about to start the program, the child still starts it.

    A lock of the parent is not free until the output file has been opened, so that nobody can miss the file.
    """
    os.mkfifo(tmp_path / "trace")  # opening it blocks the child until another process opens it for reading
    path = script(f"touch '{tmp_path}/started'")
    code = (
        "import fcntl, pathlib; from mender_client.system.process import SystemProcesses\n"
        f"lock = open({str(tmp_path / 'lock')!r}, 'w'); fcntl.flock(lock, fcntl.LOCK_EX); print('held', flush=True)\n"
        f"SystemProcesses(pathlib.Path({str(tmp_path / 'trace')!r})).spawn([{path!r}], {{}})"
    )
    with (
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent,
        open(tmp_path / "lock", "w") as lock,
    ):
        assert parent.stdout is not None
        assert b"held\n" == parent.stdout.readline()
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        wait_until(lambda: bool(children.read_text()))
        parent.kill()
        parent.wait()
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert not (tmp_path / "started").exists()
        with open(tmp_path / "trace", "rb"):
            wait_until((tmp_path / "started").exists)
        fcntl.flock(lock, fcntl.LOCK_EX)


def test_trace_that_cannot_be_left(script: MakeScript, tmp_path: Path) -> None:
    """If the output file can't be created, nothing is started, and the error says why."""
    processes = SystemProcesses(tmp_path / "no directory" / "output.log")
    with pytest.raises(ScriptError, match=r"cannot open .*output\.log for the output of .*: No such file or directory"):
        processes.spawn([script(f"touch '{tmp_path}/started'")], {})
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_umask(script: MakeScript, tmp_path: Path, umask: int) -> None:
    """Whatever the umask of this process, scripts have 077, the sub-updater has 022, and its output is private."""
    log = tmp_path / "output.log"
    code = (
        f"import os, pathlib; os.umask({umask}); from mender_client.system.process import *\n"
        f"print(run_script([{script('umask')!r}], limits=ScriptLimits()).decode())\n"
        f"os.waitpid(SystemProcesses(pathlib.Path({str(log)!r})).spawn([{script('umask')!r}], {{}}).pid, 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ("0077", "0022") == (done.stdout.strip(), log.read_text().strip())
    assert 0o600 == stat.S_IMODE(log.stat().st_mode)


def test_spawned_sees_nothing_of_ours(script: MakeScript, tmp_path: Path) -> None:
    """The sub-updater runs in / with /dev/null as standard input, and inherits not even inheritable descriptors."""
    output = tmp_path / "output.log"
    with open(tmp_path / "secret", "w") as secret:
        os.set_inheritable(secret.fileno(), True)
        body = 'pwd; for f in /proc/$$/fd/[012]; do readlink "$f"; done; readlink /proc/$$/fd/*'
        os.waitpid(SystemProcesses(output).spawn([script(body)], {}).pid, 0)
    lines = output.read_text().splitlines()
    assert ["/", "/dev/null", str(output), str(output)] == lines[:4]
    assert str(tmp_path / "secret") not in lines


def test_age(script: MakeScript, processes: SystemProcesses) -> None:
    """The age of a spawned program is the time since its start, even after it has ended; for another boot, it is 0."""
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    process = processes.spawn([script("exec sleep 600")], {})
    ended(process)
    wait_until(lambda: processes.age_seconds(process) > 0.1)
    assert processes.age_seconds(process) <= time.clock_gettime(time.CLOCK_BOOTTIME) - before + 0.02
    assert 0.0 == processes.age_seconds(ProcessRef(process.pid, "another boot", process.start_time))


# -- ending a spawned program and its child processes --------------------------------------------------------

MARK = ("MENDER_DEPLOYMENT_ID", "another-id-of-this-test")


def orphan(script: MakeScript, processes: SystemProcesses, tmp_path: Path, child: str) -> tuple[ProcessRef, int]:
    """A program that has exited and been reaped, and the pid of its running child; ``child`` prints its pid first."""
    leader = processes.spawn([script(f"{child} & exit 0")], {})
    os.waitpid(leader.pid, 0)
    wait_until(lambda: (tmp_path / "output.log").read_text().endswith("\n"))
    return leader, int((tmp_path / "output.log").read_text())


def test_stop(script: MakeScript, processes: SystemProcesses) -> None:
    """A running program is sent SIGTERM, or SIGKILL if ``is_forced``; for one that has ended, nothing is found."""
    for is_forced in (False, True):
        process = processes.spawn([script("exec sleep 600")], {})
        assert processes.stop(process, *MARK, is_forced=is_forced)
        assert (signal.SIGKILL if is_forced else signal.SIGTERM) == os.waitpid(process.pid, 0)[1]
        assert not processes.stop(process, *MARK, is_forced=is_forced)


def test_stop_a_child_that_outlives_the_program(script: MakeScript, processes: SystemProcesses, tmp_path: Path) -> None:
    """A child of a program that has exited is stopped, and until then the program doesn't count as ended."""
    leader, child = orphan(script, processes, tmp_path, "sh -c 'trap : TERM; echo $$; while :; do sleep 0.1; done'")
    assert processes.stop(leader, *MARK, is_forced=False)
    assert processes.stop(leader, *MARK, is_forced=True)
    wait_until(lambda: not is_running(child))
    wait_until(lambda: not processes.stop(leader, *MARK, is_forced=True))


def test_stop_a_child_in_a_group_of_its_own(script: MakeScript, processes: SystemProcesses, tmp_path: Path) -> None:
    """A child in a process group of its own is stopped, too, since it belongs to the session."""
    code = "import os, time; os.setpgid(0, 0); print(os.getpid(), flush=True); time.sleep(600)"
    leader, child = orphan(script, processes, tmp_path, f"{sys.executable} -c '{code}'")
    assert processes.stop(leader, *MARK, is_forced=False)
    wait_until(lambda: not is_running(child))


def test_stop_what_bears_the_mark(script: MakeScript, processes: SystemProcesses, tmp_path: Path) -> None:
    """A process in another session is stopped if its environment contains the variable, as for ``find``."""
    leader = processes.spawn([script("setsid sh -c 'echo $$; exec sleep 600' & exit 0")], dict([MARK]))
    os.waitpid(leader.pid, 0)
    wait_until(lambda: processes.find(*MARK) is not None)
    wait_until(lambda: (tmp_path / "output.log").read_text().endswith("\n"))
    assert processes.stop(leader, *MARK, is_forced=False)
    wait_until(lambda: processes.find(*MARK) is None)
    assert not processes.stop(None, *MARK, is_forced=False)


@pytest.mark.parametrize(
    "other",
    [{"boot_id": "another"}, {"start_time": 1}, {"start_time": 0}, {"start_time": 1 << 60}],
    ids=["another boot", "an earlier process", "an unknown process", "a later process"],
)
def test_stop_leaves_others_alone(script: MakeScript, processes: SystemProcesses, other: dict[str, Any]) -> None:
    """Another program that happens to have the same pid is not stopped."""
    process = processes.spawn([script("exec sleep 600")], {})
    assert not processes.stop(replace(process, **other), *MARK, is_forced=True)
    assert processes.is_alive(process)
    ended(process)


def test_stop_leaves_the_session_of_others_alone(
    script: MakeScript, processes: SystemProcesses, tmp_path: Path
) -> None:
    """A process left behind by another program with the same pid, recognisable by its output, is not stopped."""
    leader, child = orphan(script, processes, tmp_path, "sh -c 'echo $$; exec sleep 600 >/dev/null 2>&1'")
    wait_until(lambda: "sleep" in Path(f"/proc/{child}/comm").read_text())
    assert not processes.stop(leader, *MARK, is_forced=True)
    assert is_running(child)
    os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_process_of_another_user_bears_no_mark(script: MakeScript, processes: SystemProcesses) -> None:
    """A process of another user is neither found by a variable nor stopped: any user can set the variable."""
    with subprocess.Popen(["/bin/sleep", "600"], env=dict([MARK]), user=65534, group=65534) as stranger:
        wait_until(lambda: f"{MARK[0]}={MARK[1]}".encode() in Path(f"/proc/{stranger.pid}/environ").read_bytes())
        found, is_stopped = processes.find(*MARK), processes.stop(None, *MARK, is_forced=True)
        stranger.kill()
    assert (None, False) == (found, is_stopped)
