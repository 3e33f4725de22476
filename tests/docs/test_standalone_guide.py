"""The examples of docs/guide/standalone.md, in their order, on a device with the module that they need."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import forking
from standalone.bench import Bench

from .pages import PROJECT, blocks, examples

PAGE = PROJECT / "docs/guide/standalone.md"


def _type(bench: Bench, text: str, place: Path) -> str:
    """Run the commands of a block; the directories of the device lie below its root."""
    text = text.replace("/media/usb", str(place)).replace(" /opt/", f" {bench.root}/opt/")
    environment = {**os.environ, "PATH": f"{bench.root / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-e", "-c", text], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def test_guide(tmp_path: Path) -> None:
    """Each example has the effect that the page describes."""
    bench = Bench(tmp_path / "device")
    for name, what in (
        ("mender-python-client", 'exec {program} --root {root} "$@"'),
        ("systemctl", ":"),
    ):
        path = bench.root / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{what.format(program=forking.program(), root=bench.root)}\n")
        path.chmod(0o755)
    shutil.copy(PROJECT / "support/modules/v3/single-file", bench.root / "usr/share/mender/modules/v3")
    (bench.data / "device_type").write_text("device_type=board-a\n")
    write, install, commit, reboot, stop, bootstrap = (
        block.text for _, block in examples(PAGE) if block.language == "sh"
    )
    (said,) = (block.text for block in blocks(PAGE) if block.language == "text")
    _type(bench, write, tmp_path)
    assert said == _type(bench, install, tmp_path)
    assert "Committed.\n" == _type(bench, commit, tmp_path)
    assert "conf-3" == bench.provides()["artifact_name"]
    assert "level = 3\n" == (bench.root / "opt/app/app.conf").read_text()
    assert said == _type(bench, reboot, tmp_path)
    bench.does("rollback")
    assert "not installed/enabled" in _type(bench, stop, tmp_path)
    bench.does("rollback")
    _type(bench, bootstrap, tmp_path)
    (tmp_path / "bootstrap.mender").rename(bench.data / "bootstrap.mender")
    bench.info.unlink()
    (bench.data / "journal.json").unlink()
    assert "release-1" == bench.provides()["artifact_name"]
