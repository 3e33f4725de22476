"""Update modules that are classes of the program: every state is a method, called in the program's process."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from mender_client import Client, DeviceDescription, Interrupted, State, StreamedFile, UpdateModule, UsageError
from mender_client.core.artifact import PayloadSource, module_image, write_artifact
from mender_devserver import DevServer, Fault

from .conftest import Embed
from .test_client import device_id, run

OLD, NEW = b"level = 1\n", b"level = 2\n"
BLOB = os.urandom(3_000_000)
INSTALL = ("install", "needs_reboot")
ROLLBACK = ("supports_rollback", "rollback", "needs_reboot", "failure", "cleanup")
REBOOT = (*INSTALL, "reboot", "verify_reboot")
Reboot = Literal["No", "Yes", "Automatic"]


class Crash(BaseException):
    """Ends the process as a crash would: none of our code runs any more."""


class Plan:
    """What the module of a test does, and the location of its file.

    Attributes:
        calls: the methods that were called.
        troubles: functions that are called once, before the work of a method or, with ``_after`` in the key, after it.
    """

    def __init__(self, file: Path, troubles: Mapping[str, Callable[[], object]], reboot: Reboot = "No") -> None:
        self.file = file
        self.reboot: Reboot = reboot
        self.troubles = dict(troubles)
        self.calls = list[str]()
        file.write_bytes(OLD)

    def act(self, name: str, work: Callable[[], object] = lambda: None) -> None:
        """Do the work of a method."""
        self.calls.append(name)
        self.troubles.pop(name, lambda: None)()
        work()
        self.troubles.pop(f"{name}_after", lambda: None)()

    @property
    def modules(self) -> Mapping[str, Callable[[str], UpdateModule]]:
        """The argument ``modules`` of a client."""
        return {"app": lambda tree: AppModule(tree, self)}


class AppModule(UpdateModule):
    """Replaces a file, and can restore it."""

    def __init__(self, tree: str, plan: Plan) -> None:
        super().__init__(tree)
        self.plan = plan
        self.old = Path(tree, "tmp/old")

    def install(self) -> None:
        """Replace the file."""

        def work() -> None:
            os.link(self.plan.file, self.old)
            os.replace(Path(self.tree, "files/app.conf"), self.plan.file)

        self.plan.act("install", work)

    def needs_reboot(self) -> Reboot:
        """Whether to reboot, according to the plan."""
        self.plan.act("needs_reboot")
        return self.plan.reboot

    def reboot(self) -> None:
        """End the process, if the plan says so."""
        self.plan.act("reboot")

    def verify_reboot(self) -> None:
        """Called to verify the new version."""
        self.plan.act("verify_reboot")

    def commit(self) -> None:
        """The last step that can fail."""
        self.plan.act("commit")

    def supports_rollback(self) -> bool:
        """Rollback is supported."""
        self.plan.act("supports_rollback")
        return super().supports_rollback()

    def rollback(self) -> None:
        """Restore the old file."""
        self.plan.act("rollback", lambda: os.replace(self.old, self.plan.file) if self.old.exists() else None)

    def verify_rollback_reboot(self) -> None:
        """Called to verify the old version."""
        self.plan.act("verify_rollback_reboot")

    def failure(self) -> None:
        """Called after a failure."""
        self.plan.act("failure")

    def cleanup(self) -> None:
        """Called at the end."""
        self.plan.act("cleanup")


def upload(
    server: DevServer,
    place: Path,
    payload: Mapping[str, bytes] | None = None,
    *,
    payload_type: str = "app",
    scripts: Mapping[str, bytes] | None = None,
) -> None:
    """Put app-2 on the server."""
    files = payload or {"app.conf": NEW}
    sources = [
        PayloadSource(name, len(content), lambda content=content: io.BytesIO(content))  # type: ignore[misc]
        for name, content in files.items()
    ]
    with (place / "app-2.mender").open("wb") as file:
        write_artifact(file, module_image("app-2", ["testdev"], payload_type, scripts=scripts or {}), sources)
    server.upload(place / "app-2.mender")


@pytest.fixture
def deploy(server: DevServer, embed: Embed, tmp_path: Path) -> Callable[..., str]:
    """Deploy app-2 to the device, which is accepted."""

    def deploy(payload: Mapping[str, bytes] | None = None, **others: Any) -> str:
        upload(server, tmp_path, payload, **others)
        embed().authorise()
        return server.deploy("app-2")

    return deploy


def fail() -> None:
    """An exception that a program's code may raise."""
    raise RuntimeError("no\nroom")


def crash() -> None:
    """A power cut."""
    raise Crash


def lines(server: DevServer, deployment_id: str) -> str:
    """The log that the server got."""
    return "\n".join(line["message"] for line in server.log(deployment_id, device_id(server)) or [])


def test_a_module_installs(
    server: DevServer, embed: Embed, deploy: Callable[..., str], device: DeviceDescription, tmp_path: Path
) -> None:
    """Each state calls its method, the server gets the statuses, and the installed version is remembered."""
    plan, states, deployment_id = Plan(tmp_path / "app.conf", {}), list[State](), deploy()
    client = embed(modules=plan.modules, on_state=lambda state, *_: states.append(state))
    assert "success" == run(client, server, deployment_id)
    assert ([*INSTALL, "commit", "cleanup"], NEW) == (plan.calls, plan.file.read_bytes())
    expected = ["downloading", "installing", "success"]
    assert expected == list(dict.fromkeys(server.statuses(deployment_id, device_id(server))))
    assert (State.DOWNLOADING, State.SUCCEEDED) == (states[0], states[-1])
    assert not (tmp_path / "data/modules/v3/payloads/0000/tree").exists()
    again = embed(modules=plan.modules)  # with the name that the program always passes at its start
    again.send_inventory()
    assert again.check() is None
    seen = server.inventory(device_id(server))
    assert ("release-1", "app-2") == (device.artifact_name, seen["artifact_name"])
    assert "app-2" == seen["rootfs-image.app.version"]


@pytest.mark.parametrize(
    ("method", "calls"),
    [
        ("install", (*INSTALL[:1], *ROLLBACK)),
        ("install_after", (*INSTALL[:1], *ROLLBACK)),
        ("needs_reboot", (*INSTALL, *ROLLBACK)),
        ("commit", (*INSTALL, "commit", *ROLLBACK)),
    ],
)
def test_what_a_module_raises_is_a_failure(
    server: DevServer,
    embed: Embed,
    deploy: Callable[..., str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    method: str,
    calls: tuple[str, ...],
) -> None:
    """An exception in a method fails its state; the update is rolled back, and the log has one line about it."""
    plan, deployment_id = Plan(tmp_path / "app.conf", {method: fail}), deploy()
    assert "failure" == run(embed(modules=plan.modules), server, deployment_id)
    assert (list(calls), OLD) == (plan.calls, plan.file.read_bytes())
    log = lines(server, deployment_id)
    assert 1 == log.count("of update module app: RuntimeError: no room [MOD10]")
    assert "Traceback" not in log + caplog.text
    client = embed(modules=plan.modules)
    client.send_inventory()
    assert "release-1" == server.inventory(device_id(server))["artifact_name"]


@pytest.mark.parametrize("reboot", ["No", "Automatic"])
@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("install", "failure"),
        ("install_after", "failure"),
        ("needs_reboot", "failure"),
        ("verify_reboot", "failure"),
        ("commit", "failure"),
        ("commit_after", "failure"),
        ("cleanup", "success"),
        ("cleanup_after", "success"),
    ],
)
def test_a_program_dies_in_a_method(
    server: DevServer,
    embed: Embed,
    deploy: Callable[..., str],
    tmp_path: Path,
    reboot: Reboot,
    method: str,
    status: str,
) -> None:
    """Whichever method is interrupted by a power failure, the next start rolls back, or finishes what was committed."""
    plan, deployment_id = Plan(tmp_path / "app.conf", {method: crash}, reboot), deploy()
    was_cut = True
    while was_cut:
        client = embed(modules=plan.modules, reboot=crash)
        try:
            was_cut = False
            while server.status(deployment_id, device_id(server)) not in ("success", "failure"):
                client.step()
        except Crash:
            was_cut = True
    is_reached = method != "verify_reboot" or reboot == "Automatic"
    expected = (status, {"success": NEW, "failure": OLD}[status]) if is_reached else ("success", NEW)
    assert expected == (server.status(deployment_id, device_id(server)), plan.file.read_bytes())


@pytest.mark.parametrize("reboot", ["Yes", "Automatic"])
def test_the_program_is_told_to_reboot(
    server: DevServer, embed: Embed, deploy: Callable[..., str], tmp_path: Path, reboot: Reboot
) -> None:
    """A reboot by the module or the function stops the client; the next start verifies and commits."""
    clients, deployment_id = list[Client](), deploy()

    def stop() -> None:
        clients[0].stop()

    plan = Plan(tmp_path / "app.conf", {"reboot": stop}, reboot)
    clients.append(embed(modules=plan.modules, reboot=stop))
    clients[0].run()
    assert "rebooting" == server.status(deployment_id, device_id(server))
    assert "success" == run(embed(modules=plan.modules), server, deployment_id)
    calls = [one for one in (*REBOOT, "commit", "cleanup") if one != "reboot" or reboot == "Yes"]
    assert (calls, NEW) == (plan.calls, plan.file.read_bytes())


@pytest.mark.parametrize(("reboot", "why"), [(None, "MOD11"), (fail, "MOD12")])
def test_a_reboot_fails(
    server: DevServer,
    embed: Embed,
    deploy: Callable[..., str],
    tmp_path: Path,
    reboot: Callable[[], object] | None,
    why: str,
) -> None:
    """Without a function for reboots, or if it fails, the update is rolled back."""
    plan, deployment_id = Plan(tmp_path / "app.conf", {}, "Automatic"), deploy()
    assert "failure" == run(embed(modules=plan.modules, reboot=reboot), server, deployment_id)
    assert OLD == plan.file.read_bytes()
    assert why in lines(server, deployment_id)


class Streaming(UpdateModule):
    """Reads the payload as a stream."""

    seen: list[tuple[str, int, bytes]]
    swallowed: list[str]
    most_bytes = 1_000_000_000

    def download(self, files: Iterator[StreamedFile]) -> None:
        """Read at most the given number of bytes of each file, and suppress errors."""
        try:
            for file in files:
                read = b""
                while len(read) < self.most_bytes and (piece := file.read(70_000)):
                    read += piece
                self.seen.append((file.name, file.size, read))
        except OSError as error:
            self.swallowed.append(str(error))


@pytest.fixture
def streaming() -> type[Streaming]:
    """A module that streams, for one test."""
    return type("Module", (Streaming,), {"seen": [], "swallowed": []})


@pytest.mark.parametrize("spooled", ["always", "never"])
def test_a_module_streams(
    server: DevServer, embed: Embed, deploy: Callable[..., str], streaming: type[Streaming], spooled: str
) -> None:
    """A method download gets the files as streams, which resume transparently when the connection breaks."""
    deployment_id = deploy({"first": BLOB, "empty": b"", "last": b"3"})
    server.add_fault(Fault(kind="artifact", drop_after_bytes=1_000_000))
    client = embed(modules={"app": streaming}, settings={"SpoolArtifact": spooled})
    assert "success" == run(client, server, deployment_id)
    assert [("first", len(BLOB), BLOB), ("empty", 0, b""), ("last", 1, b"3")] == streaming.seen


def test_what_a_module_leaves_unread_is_skipped(
    server: DevServer, embed: Embed, deploy: Callable[..., str], streaming: type[Streaming]
) -> None:
    """A module may read only the beginning of each file."""
    streaming.most_bytes = 1
    deployment_id = deploy({"first": BLOB, "last": b"3"})
    assert "success" == run(embed(modules={"app": streaming}), server, deployment_id)
    assert [("first", 70_000), ("last", 1)] == [(name, len(read)) for name, _, read in streaming.seen]


def test_a_module_cannot_hide_that_the_download_failed(
    server: DevServer, embed: Embed, deploy: Callable[..., str], streaming: type[Streaming]
) -> None:
    """A payload that can't be read to its end fails the download, even if the module suppresses the error."""
    deployment_id = deploy({"first": BLOB})
    server.add_fault(Fault(kind="artifact", drop_after_bytes=1_000_000))
    server.add_fault(Fault(kind="artifact", status=404, times=None))
    settings = {"SpoolArtifact": "never", "RetryDownloadCount": 2, "RetryDownloadSeconds": 1}
    assert "failure" == run(embed(modules={"app": streaming}, settings=settings), server, deployment_id)
    assert (1, True) == (len(streaming.swallowed), "the download ended early" in streaming.swallowed[0])


def test_stop_ends_a_download(
    server: DevServer, embed: Embed, deploy: Callable[..., str], streaming: type[Streaming]
) -> None:
    """Stopping a client during a module's download interrupts the download; the next client starts it again."""
    deployment_id = deploy({"first": BLOB})

    class Stopping(streaming):  # type: ignore[valid-type, misc]
        def download(self, files: Iterator[StreamedFile]) -> None:
            next(files).read(10)
            client.stop()
            super().download(files)

    client = embed(modules={"app": Stopping}, settings={"SpoolArtifact": "never"})
    with pytest.raises(Interrupted):
        client.step()
    assert "success" == run(embed(modules={"app": streaming}), server, deployment_id)
    assert [BLOB] == [read for _, _, read in streaming.seen]


def test_another_type_is_refused(server: DevServer, embed: Embed, deploy: Callable[..., str], tmp_path: Path) -> None:
    """A payload for which the program has no module fails before it is downloaded."""
    plan, deployment_id = Plan(tmp_path / "app.conf", {}), deploy(payload_type="other")
    assert "failure" == run(embed(modules=plan.modules), server, deployment_id)
    assert [] == plan.calls
    assert "no update module for 'other'" in lines(server, deployment_id)


def test_a_module_that_answers_nonsense(server: DevServer, embed: Embed, deploy: Callable[..., str]) -> None:
    """An invalid answer fails the state, whatever its type."""

    class Module(UpdateModule):
        def needs_reboot(self) -> Reboot:
            return True  # type: ignore[return-value]

    deployment_id = deploy()
    assert "failure" == run(embed(modules={"app": Module}), server, deployment_id)
    assert "answers 'True' to NeedsArtifactReboot" in lines(server, deployment_id)


def test_a_module_that_cannot_be_made(server: DevServer, embed: Embed, deploy: Callable[..., str]) -> None:
    """An exception in the constructor fails the state."""

    class Module(UpdateModule):
        def __init__(self, tree: str) -> None:
            super().__init__(tree)
            fail()

    deployment_id = deploy()
    assert "failure" == run(embed(modules={"app": Module}), server, deployment_id)
    assert "RuntimeError: no room" in lines(server, deployment_id)


def test_scripts_of_the_artifact_run(
    server: DevServer, embed: Embed, deploy: Callable[..., str], tmp_path: Path
) -> None:
    """The state scripts of an Artifact are run around the methods, and can fail the update."""
    plan = Plan(tmp_path / "app.conf", {})
    body = f"#!/bin/sh\necho ran >>{tmp_path}/ran; exit 1\n".encode()
    deployment_id = deploy(scripts={"ArtifactCommit_Enter_10_check": body})
    assert "failure" == run(embed(modules=plan.modules), server, deployment_id)
    assert ("ran\n", OLD) == ((tmp_path / "ran").read_text(), plan.file.read_bytes())
    assert [*INSTALL, *ROLLBACK] == plan.calls


def test_a_module_that_is_gone(server: DevServer, embed: Embed, deploy: Callable[..., str], tmp_path: Path) -> None:
    """If a program restarts with an install function instead of the module, the update fails, and is inconsistent."""
    plan, deployment_id = Plan(tmp_path / "app.conf", {"install_after": crash}), deploy()
    with pytest.raises(Crash):
        embed(modules=plan.modules).step()
    assert "failure" == run(embed(lambda *_: True), server, deployment_id)
    client = embed(modules=plan.modules)
    client.send_inventory()
    assert "app-2_INCONSISTENT" == server.inventory(device_id(server))["artifact_name"]


def test_a_program_that_has_modules_now(
    server: DevServer, embed: Embed, deploy: Callable[..., str], tmp_path: Path
) -> None:
    """A hand-over that an earlier version of the program began fails, and the next deployment is installed."""
    first = deploy()
    with pytest.raises(Crash):
        embed(lambda *_: True, on_progress=lambda *_: crash()).step()
    plan = Plan(tmp_path / "app.conf", {})
    assert "failure" == run(embed(modules=plan.modules), server, first)
    assert "by update modules now" in lines(server, first)
    assert "success" == run(embed(modules=plan.modules), server, server.deploy("app-2"))
    assert NEW == plan.file.read_bytes()


def test_one_way_to_install(embed: Embed, tmp_path: Path) -> None:
    """A client installs with a function or with modules, not both; download() of a client that installs is an error."""
    modules = Plan(tmp_path / "app.conf", {}).modules
    with pytest.raises(UsageError, match="pass install= or modules="):
        embed(lambda *_: True, modules=modules)
    with pytest.raises(UsageError, match="installs"):
        embed(modules=modules).download()


def test_what_a_module_is_given(server: DevServer, embed: Embed, deploy: Callable[..., str], tmp_path: Path) -> None:
    """The update's directory has the Artifact's data and the current version; no other user can read the payload."""
    seen = dict[str, object]()

    class Module(UpdateModule):
        def install(self) -> None:
            tree = Path(self.tree)
            seen.update(
                name=(tree / "header/artifact_name").read_text(),
                before=(tree / "current_artifact_name").read_text(),
                meta=json.loads((tree / "header/meta-data").read_text() or "{}"),
                mode=stat.S_IMODE((tree / "files/app.conf").stat().st_mode),
            )

    deployment_id = deploy()
    assert "success" == run(embed(modules={"app": Module}), server, deployment_id)
    assert {"name": "app-2", "before": "release-1\n", "meta": {}, "mode": 0o600} == seen


def test_modules_need_a_client_that_is_open(embed: Embed, tmp_path: Path) -> None:
    """A closed client executes no step."""
    client: Client = embed(modules=Plan(tmp_path / "app.conf", {}).modules)
    client.close()
    with pytest.raises(UsageError, match="closed"):
        client.step()
