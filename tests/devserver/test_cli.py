"""The command line as users use it: a real server, and commands run mostly in this process."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import forking
from calling import call
from devserver.caller import ATTRIBUTES, AUTH, DEPLOYMENTS, Gadget, calling, make_artifact, new_key, public_pem
from mender_devserver import DevServer
from mender_devserver.cli import main

Shared = tuple[Path, dict[str, str]]
PROGRAM = [sys.executable, "-W", "error", "-m", "mender_devserver.cli"]


def quick() -> list[str]:
    """The same without turning warnings into errors, which starts sooner, outside the nightly run."""
    return [str(forking.program().with_name("mender-devserver"))]


@contextmanager
def serving(
    directory: Path, *options: str, program: list[str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A server process, and its contact information."""
    command = [*(program or quick()), "serve", "--json", "--directory", str(directory), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.terminate()
            process.wait()


def run(directory: Path, *words: str) -> tuple[int, str, str]:
    """Run one command; return exit code, standard output and standard error."""
    done = call(*words, "--directory", str(directory), main=main)
    return done.returncode, done.stdout, done.stderr


def run_process(directory: Path, *words: str) -> tuple[int, str, str]:
    """Do the same in a separate process."""
    command = [*PROGRAM, *words, "--directory", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def run_json(directory: Path, *words: str) -> Any:
    """Run one command with ``--json``; return its output."""
    code, output, complaint = run(directory, *words, "--json")
    assert (0, "") == (code, complaint)
    return json.loads(output)


def test_whole_round_by_command_line(tmp_path: Path) -> None:
    """Accept, upload, deploy, status, log, inventory, abort: a user's first day, over TLS."""
    directory = tmp_path / "server"
    artifact = make_artifact(tmp_path / "release-2.mender", "release-2")
    with serving(directory, program=PROGRAM) as (_, told), calling(Path(told["ServerCertificate"])) as caller:
        gadget = Gadget(caller, told["ServerURL"])
        assert (0, "no device has asked yet\n", "") == run_process(directory, "devices")
        assert 401 == gadget.authorize().status
        assert "pending" in run(directory, "devices")[1]
        assert run(directory, "accept", "--all")[1].startswith("accepted ")
        assert 200 == gadget.authorize().status
        gadget.call("PUT", ATTRIBUTES, [{"name": "os", "value": "linux"}])
        (device,) = run_json(directory, "devices")
        assert {"os": "linux"} == run_json(directory, "inventory", device["device_id"])
        assert "uploaded release-2  testdev\n" == run(directory, "upload", str(artifact))[1]
        deployment_id = run(directory, "deploy", "release-2")[1].strip()
        assert f"{deployment_id}  release-2  pending\n1 not polled yet\n" == run(directory, "status")[1]
        assert deployment_id == gadget.poll().json["id"]
        assert (2, "") == run(directory, "log")[:2]
        gadget.report(deployment_id, "failure")
        message = {"timestamp": "2026-01-01T00:00:00Z", "level": "error", "message": "no space left"}
        gadget.call("PUT", f"{DEPLOYMENTS}/{deployment_id}/log", {"messages": [message]})
        status = run_json(directory, "status")
        assert ("finished", ["failure"]) == (status["status"], status["devices"][0]["received"])
        assert "2026-01-01T00:00:00Z  error    no space left\n" == run(directory, "log", deployment_id[:8])[1]
        assert [message] == run_json(directory, "log", "--device", device["device_id"])
        assert run(directory, "deployments")[1].splitlines()[1].split() == [
            deployment_id[:8],
            "release-2",
            "finished",
            "1",
        ]
        second = run_json(directory, "deploy", "release-2", "--device", device["device_id"][:8], "--force")
        assert (0, f"aborted {second['deployment_id']}\n", "") == run(directory, "abort", second["deployment_id"])
        assert run(directory, "reject", device["device_id"])[1].startswith("rejected ")
        assert 401 == gadget.poll().status
        assert run(directory, "decommission", device["device_id"])[1].startswith("decommissioned ")
        assert [] == run_json(directory, "devices")


def test_further_key_is_listed_and_replaces_nothing(tmp_path: Path) -> None:
    """Another key that an accepted device uses is listed; ``accept --all`` leaves it out and reports that."""
    with DevServer(tmp_path, tls=False) as server, calling() as caller:
        first = Gadget(caller, server.url)
        first.authorize()
        run(tmp_path, "accept", "--all")
        second = Gadget(caller, server.url)
        second.authorize()
        Gadget(caller, server.url, {"mac": "other"}).authorize()
        device_id = run_json(tmp_path, "devices")[0]["device_id"][:8]
        identity = "mac=02:00:00:00:00:01"
        rows = run(tmp_path, "devices")[1].splitlines()[1:3]
        assert [f"{device_id}  accepted  {identity}", f"{device_id}  pending   {identity}, with another key"] == rows
        told_then = run(tmp_path, "accept", "--all")[1].splitlines()
        assert ["mac=other", "one"] == [told_then[0].split()[-1], told_then[1].split()[-1]]
        assert (
            f"left out {device_id}  {identity}: 'accept {device_id}' replaces" == told_then[1].rpartition(" its acc")[0]
        )
        assert [200, 401] == [first.authorize().status, second.authorize().status]
        assert run(tmp_path, "accept", device_id)[1].startswith("accepted ")
        assert [401, 200] == [first.authorize().status, second.authorize().status]


def test_configuration_by_command_line(tmp_path: Path) -> None:
    """``configure`` deploys key-value pairs to a device, which is offered them under the deployment's id."""
    with DevServer(tmp_path, tls=False, auto_accept=True) as server, calling() as caller:
        gadget = Gadget(caller, server.url)
        gadget.authorize()
        (device,) = run_json(tmp_path, "devices")
        code, output, _ = run(tmp_path, "configure", device["device_id"][:8], "timezone=UTC", "motd=a=b")
        assert (0, f"configuration-{output.strip()}") == (code, gadget.poll().json["artifact"]["artifact_name"])
        assert b'"motd":"a=b"' in caller.call("GET", gadget.link()).body
        assert (2, "") == run(tmp_path, "configure", "nobody")[:2]


def test_only_log_of_a_deployment_is_shown(tmp_path: Path) -> None:
    """If only one of several devices has sent a log, it needn't be named; if several have, they are listed."""
    artifact = make_artifact(tmp_path / "release-2.mender", "release-2")
    message = {"timestamp": "2026-01-01T00:00:00Z", "level": "error", "message": "no space left"}
    with DevServer(tmp_path / "server", tls=False, auto_accept=True) as server, calling() as caller:
        gadgets = [Gadget(caller, server.url, {"mac": name}) for name in "abc"]
        for gadget in gadgets:
            gadget.authorize()
        run(tmp_path / "server", "upload", str(artifact))
        deployment_id = run(tmp_path / "server", "deploy", "release-2")[1].strip()
        assert "no device has sent one" in run(tmp_path / "server", "log")[2]
        for gadget in gadgets[:2]:
            gadget.poll()
        path = f"{DEPLOYMENTS}/{deployment_id}/log"
        gadgets[0].call("PUT", path, {"messages": [message]})
        assert [message] == run_json(tmp_path / "server", "log")
        gadgets[1].call("PUT", path, {"messages": [message]})
        code, _, complaint = run(tmp_path / "server", "log")
        ids = [one["device_id"] for one in run_json(tmp_path / "server", "status")["devices"]]
        assert (1, [True, True]) == (code, [one in complaint for one in ids])


def test_faults_and_settings_by_command_line(tmp_path: Path) -> None:
    """Faults and settings change a running server."""
    with DevServer(tmp_path, tls=False, auto_accept=True) as server, calling() as caller:
        gadget = Gadget(caller, server.url)
        gadget.authorize()
        words = ["fault", "add", "--kind", "next", "--status", "429", "--header", "Retry-After: 3", "--for-ever"]
        assert (0, 'added kind=next times=null status=429 headers={"Retry-After": "3"}\n', "") == run(tmp_path, *words)
        answer = gadget.poll()
        assert (429, "3") == (answer.status, answer.headers["retry-after"])
        assert [{"kind": "next", "times": None, "status": 429, "headers": {"Retry-After": "3"}}] == run_json(
            tmp_path, "fault", "list"
        )
        assert "no faults are planned\n" == run(tmp_path, "fault", "clear")[1]
        assert 204 == gadget.poll().status
        settings = run_json(tmp_path, "settings", "v2=true", "rate-limit=1/60", "clock_offset_seconds=-5")
        assert (True, "1/60", -5.0) == (settings["v2"], settings["rate_limit"], settings["clock_offset_seconds"])
        assert [204, 429] == [gadget.poll().status for _ in range(2)]
        assert run_json(tmp_path, "settings", "rate_limit=null")["rate_limit"] is None


def test_preauthorized_by_command_line(tmp_path: Path) -> None:
    """A preauthorised device is accepted at its first request."""
    key = new_key("rsa")
    (tmp_path / "device.pub").write_text(public_pem(key))
    with DevServer(tmp_path, tls=False) as server, calling() as caller:
        code, output, _ = run(tmp_path, "preauthorize", "mac=1", "sn=2", "--key", str(tmp_path / "device.pub"))
        assert (0, "mac=1 sn=2\n") == (code, output[-11:])
        assert 200 == Gadget(caller, server.url, {"sn": "2", "mac": "1"}, key).authorize().status


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["accept", "nobody"], 2, "cannot find device 'nobody'"),
        (["status"], 2, "cannot show the newest deployment: there is none"),
        (["deploy", "unknown"], 2, "cannot deploy 'unknown': upload an Artifact of this name first"),
        (["upload", "/dev/null"], 1, "cannot"),
        (["preauthorize", "mac=1", "--key", "missing"], 1, "cannot use missing: No such file or directory"),
        (["upload", "missing"], 1, "cannot use missing: No such file or directory"),
        (["settings", "v3=true"], 1, "cannot set 'v3': choose from auto_accept"),
        (["settings", "v2=maybe"], 1, "cannot set v2 to 'maybe': it is true or false"),
        (["settings", "v2"], 64, "cannot read 'v2': write it as NAME=VALUE"),
        (["accept"], 64, "specify devices to accept, or pass --all"),
        (["acept"], 64, "unknown command 'acept'; did you mean 'accept'?"),
        (["frobnicate"], 64, "unknown command 'frobnicate'; see 'mender-devserver --help'"),
    ],
)
def test_complaint_is_one_line_and_a_code(shared: Shared, words: list[str], code: int, complaint: str) -> None:
    """A command that fails prints one line on standard error; its exit code tells the reason."""
    done = run(shared[0], *words)
    said = done[2].splitlines()
    assert (code, "", 1) == (done[0], done[1], len(said))
    assert complaint == said[0].partition(": ")[2][: len(complaint)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """The directory of a server that no test changes, and its contact information."""
    directory = tmp_path_factory.mktemp("server")
    with serving(directory, "--plain") as (_, told):
        yield directory, told


def test_finished_deployment_is_not_aborted(tmp_path: Path) -> None:
    """The abort of a deployment that is finished is refused, so that nobody believes that it had an effect."""
    with DevServer(tmp_path, tls=False, auto_accept=True) as server, calling() as caller:
        gadget = Gadget(caller, server.url)
        gadget.authorize()
        server.upload(make_artifact(tmp_path / "release-2.mender", "release-2"))
        deployment_id = server.deploy("release-2", force=True)
        gadget.poll()
        gadget.report(deployment_id, "success")
        complaint = f"mender-devserver: cannot abort {deployment_id}: it is finished\n"
        assert (1, "", complaint) == run(tmp_path, "abort", deployment_id)
        assert "finished" == run_json(tmp_path, "status")["status"]


def test_taken_port_is_said(shared: Shared, tmp_path: Path) -> None:
    """If the port is in use, the message has the reason, once and without the number of the error."""
    port = str(urlsplit(shared[1]["ServerURL"]).port)
    code, output, complaint = run_process(tmp_path, "serve", "--port", port)
    expected = (
        f"mender-devserver: cannot listen on 127.0.0.1:{port}: Address already in use; choose another host or port\n"
    )
    assert (1, "", expected) == (code, output, complaint)


def test_no_server_is_said(tmp_path: Path) -> None:
    """Without a server the command says how to start one."""
    code, output, complaint = run_process(tmp_path, "devices")
    assert (1, "", True) == (code, output, "mender-devserver serve --directory" in complaint)


def test_dead_server_is_said(tmp_path: Path) -> None:
    """A server that was killed leaves its contact file behind; the command says that no server answers."""
    with serving(tmp_path, "--plain", program=PROGRAM) as (process, _):
        process.kill()
        process.wait()
        code, _, complaint = run(tmp_path, "devices")
    assert (1, True) == (code, "is it running?" in complaint)


def test_management_is_private(shared: Shared) -> None:
    """The file that gives access to the management API is for its owner only; without its token access is denied."""
    directory, told = shared
    with calling() as caller:
        assert 0o600 == stat.S_IMODE((directory / "devserver.json").stat().st_mode)
        url = told["ServerURL"] + "/api/management/dev/devices"
        assert [401, 401] == [
            caller.call("GET", url, b"", headers).status for headers in ({}, {"Authorization": "Bearer x"})
        ]
        assert 401 == caller.call("PUT", told["ServerURL"] + "/api/management/dev/artifacts", b"x").status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_by_signal(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end the server with exit code 0, and its contact file is removed."""
    with serving(tmp_path, "--plain") as (process, _):
        assert (tmp_path / "devserver.json").exists()
        process.send_signal(number)
        _, complaint = process.communicate()
    assert (0, "", False) == (process.returncode, complaint, (tmp_path / "devserver.json").exists())


def test_serve_tells_what_happens(tmp_path: Path) -> None:
    """The running server prints a line for each event."""
    with serving(tmp_path, "--plain", "--auto-accept") as (process, told), calling() as caller:
        Gadget(caller, told["ServerURL"]).authorize()
        assert process.stdout is not None
        names = [json.loads(process.stdout.readline())["name"] for _ in range(3)]
    assert ["device-pending", "device-accepted", "token"] == names


def test_serve_outlives_its_reader(tmp_path: Path) -> None:
    """A server whose output is no longer read keeps serving, and still ends on a signal."""
    with serving(tmp_path, "--plain", "--auto-accept") as (process, told), calling() as caller:
        assert process.stdout is not None
        process.stdout.close()
        assert [200, 200] == [Gadget(caller, told["ServerURL"]).authorize().status for _ in range(2)]
        process.terminate()  # it prints the events so far
        assert process.stderr is not None
        complaint = process.stderr.read()
        assert (0, "", False) == (process.wait(), complaint, (tmp_path / "devserver.json").exists())


def test_greeting_for_people(tmp_path: Path) -> None:
    """Without ``--json`` the server says which settings to put into mender.conf."""
    command = [*PROGRAM, "serve", "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in range(6)]
        process.terminate()
        process.communicate()
    names = ["ServerURL", "ServerCertificate", "storage", "directory", "'mender-devserver", "stop"]
    assert names == [line[0] for line in lines]
    assert ["page", "--directory", f"{tmp_path}'"] == lines[4][1:4]
    assert os.fspath(tmp_path / "authority.pem") == lines[1][1]


def test_page_is_found(shared: Shared) -> None:
    """``page`` prints the URL that opens the page of the running server."""
    directory, told = shared
    code, output, complaint = run(directory, "page")
    assert (0, "") == (code, complaint)
    assert re.fullmatch(re.escape(told["ServerURL"]) + r"/#[\w-]{43}\n", output)
    assert {"page": output.strip()} == run_json(directory, "page")


@pytest.mark.parametrize("words", [[], ["serve"], ["fault", "add"], ["settings"]])
def test_help_explains(words: list[str]) -> None:
    """Every command has a help text."""
    done = call(*words, "--help", main=main)
    assert (0, "") == (done.returncode, done.stderr)
    assert "usage: mender-devserver" in done.stdout


def test_only_serve_needs_aiohttp(tmp_path: Path) -> None:
    """A command other than ``serve`` starts without loading aiohttp."""
    code = "import sys; sys.modules['aiohttp'] = None; from mender_devserver.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "devices", "--directory", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (1, "", True) == (done.returncode, done.stdout, "cannot find a running dev server" in done.stderr)


def test_reader_may_go_away(shared: Shared) -> None:
    """A closed pipe ends the command silently."""
    command = [*quick(), "settings", "--directory", str(shared[0])]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert (1, "") == (done.returncode, done.stderr)


def test_clients_that_go_away_leave_no_trace(tmp_path: Path) -> None:
    """A client that disconnects in mid-request causes no event and no traceback, and a partial upload isn't kept."""
    with serving(tmp_path, "--plain") as (process, told):
        host, port = told["ServerURL"].removeprefix("http://").split(":")
        token = json.loads((tmp_path / "devserver.json").read_text())["token"]
        for path, headers in ((AUTH, ""), ("/api/management/dev/artifacts", f"Authorization: Bearer {token}\r\n")):
            with socket.create_connection((host, int(port))) as raw:
                head = f"PUT {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: 1000000\r\n\r\n"
                raw.sendall(head.encode() + b"x" * 5000)
        assert (0, "no device has asked yet\n", "") == run(tmp_path, "devices")
        process.terminate()
        complaint = process.communicate()[1]
    assert ("", []) == (complaint, list((tmp_path / "artifacts").iterdir()))
