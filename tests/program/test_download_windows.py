"""A download limited to a window, with the real client and storage."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from calling import call
from docs.test_examples import example
from localtime import set_local_time
from mender_devserver import DevServer
from mender_devserver.testing.directory import DirectoryDevice
from waiting import PATIENCE_S, wait_until


@pytest.mark.usefixtures("forked_python")
def test_leaves_its_window(
    mender_device: DirectoryDevice, mender_server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download stops at the end of its window, survives a kill, and resumes in the next one with a new link."""
    monkeypatch.delenv("TZ", raising=False)
    device, part = mender_device, mender_device.root / "var/lib/mender/artifact.mender.part"

    def size() -> int:
        return part.stat().st_size if part.exists() else 0

    def waits() -> bool:
        update = json.loads(call("--root", str(device.root), "status", "--json").stdout)["update"] or {}
        return bool(update.get("gate")) and update["gate"]["reason"] == "no download at this time"

    program = device.write("run/sub-updater", example("docs/guide/sub-updater.md", "A minimal sub-updater"))
    device.install_sub_updater(program)
    mender_server.link_seconds = 1.0
    set_local_time(device.root, 23, 0)
    device.configure(DownloadSpeedLimit=["22:00-05:00 100000"])
    with ThreadPoolExecutor(1) as threads:
        update = threads.submit(device.update, "release-2", os.urandom(600_000), timeout_seconds=PATIENCE_S)
        wait_until(lambda: size() > 50_000)
        set_local_time(device.root, 12, 30)
        wait_until(waits)
        stopped = size()
        device.power_off()
        device.power_on()
        wait_until(waits)
        assert stopped == size()
        set_local_time(device.root, 23, 0)
        outcome = update.result(PATIENCE_S)
    resumed = [int(one) for one in re.findall(r"download resumed at byte (\d+)", outcome.client_log)]
    assert ("success", [stopped]) == (outcome.status, resumed)
    assert "asking for a fresh link" in outcome.client_log
