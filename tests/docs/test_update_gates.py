"""The recipes of docs/guide/update-gates.md, with the real client: each one holds an update, and later releases it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from calling import call
from localtime import set_local_time
from mender_devserver.testing.directory import DirectoryDevice, Outcome
from waiting import PATIENCE_S, wait_until

from .test_examples import example, prompts

pytestmark = pytest.mark.usefixtures("forked_python")
PAGE = "docs/guide/update-gates.md"


class Recipe:
    """A device with the settings of a recipe.

    Args:
        device: the device.
        heading: the heading of the recipe.
    """

    def __init__(self, device: DirectoryDevice, heading: str) -> None:
        self.device, self._heading = device, heading
        self.root = device.root
        program = self.root / "run/sub-updater"
        program.write_text(example("docs/guide/sub-updater.md", "A minimal sub-updater"))
        device.install_sub_updater(program)
        self.is_time(12, 30)
        self._threads = ThreadPoolExecutor(1)

    def settings(self, number: int = 0, change: Callable[[str], str] = str) -> None:
        """Configure the device with an example."""
        self.device.configure(**json.loads(change(example(PAGE, self._heading, number))))

    def program(self, path: str, number: int, *moved: str) -> None:
        """Install a program from an example; files that it reads are below the root."""
        text = example(PAGE, self._heading, number)
        for one in moved:
            assert one in text
            text = text.replace(one, f"{self.root}{one}")
        self.device.write(path.lstrip("/"), text).chmod(0o755)

    def is_time(self, hour: int, minute: int) -> None:
        """Set the local time of the device."""
        set_local_time(self.root, hour, minute)

    def begin(self) -> Future[Outcome]:
        """Deploy an update."""
        return self._threads.submit(self.device.update, "release-2", b"the new app", timeout_seconds=PATIENCE_S)

    def gate(self) -> dict[str, Any]:
        """The gate at which the update waits, according to ``status``; empty if it doesn't wait."""
        update = json.loads(call("--root", str(self.root), "status", "--json").stdout)["update"]
        gate: dict[str, Any] = (update or {}).get("gate") or {}
        return gate

    def waits(self, point: str, reason: str) -> None:
        """Wait until the update waits at a gate."""
        wait_until(lambda: (one := self.gate()) and (one["point"], reason in one["reason"]) == (point, True))

    def close(self) -> None:
        """Wait for the update to end."""
        self._threads.shutdown()


@pytest.fixture
def recipe(mender_device: DirectoryDevice, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Recipe]]:
    """Makes a device for a recipe, with the local time 12:30."""
    monkeypatch.delenv("TZ", raising=False)
    made: list[Recipe] = []

    def make(heading: str) -> Recipe:
        made.append(Recipe(mender_device, heading))
        return made[0]

    yield make
    made[0].close()


def done(update: Future[Outcome]) -> tuple[str, list[str]]:
    """The outcome of an update that was displayed as paused."""
    outcome = update.result(PATIENCE_S)
    return outcome.status, [one for one in outcome.statuses if one.startswith("pause")]


def test_only_at_night(recipe: Callable[[str], Recipe]) -> None:
    """By day the downloaded update waits until 22:00, and the server displays that; at night it is installed."""
    night = recipe("Only at night")
    night.settings()
    update = night.begin()
    night.waits("install", "outside of 22:00-05:00")
    assert "" != night.gate()["until"]
    night.is_time(23, 0)
    assert ("success", ["pause_before_installing"]) == done(update)


@pytest.mark.parametrize(
    ("command", "expected"), [(0, "success"), (1, ""), (2, "failure")], ids=["approve", "postpone", "refuse"]
)
def test_when_an_operator_agrees(recipe: Callable[[str], Recipe], command: int, expected: str) -> None:
    """An update waits for an operator, who approves, postpones or refuses it."""
    operator = recipe("When an operator agrees")
    operator.settings()
    update = operator.begin()
    operator.waits("install", "nobody has approved it yet")
    typed = prompts(example(PAGE, "When an operator agrees", 1))[command]
    assert 0 == call("--root", str(operator.root), *shlex.split(typed)[1:]).returncode
    if not expected:
        operator.waits("install", "postponed until")
        call("--root", str(operator.root), "refuse")
    assert (expected or "failure") == done(update)[0]


def test_not_while_the_machine_runs(recipe: Callable[[str], Recipe]) -> None:
    """While the machine is milling the update waits; when it is idle the update is installed."""
    machine = recipe("Not while the machine is in use")
    machine.settings(1)
    machine.program("/usr/lib/mender/idle", 0, "/run/machine/state")
    machine.device.write("run/machine/state", "milling\n")
    update = machine.begin()
    machine.waits("install", "/usr/lib/mender/idle says: the machine is milling")
    machine.device.write("run/machine/state", "idle\n")
    assert "success" == done(update)[0]


def test_a_machine_that_refuses(recipe: Callable[[str], Recipe]) -> None:
    """A machine that was sold gets no update: the deployment fails, with the reason in its log."""
    machine = recipe("Not while the machine is in use")
    machine.settings(1)
    machine.program("/usr/lib/mender/idle", 0, "/run/machine/state")
    machine.device.write("run/machine/state", "sold\n")
    outcome = machine.begin().result(PATIENCE_S)
    assert ("failure", True) == (outcome.status, "the machine is sold" in outcome.log)


def test_not_on_battery(recipe: Callable[[str], Recipe]) -> None:
    """The update waits for mains power, and until the battery is charged."""
    battery = recipe("Not on battery")
    battery.settings()
    battery.device.write("sys/class/power_supply/AC/online", "0\n")
    capacity = battery.device.write("sys/class/power_supply/BAT0/capacity", "9\n")
    update = battery.begin()
    battery.waits("install", "/sys/class/power_supply/AC/online is '0' and not = 1")
    battery.device.write("sys/class/power_supply/AC/online", "1\n")
    battery.waits("install", "/sys/class/power_supply/BAT0/capacity is '9' and not >= 30")
    capacity.write_text("30\n")
    assert "success" == done(update)[0]


def test_not_over_a_metered_link(recipe: Callable[[str], Recipe]) -> None:
    """Nothing is downloaded over a modem, nor at noon on weekdays; otherwise the download takes place."""
    link = recipe("Not over a metered link, and slowly by day")
    link.settings(1, lambda text: text.replace("Mon-Fri 12:00", "12:00"))
    link.program("/usr/lib/mender/unmetered", 0, "/proc/net/route")
    header = "Iface\tDestination\tGateway\tFlags\n"
    link.device.write("proc/net/route", f"{header}wwan0\t00000000\t0100A8C0\t0003\n")
    update = link.begin()
    link.waits("download", "/usr/lib/mender/unmetered says: the link is metered")
    link.device.write("proc/net/route", f"{header}eth0\t00000000\t0100A8C0\t0003\nwwan0\t0000A8C0\t00000000\t0001\n")
    link.waits("download", "no download at this time")
    link.is_time(23, 0)
    assert "success" == done(update)[0]
