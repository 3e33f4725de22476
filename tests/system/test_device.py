"""Data about the device: identity, inventory and provides."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from mender_client.core.keyvalue import KeyValues
from mender_client.core.model import IdentityFormat, Provides
from mender_client.errors import Diagnostic, ScriptError, StorageError
from mender_client.system.device import ScriptedDevice
from mender_client.system.process import ScriptLimits
from waiting import PATIENCE_S


class Directory:
    """A device's files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity = path / "identity"
        self.inventory = path / "inventory"
        self.inventory.mkdir()
        self.type = path / "device_type"
        self.info = path / "artifact_info"
        self.problems: dict[Path, Diagnostic] = {}

    def device(self, form: IdentityFormat = IdentityFormat.PLAIN) -> ScriptedDevice:
        """The device as these files describe it."""
        return ScriptedDevice(
            identity_script=self.identity,
            identity_format=form,
            inventory_directory=self.inventory,
            device_type_file=self.type,
            artifact_info_file=self.info,
            find_problem=lambda path: self.problems.get(path),
            limits=ScriptLimits(seconds=PATIENCE_S, output_bytes=1000),
        )


@pytest.fixture
def files(tmp_path: Path) -> Directory:
    """A device without any scripts or files."""
    return Directory(tmp_path)


def script(path: Path, body: str, *, mode: int = 0o755) -> None:
    """Write a script."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(mode)


def test_identity(files: Directory) -> None:
    """The identity is the standard output of the script, in the configured format."""
    script(files.identity, "echo mac=x; echo noise >&2")
    assert '{"mac":"x"}' == files.device().identity().id_data
    assert '{"mac":["x"]}' == files.device(IdentityFormat.LIST).identity().id_data


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo mac=x; exit 1", "it failed with exit code 1"),
        ("exit 0", "the identity script printed nothing"),
        ("echo mac", "is not key=value"),
        ("printf 'mac=\\377'", "its output is not UTF-8 text"),
        ("yes mac=x", "it printed more than 1000 bytes"),
    ],
)
def test_no_identity(files: Directory, body: str, reason: str) -> None:
    """A script that fails or prints invalid output causes an error: a wrong identity would mean another device."""
    script(files.identity, body)
    with pytest.raises(ScriptError, match=reason):
        files.device().identity()


def test_each_script_in_the_log(files: Directory, caplog: pytest.LogCaptureFixture) -> None:
    """At debug level, each run of a script is logged in one line: its path, exit code or signal, and duration."""
    caplog.set_level(logging.DEBUG, "mender_client")
    script(files.identity, "echo mac=x")
    script(files.inventory / "a", "exit 3")
    script(files.inventory / "b", "kill -9 $$")
    device = files.device()
    device.identity()
    device.inventory()
    lines = [record.message for record in caplog.records if record.levelno == logging.DEBUG]
    assert [
        f"ran {files.identity}: exit code 0, 6 bytes in S s",
        f"ran {files.inventory / 'a'}: exit code 3 in S s",
        f"ran {files.inventory / 'b'}: signal 9 in S s",
    ] == [re.sub(r"\d+\.\d\d\d s", "S s", line) for line in lines]


def test_identity_script_missing(files: Directory) -> None:
    """A missing identity script causes an error that names it."""
    with pytest.raises(ScriptError, match=r"cannot run .*identity: No such file"):
        files.device().identity()


def test_inventory(files: Directory) -> None:
    """All executable files are run in the order of their names; other entries are ignored."""
    script(files.inventory / "b", "echo b=1")
    script(files.inventory / "a", "echo a=1; echo a=2")
    script(files.inventory / "c", "echo c=1", mode=0o644)
    (files.inventory / "d").mkdir()
    (files.inventory / "e").symlink_to(files.inventory / "e")
    assert [KeyValues((("a", "1"), ("a", "2")), ()), KeyValues((("b", "1"),), ())] == list(files.device().inventory())


def test_inventory_that_fails_in_part(files: Directory, caplog: pytest.LogCaptureFixture) -> None:
    """A failing script and malformed lines are left out with a warning, and all other attributes are kept."""
    script(files.inventory / "a", "echo a=1; exit 1")
    script(files.inventory / "b", "printf 'oops\\nb=\\377\\n'")
    with caplog.at_level(logging.WARNING):
        assert [KeyValues((("b", "\ufffd"),), ("oops",))] == list(files.device().inventory())
    first, second = (record.getMessage() for record in caplog.records)
    assert first.endswith(
        "inventory/a: it failed with exit code 1: its attributes are left out; "
        "run it by hand, as the client's user [INV12]"
    )
    assert second.endswith(
        "inventory/b printed 1 line(s) that are not key=value, the first is 'oops'; correct the script [INV13]"
    )


def test_inventory_that_fails_again(files: Directory, caplog: pytest.LogCaptureFixture) -> None:
    """A failure is logged only if the script succeeded, or failed in another way, the time before."""
    device = files.device()
    for body in ("exit 1", "exit 1", "exit 2", "echo a=1", "exit 2"):
        script(files.inventory / "a", body)
        with caplog.at_level(logging.WARNING):
            device.inventory()
    assert [1, 2, 2] == [int(record.getMessage().split("exit code ")[1][0]) for record in caplog.records]


def test_inventory_directory_missing(files: Directory, caplog: pytest.LogCaptureFixture) -> None:
    """A missing inventory directory is the same as an empty one; a file in place of it causes a warning."""
    files.inventory.rmdir()
    with caplog.at_level(logging.WARNING):
        assert [] == list(files.device().inventory())
    assert "" == caplog.text
    files.inventory.write_text("no directory")
    assert [] == list(files.device().inventory())
    assert f"cannot read the inventory directory {files.inventory}: Not a directory" in caplog.text


def plain(provides: Provides) -> Provides:
    """The same provides with a plain dictionary, which can be compared."""
    return Provides(provides.device_type, provides.artifact_name, dict(provides.others))


def test_provides(files: Directory) -> None:
    """The device provides its device type, its artifact name and all other keys of artifact_info."""
    files.type.write_text("device_type= qemu \n")
    files.info.write_text("artifact_name=release-1\nrootfs-image.version=1\nartifact_group=g\n")
    others = {"rootfs-image.version": "1", "artifact_group": "g"}
    assert Provides("qemu", "release-1", others) == plain(files.device().provides())


def test_files_as_people_write_them(files: Directory) -> None:
    """In hand-edited files, a byte order mark, comment lines and blanks around keys and values are ignored."""
    files.type.write_bytes(b"\xef\xbb\xbfdevice_type=qemu\r\n")
    files.info.write_bytes(b"\xef\xbb\xbf# X=7\n#Y=8\n  # Z=9\nartifact_name = a # b\nv=#1\n")
    assert Provides("qemu", "a # b", {"v": "#1"}) == plain(files.device().provides())


def test_stray_device_type(files: Directory) -> None:
    """A device_type in artifact_info is ignored."""
    files.type.write_text("device_type=qemu\n")
    files.info.write_text("artifact_name=a\ndevice_type=other\n")
    provides = files.device().provides()
    assert ("qemu", {}) == (provides.device_type, dict(provides.others))


@pytest.mark.parametrize("content", [None, "artifact_name=\n", "nonsense\n"])
def test_unknown_artifact(files: Directory, content: str | None) -> None:
    """Without an artifact name in artifact_info, the name is reported as unknown."""
    files.type.write_text("device_type=qemu\n")
    if content is not None:
        files.info.write_text(content)
    assert "unknown" == files.device().provides().artifact_name


def test_missing_artifact_info_is_said_once(files: Directory, caplog: pytest.LogCaptureFixture) -> None:
    """A missing artifact_info is logged once, not at every update poll."""
    files.type.write_text("device_type=qemu\n")
    device = files.device()
    with caplog.at_level(logging.WARNING):
        device.provides()
        device.provides()
    assert 1 == len(caplog.records)


@pytest.mark.parametrize("content", [None, "", "device_type=\n", "type=qemu\n"])
def test_no_device_type(files: Directory, content: str | None) -> None:
    """A missing device type causes an error: polling with a wrong one would make deployments fail."""
    if content is not None:
        files.type.write_text(content)
    with pytest.raises(StorageError, match=r"cannot (read|find the device type in) .*device_type"):
        files.device().provides()


def test_identity_script_that_another_user_could_have_written(files: Directory) -> None:
    """An identity script that another user could have written isn't run, and the error names the remedy."""
    script(files.identity, f"touch {files.path}/was-run; echo mac=x")
    files.problems[files.identity] = Diagnostic("FIL14", "it is his", "run 'chown'")
    with pytest.raises(
        ScriptError, match=r"^cannot run \S+/identity: another user could have written it: it is his; run"
    ):
        files.device().identity()
    assert not (files.path / "was-run").exists()


def test_inventory_script_that_another_user_could_have_written(
    files: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    """An inventory script that another user could have written is skipped with a warning; the others are run."""
    script(files.inventory / "1-his", f"touch {files.path}/was-run; echo a=1")
    script(files.inventory / "2-ours", "echo b=2")
    files.problems[files.inventory / "1-his"] = Diagnostic("FIL14", "it is his")
    assert [KeyValues((("b", "2"),), ())] == list(files.device().inventory())
    assert not (files.path / "was-run").exists()
    assert "1-his: another user could have written it: it is his: its attributes are left out" in caplog.text
