"""The example of docs/guide/gateway.md: four controllers on a serial line, simulated with a pseudo-terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import forking
from mender_devserver import DevServer
from program.gateway import GatewayStage
from waiting import wait_until

from .pages import PROJECT, examples

PAGE = PROJECT / "docs/guide/gateway.md"
HEADING = "Four controllers on a serial line"

LINE = """#!{python}
import fcntl, os, sys
address, request = sys.argv[1:]
line = os.open("{terminal}", os.O_RDWR | os.O_NOCTTY)
fcntl.flock(line, fcntl.LOCK_EX)
os.write(line, f"{{address}} {{request}}\\n".encode())
answer = b""
while not answer.endswith(b"\\n"):
    answer += os.read(line, 100)
print(answer.decode().strip())
"""


class Controllers:
    """Four controllers with firmware of version 1.0."""

    def __init__(self) -> None:
        self.firmware = {str(address): "1.0" for address in range(1, 5)}
        self.flashed: list[str] = []

    def answer(self, line: str) -> str:
        """The response of a controller to a request."""
        address, request, *rest = line.split()
        if request == "id":
            return f"serial-{address}"
        if request == "flash":
            self.firmware[address] = rest[0]
            self.flashed.append(address)
        return self.firmware[address]

    @contextmanager
    def on_a_line(self) -> Iterator[str]:
        """Serve a terminal; yields its name."""
        ours, theirs = pty.openpty()
        tty.setraw(theirs)

        def serve() -> None:
            with suppress(OSError), os.fdopen(ours, "rb", buffering=0, closefd=False) as stream:
                while request := stream.readline():
                    os.write(ours, f"{self.answer(request.decode())}\n".encode())

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        try:
            yield os.ttyname(theirs)
        finally:
            os.close(theirs)  # the stream at the other end is then closed
            server.join()
            os.close(ours)


def blocks(language: str) -> list[str]:
    """The examples in the given language, in the order on the page."""
    return [block.text for where, block in examples(PAGE) if where == HEADING and block.language == language]


def test_four_controllers(tmp_path: Path) -> None:
    """Four devices, whose identity and firmware are transferred over the line, are updated one by one."""
    controllers = Controllers()
    with DevServer(tmp_path / "server") as server, controllers.on_a_line() as terminal:
        stage = GatewayStage(tmp_path / "gateway", server)
        line = stage.write("line", LINE.format(python=sys.executable, terminal=terminal))
        line.chmod(0o755)
        identity, inventory, module, make = (text.replace("/usr/local/bin/line", str(line)) for text in blocks("sh"))
        for name, text in (("identity", identity), ("inventory", inventory), ("modules/pump", module)):
            stage.write(f"devices/{name}", text).chmod(0o755)
        stage.write("devices/devices.json", blocks("json")[0])
        environment = {**os.environ, "PATH": forking.path()}
        subprocess.run(["sh", "-e"], input=make, cwd=tmp_path, env=environment, text=True, check=True)
        gateway = stage.start()
        try:
            ids = [stage.id_of(f"serial-{address}") for address in range(1, 5)]
            server.upload(tmp_path / "pump-2.mender")
            deployment = server.deploy("pump-2", ids)
            wait_until(
                lambda: [server.status(deployment, one) for one in ids] == ["success"] * 4,
                what=lambda: f"four updates ({stage.said})",
            )
            wait_until(
                lambda: ["2.0"] * 4 == [one.inventory.get("firmware") for one in server.devices() if one.id in ids],
                what=lambda: f"the inventories ({stage.said})",
            )
            assert 0 == gateway.stop()
        finally:
            stage.close()
    assert {str(address): "2.0" for address in range(1, 5)} == controllers.firmware
    assert 4 == len(controllers.flashed)


def test_groups(tmp_path: Path) -> None:
    """The example of groups is valid."""
    from mender_client.app.gateway.entries import read_entries

    text = next(block.text for where, block in examples(PAGE) if where == "Install updates")
    (tmp_path / "devices.json").write_text(text)
    assert json.loads(text)["Groups"] == read_entries(tmp_path, Path("/")).groups
