"""What the configured gates answer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest

from mender_client.client.configured_gates import ConfiguredGates
from mender_client.client.known_time import CLOCK_PATIENCE_SECONDS, KnownTime
from mender_client.client.speed_plan import SpeedPlan
from mender_client.core.gate_rules import parse_gate
from mender_client.core.gates import Closed, GateFacts, GatePoint, Open, Refused, Verdict
from mender_client.core.speed import STOPPED, Speed, parse_speeds
from mender_client.errors import DeviceError, ScriptError

FACTS = GateFacts("d-1", "release-2")
NIGHT = "22:00-05:00"


def at(text: str) -> datetime:
    """A time, UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


NOON, MIDNIGHT, EVENING = at("2026-11-28 12:00"), at("2026-11-29 00:00"), at("2026-11-28 22:00")
DAY = timedelta(days=1)


class World:
    """A device, and the clocks."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.answers: dict[str, tuple[int, str]] = {}
        self.runs: list[tuple[Sequence[str], Mapping[str, str]]] = []
        self.problem = ""
        self.server: datetime | None = None
        self.elapsed = 0.0
        self.wall = NOON

    def zone(self, name: str) -> tzinfo:
        if name == "Mars/Base":
            raise DeviceError("GAT05", "this device does not know the time zone Mars/Base", remedy="install it")
        return ZoneInfo(name) if name else timezone.utc

    def content(self, path: str) -> str:
        if path not in self.files:
            raise DeviceError("GAT06", f"cannot read {path}")
        return self.files[path]

    def run(self, argv: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str]:
        if argv[0] not in self.answers:
            raise ScriptError("GAT07", f"cannot run {argv[0]}")
        self.runs.append((argv, variables))
        return self.answers[argv[0]]

    def clock_problem(self) -> str:
        return self.problem

    def server_time(self) -> datetime | None:
        return self.server

    def monotonic(self) -> float:
        return self.elapsed

    def now(self) -> datetime:
        return self.wall

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    def gates(self, *texts: str, point: GatePoint = GatePoint.INSTALL) -> ConfiguredGates:
        """The gate at one point."""
        return ConfiguredGates(rules={point: parse_gate(texts)}, conditions=self, time=self.known_time())

    def known_time(self) -> KnownTime:
        """The time as far as the device knows it."""
        return KnownTime(conditions=self, clock=self)

    def verdict(self, *texts: str, now: datetime = NOON, facts: GateFacts = FACTS) -> Verdict:
        """What the gate before the installation answers."""
        return self.gates(*texts).verdict(GatePoint.INSTALL, facts, now)


@pytest.fixture
def world() -> World:
    """A device with nothing on it."""
    return World()


def test_without_conditions(world: World) -> None:
    """A gate without conditions is open, whatever the others hold."""
    assert Open() == world.gates("ask").verdict(GatePoint.REBOOT, FACTS, NOON)


def test_windows(world: World) -> None:
    """Outside of the windows a gate is closed until one opens; inside it is open."""
    closed = Closed(f"outside of {NIGHT} and Mon", EVENING, since=NOON)
    assert closed == world.verdict(NIGHT, "Mon")
    assert Open() == world.verdict(NIGHT, "Mon", now=EVENING)


def test_approval(world: World) -> None:
    """With "ask" a gate is closed until an operator has approved."""
    assert Closed("nobody has approved it yet", needs_approval=True, since=NOON) == world.verdict("ask")
    assert Open() == world.verdict("ask", facts=GateFacts("d-1", "release-2", is_approved=True))


def test_approval_and_windows(world: World) -> None:
    """Both have to hold, and both are said: an operator may approve long before the window opens."""
    expected = Closed(f"outside of {NIGHT}; nobody has approved it yet", EVENING, needs_approval=True, since=NOON)
    assert expected == world.verdict(NIGHT, "ask")


def test_files(world: World) -> None:
    """A file that does not hold the value closes the gate, and the message says what it holds."""
    world.files["/sys/power"] = "0\n"
    assert Closed("/sys/power is '0' and not = 1", since=NOON) == world.verdict("when /sys/power = 1")
    world.files["/sys/power"] = "1\n"
    assert Open() == world.verdict("when /sys/power = 1")


RUNS: dict[str, tuple[str, tuple[int, str], Verdict]] = {
    "go on": ("run", (0, ""), Open()),
    "not yet": ("run", (21, ""), Closed("/gate says not yet (exit code 21)", since=NOON)),
    "not yet, and why": ("run", (21, "milling"), Closed("/gate says: milling", since=NOON)),
    "refuse": ("run", (1, ""), Refused("/gate refuses it (exit code 1)")),
    "refuse, and why": ("run", (2, "sold"), Refused("/gate refuses it (exit code 2): sold")),
    "true": ("when", (0, ""), Open()),
    "false": ("when", (1, ""), Closed("/gate says not yet (exit code 1)", since=NOON)),
    "false, and why": ("when", (3, "on battery"), Closed("/gate says: on battery", since=NOON)),
}


@pytest.mark.parametrize("name", RUNS)
def test_programs(world: World, name: str) -> None:
    """A program after "run" decides: 0 go on, 21 not yet, else refuse; after "when" it is waited for."""
    word, answer, expected = RUNS[name]
    world.answers["/gate"] = answer
    assert expected == world.verdict(f"{word} /gate x")
    variables = {
        "MENDER_GATE": "install",
        "MENDER_GATE_DEPLOYMENT_ID": "d-1",
        "MENDER_GATE_ARTIFACT_NAME": "release-2",
    }
    assert [(("/gate", "x"), variables)] == world.runs


def test_programs_come_last(world: World) -> None:
    """A program is asked only if nothing else holds the update, and the next one only if the first agrees."""
    world.answers |= {"/one": (21, ""), "/two": (1, "")}
    world.verdict(NIGHT, "run /one")
    world.verdict("ask", "run /one")
    world.verdict("run /one", "run /two")
    assert ["/one"] == [argv[0] for argv, _ in world.runs]


BROKEN = {
    "zone": ("22:00-05:00 Mars/Base", "this device does not know the time zone Mars/Base"),
    "file": ("when /gone = 1", "cannot read /gone"),
    "program": ("run /gone", "cannot run /gone"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken(world: World, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A broken gate holds the update, which is logged once."""
    text, fault = BROKEN[name]
    gates = world.gates(text)
    for _ in range(2):
        expected = Closed(f"the gate is broken: {fault}", since=NOON)
        assert expected == gates.verdict(GatePoint.INSTALL, FACTS, NOON)
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [True] == [f"the gate before the installation is broken and stays closed: {fault}" in line for line in said]


def test_a_deadline_that_goes_on(world: World) -> None:
    """The deadline counts from when the gate was first closed; then the update goes on."""
    began = GateFacts("d-1", "release-2", closed_since=NOON - DAY)
    assert Closed("nobody has approved it yet", needs_approval=True, since=NOON - DAY) == world.verdict(
        "ask", "after 25h go", facts=began
    )
    assert Open() == world.verdict("ask", "after 24h go", facts=began)


def test_a_deadline_that_fails(world: World) -> None:
    """After a deadline that says so, the deployment fails, and the reason names what it has waited for."""
    began = GateFacts("d-1", "release-2", closed_since=NOON - DAY)
    expected = Refused("it has waited since 2026-11-27 12:00 UTC: nobody has approved it yet")
    assert expected == world.verdict("ask", "after 1d fail", facts=began)


def test_a_deadline_before_the_window(world: World) -> None:
    """Where the deadline ends before the window opens, the gate is asked again then."""
    assert Closed(f"outside of {NIGHT}", NOON + timedelta(hours=2), since=NOON) == world.verdict(NIGHT, "after 2h go")


def test_a_clock_that_was_put_back(world: World) -> None:
    """A gate whose stored time is in the future counts as closed since now: deadlines never move away."""
    began = GateFacts("d-1", "release-2", closed_since=NOON + 1000 * DAY)
    assert Closed("nobody has approved it yet", needs_approval=True, since=NOON) == world.verdict(
        "ask", "after 1d go", facts=began
    )


def test_a_wrong_clock_and_a_server(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Where a server has told the time, it is by that time that windows open, however wrong the clock is."""
    world.problem, world.server = "it shows 1970", EVENING - timedelta(hours=1)
    now = at("1970-01-01 00:10")
    expected = Closed(f"outside of {NIGHT}", now + timedelta(hours=1), since=world.server)
    assert expected == world.verdict(NIGHT, now=now)
    world.server = EVENING
    assert Open() == world.verdict(NIGHT, now=now)
    said = "this device's clock is wrong: it shows 1970; windows use the server's time; "
    assert caplog.messages[0].startswith(said)


def test_a_wrong_clock(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Without any time windows are closed for an hour after the boot; then they count no more. Both are said once."""
    world.problem = "it shows 1970"
    gates, now = world.gates(NIGHT), at("1970-01-01 00:10")
    for elapsed in (0.0, 1.0, CLOCK_PATIENCE_SECONDS - 1):
        world.elapsed = elapsed
        assert Closed("this device's clock is wrong") == gates.verdict(GatePoint.INSTALL, FACTS, now)
    for elapsed in (CLOCK_PATIENCE_SECONDS, CLOCK_PATIENCE_SECONDS + 1):
        world.elapsed = elapsed
        assert Open() == gates.verdict(GatePoint.INSTALL, FACTS, now)
    said = [record.getMessage().split("; ")[1] for record in caplog.records]
    assert [
        "windows stay closed until it is set",
        "it has been wrong for an hour, and windows are ignored",
    ] == said
    world.problem = ""
    assert Closed(f"outside of {NIGHT}", EVENING, since=NOON) == gates.verdict(GatePoint.INSTALL, FACTS, NOON)


def test_a_clock_that_goes_wrong(world: World) -> None:
    """A clock that was right until now is waited for, too; a command that has never seen it right asks no more."""
    world.elapsed = 2 * CLOCK_PATIENCE_SECONDS
    daemon, command = world.gates(NIGHT), world.gates(NIGHT)
    daemon.verdict(GatePoint.INSTALL, FACTS, NOON)
    world.problem = "it shows 1970"
    assert isinstance(daemon.verdict(GatePoint.INSTALL, FACTS, NOON), Closed)
    assert Open() == command.verdict(GatePoint.INSTALL, FACTS, NOON)
    world.elapsed += CLOCK_PATIENCE_SECONDS
    assert Open() == daemon.verdict(GatePoint.INSTALL, FACTS, NOON)


def test_a_deadline_and_a_wrong_clock(world: World) -> None:
    """While the clock is wrong, no deadline passes, and none starts again."""
    world.problem = "it shows 2099"
    began = GateFacts("d-1", "release-2", closed_since=NOON)
    assert Closed("nobody has approved it yet", needs_approval=True, since=NOON) == world.verdict(
        "ask", "after 1d fail", facts=began, now=NOON + 1000 * DAY
    )


def test_a_fault_that_ends(world: World) -> None:
    """A gate that has been repaired is evaluated again."""
    gates = world.gates("when /state = 1")
    assert isinstance(gates.verdict(GatePoint.INSTALL, FACTS, NOON), Closed)
    world.files["/state"] = "1"
    assert Open() == gates.verdict(GatePoint.INSTALL, FACTS, NOON)


# -- the speed of downloads by the clock --------------------------------------------------------------------------


def plan(world: World, *texts: str) -> SpeedPlan:
    """The speed plan of a device."""
    return SpeedPlan(rules=parse_speeds(texts), conditions=world, time=world.known_time(), clock=world)


def test_speed_by_the_clock(world: World) -> None:
    """The speed is that of the first window that is open; it is found anew after a second."""
    speeds = plan(world, "22:00-05:00 unlimited", "08:00-18:00 1000")
    assert Speed(bytes_per_second=1000) == speeds.speed()
    world.wall = EVENING
    assert Speed(bytes_per_second=1000) == speeds.speed()
    world.elapsed += 1
    assert Speed() == speeds.speed()


def test_downloads_wait_for_their_window(world: World) -> None:
    """Outside of all windows the gate before the download is closed, and no other one."""
    gates = ConfiguredGates(rules={}, conditions=world, time=world.known_time(), speeds=plan(world, "22:00-05:00 1000"))
    assert Closed("no download at this time", EVENING) == gates.verdict(GatePoint.DOWNLOAD, FACTS, NOON)
    assert Open() == gates.verdict(GatePoint.INSTALL, FACTS, NOON)
    world.wall = EVENING
    assert Open() == gates.verdict(GatePoint.DOWNLOAD, FACTS, EVENING)


def test_speed_with_a_wrong_clock(world: World) -> None:
    """While the time isn't known, what may stop a download does; after an hour the slowest rate holds."""
    world.problem = "it shows 1970"
    assert Speed(bytes_per_second=500) == plan(world, "Mon 1000", "Tue 500", "unlimited").speed()
    speeds = plan(world, "Mon stop", "Tue unlimited", "22:00-05:00 1000")
    assert Closed("no download: this device's clock is wrong") == speeds.closed()
    world.elapsed += CLOCK_PATIENCE_SECONDS
    assert (None, Speed(bytes_per_second=1000)) == (speeds.closed(), speeds.speed())


def test_speed_in_an_unknown_zone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Windows in a time zone that is gone stop the download, and that is said once."""
    speeds = plan(world, "22:00-05:00 Mars/Base 1000")
    for _ in range(2):
        assert Closed("no download: this device does not know the time zone Mars/Base") == speeds.closed()
    assert STOPPED == speeds.speed()
    assert 1 == sum("the windows of DownloadSpeedLimit cannot be used" in line for line in caplog.messages)
