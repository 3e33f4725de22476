"""The network breaks at each point of each kind of request: nothing lost, nothing doubled, nothing hangs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mender_client.app.assemble import DeviceParts
from mender_client.app.config import load_config
from mender_client.app.host import Host
from mender_client.app.paths import Paths
from mender_client.system.connection import Timeouts
from mender_devserver import DevServer
from program.proxy import ACTIONS, KINDS, POINTS, Action, FaultProxy, Kind
from program.stage import LEAVE, Device, make_artifact
from waiting import NEVER_S, wait_until

_EVERY = 3
"""If not all points are tested, one in this many is, each with one of the kinds and actions."""
TIMEOUTS = Timeouts(connect=NEVER_S, idle=0.3, total=0.6)


class Stretch:
    """A device whose client runs in this process and uses a network with faults."""

    def __init__(self, device: Device, proxy: FaultProxy) -> None:
        self.device = device
        self.proxy = proxy
        paths = Paths.locate(root=str(device.root))
        config = load_config(paths.config, paths.fallback_config).config
        self.parts = DeviceParts(Host(config, paths, timeouts=TIMEOUTS), config, paths)

    def step_until(self, condition: Callable[[], bool], what: str) -> None:
        """Let the client work without waiting between its steps."""

        def is_reached() -> bool:
            if not condition():
                self.parts.agent.request_poll()
                self.parts.agent.step()
            return condition()

        wait_until(is_reached, what=lambda: f"{what}, after {self.device.server.events[-5:]},")

    def close(self) -> None:
        """Give everything back."""
        self.parts.close()


@pytest.fixture
def stretch(tmp_path: Path) -> Iterator[Stretch]:
    """A device that has registered over a network that still works."""
    with DevServer(tmp_path / "server", tls=False) as server:
        proxy = FaultProxy(server)
        device = Device(tmp_path / "device", server)
        device.configure(ServerURL=proxy.url)
        device.write("plan", LEAVE)
        made = Stretch(device, proxy)
        made.parts.agent.step()
        yield made
        made.close()
        proxy.close()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_network_breaks(stretch: Stretch, kind: Kind, action: Action, is_nightly: bool) -> None:
    """Wherever a request is cut, stalled or reset, each deployment has one true outcome, and is installed once."""
    device, client = stretch.device, stretch.parts.agent
    broken = make_artifact(device.root / "broken.mender", "another-name")
    ends: dict[str, str] = {}
    start = KINDS.index(kind) + ACTIONS.index(action)
    for number, point in enumerate(POINTS if is_nightly else POINTS[start % _EVERY :: _EVERY]):
        if kind == "auth":
            device.server.revoke_tokens(device.id)
        if kind == "inventory":
            client.request_inventory()
        stretch.proxy.arm(kind, action, point)
        if kind == "log":
            deployment = device.deploy(f"broken-{number}", file=broken)
        else:
            deployment = device.deploy(f"release-{number + 2}")
            stretch.step_until(lambda: client.has_handed_over, f"{point}: hand-over")
            wait_until(lambda deployment=deployment: deployment in device.runs)  # type: ignore[misc]
            device.write("etc/mender/artifact_info", f"artifact_name=release-{number + 2}\n")
            device.lock.unlink()
        ends[deployment] = "failure" if kind == "log" else "success"
        stretch.step_until(lambda end=deployment: ends[end] in device.statuses(end), f"{point}: end")  # type: ignore[misc]
        stretch.step_until(lambda: not device.journal["outbox"], f"{point}: outbox")
        assert not stretch.proxy.is_armed
    for deployment, end in ends.items():
        statuses = device.statuses(deployment)
        assert [end] == sorted(set(statuses) & {"success", "failure"})
        assert end == statuses[-1]
        assert (end == "success") == (deployment in device.runs)
        assert (end == "failure") == ("cannot" in device.log_of(deployment))
    assert len(set(device.runs)) == len(device.runs)
