"""Many devices in one process: when each takes a step, and which workers run it."""

from __future__ import annotations

from collections.abc import Callable

from mender_client.client.rounds import Rounds, Standing, Step
from mender_client.core.turns import Turns
from world.clock import WorldClock


class Workers:
    """Workers that keep their jobs until the test runs them."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], None]] = []

    def submit(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def work(self) -> None:
        """Run all jobs."""
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            job()


class Device:
    """A device whose delay and standing are set by the test."""

    def __init__(self, name: str, group: str = "", standing: Standing = Standing.IDLE) -> None:
        self.name = name
        self.group = group
        self.standing = standing
        self.seconds = 100.0
        self.steps: list[bool] = []

    def step(self, *, may_update: bool) -> Step:
        self.steps.append(may_update)
        return Step(self.seconds, self.standing)


class Bench:
    """Rounds with a clock and workers that the test controls."""

    def __init__(self, *devices: Device, most: int = 4, groups: dict[str, int] | None = None) -> None:
        self.clock = WorldClock()
        self.polls, self.slow, self.updates = Workers(), Workers(), Workers()
        self.woken = 0
        self.rounds = Rounds(
            clock=self.clock,
            turns=Turns(most, groups or {}),
            polls=self.polls.submit,
            slow=self.slow.submit,
            updates=self.updates.submit,
            wake=self._wake,
        )
        for device in devices:
            self.rounds.add(device)

    def _wake(self) -> None:
        self.woken += 1

    def run(self) -> float | None:
        """Start the steps that are due, complete the polls, and process their results."""
        self.rounds.run_due()
        self.polls.work()
        return self.rounds.run_due()


def test_steps_when_due() -> None:
    """A new device takes its first step at once, and each further one after the delay that the last one returned."""
    one, other = Device("one"), Device("other")
    other.seconds = 30.0
    bench = Bench(one, other)
    assert 30.0 == bench.run()
    assert (1, 1, 2) == (len(one.steps), len(other.steps), bench.woken)
    bench.clock.seconds += 30.0
    assert 30.0 == bench.run()
    assert (1, 2) == (len(one.steps), len(other.steps))


def test_a_slow_step_holds_up_nobody() -> None:
    """While a device takes a step it starts no second one, even if hurried; the others take theirs."""
    slow, quick = Device("slow"), Device("quick")
    bench = Bench(slow, quick)
    bench.rounds.run_due()
    bench.polls.jobs.pop(0)()  # of the devices due at the same time, the first by name begins
    bench.clock.seconds += 1000.0
    bench.rounds.run_due()
    bench.rounds.hurry(bench.rounds.members)
    bench.rounds.run_due()
    assert 2 == len(bench.polls.jobs)
    bench.polls.work()
    bench.rounds.run_due()
    assert (1, 2) == (len(slow.steps), len(quick.steps))


def test_hurried_at_work() -> None:
    """A device that is hurried during a step takes another one at once, since the step may have missed the request."""
    one = Device("one")
    bench = Bench(one)
    bench.rounds.run_due()
    bench.rounds.hurry(["one"])
    bench.polls.work()
    assert 100.0 == bench.run()
    assert 2 == len(one.steps)


def test_hurried_at_work_and_replaced() -> None:
    """A device that replaces one of the same name, which was hurried during its step, isn't hurried itself."""
    one, other = Device("one"), Device("one")
    bench = Bench(one)
    bench.rounds.run_due()
    bench.rounds.hurry(["one"])
    bench.rounds.drop("one")
    bench.polls.work()
    bench.rounds.run_due()
    bench.rounds.add(other)
    assert 100.0 == bench.run()
    assert (1, 1) == (len(one.steps), len(other.steps))


def test_who_was_slow_has_other_workers() -> None:
    """After a slow step, a device's steps are run by separate workers, until one is quick again."""

    class Slow(Device):
        takes = 60.0

        def step(self, *, may_update: bool) -> Step:
            bench.clock.seconds += self.takes
            return super().step(may_update=may_update)

    slow, quick = Slow("slow"), Device("quick")
    bench = Bench(slow, quick)
    bench.run()
    bench.clock.seconds += 100.0
    bench.rounds.run_due()
    assert (1, 1) == (len(bench.polls.jobs), len(bench.slow.jobs))
    slow.takes = 1.0
    bench.polls.work()
    bench.slow.work()
    bench.rounds.run_due()
    bench.clock.seconds += 100.0
    bench.rounds.run_due()
    assert (2, 0) == (len(bench.polls.jobs), len(bench.slow.jobs))


def test_updates_by_their_own_workers() -> None:
    """A device that is offered an update gets the turn, and the workers for updates run its steps until it is over."""
    device = Device("one", standing=Standing.WANTS)
    bench = Bench(device)
    bench.run()
    assert (0, 1) == (len(bench.polls.jobs), len(bench.updates.jobs))
    device.standing, device.seconds = Standing.UPDATING, 4.0
    bench.updates.work()
    assert 4.0 == bench.run()
    bench.clock.seconds += 4.0
    bench.run()
    device.standing = Standing.IDLE
    bench.updates.work()
    bench.clock.seconds += 4.0
    bench.run()
    assert [False, True, True] == device.steps[:3]
    bench.clock.seconds += 4.0
    bench.run()
    assert [False] == device.steps[3:]


def test_one_of_a_group_at_a_time() -> None:
    """The devices of a group are updated one at a time; the others poll, and start as soon as they get the turn."""
    devices = [Device(name, "bus", Standing.WANTS) for name in ("a", "b", "c")]
    bench = Bench(*devices)
    assert 100.0 == bench.run()
    assert 1 == len(bench.updates.jobs)
    bench.clock.seconds += 100.0
    bench.run()
    assert [1, 2, 2] == [len(device.steps) for device in devices]
    for device in devices:
        device.standing = Standing.IDLE
        bench.updates.work()
        bench.run()
    assert [[False, True], [False, False, True], [False, False, True]] == [device.steps for device in devices]


def test_no_longer_wanted() -> None:
    """A device whose deployment is aborted while it waits for the turn gives up its place in the queue."""
    first, second, third = (Device(name, "bus", Standing.WANTS) for name in ("a", "b", "c"))
    bench = Bench(first, second, third)
    bench.run()
    second.standing = Standing.IDLE
    bench.clock.seconds += 100.0
    bench.run()
    first.standing = Standing.IDLE
    bench.updates.work()
    bench.run()
    bench.updates.work()
    assert [True] == third.steps[-1:]
    assert True not in second.steps


def test_update_of_a_former_process() -> None:
    """An update that was in progress before the start keeps the turn: no other of its group begins until it ends."""
    resumed, other = Device("resumed", "bus", Standing.UPDATING), Device("other", "bus", Standing.WANTS)
    bench = Bench()
    bench.rounds.add(resumed, standing=Standing.UPDATING)
    bench.rounds.add(other)
    bench.run()
    bench.updates.work()
    bench.run()
    assert ([True], [False]) == (resumed.steps, other.steps)
    resumed.standing = Standing.IDLE
    bench.clock.seconds += 100.0
    bench.run()
    bench.updates.work()
    bench.run()
    bench.updates.work()
    assert [True] == other.steps[-1:]


def test_dropped_at_work() -> None:
    """A device that is dropped during a step finishes it, then gives back the turn and takes no further step."""
    device, other = Device("one", "bus", Standing.WANTS), Device("other", "bus", Standing.WANTS)
    bench = Bench(device, other)
    bench.run()
    bench.rounds.drop("one")
    assert bench.rounds.is_at_work("one")
    device.standing = Standing.UPDATING
    bench.run()
    assert [False] == other.steps
    bench.updates.work()
    bench.run()
    assert not bench.rounds.is_at_work("one")
    bench.updates.work()
    assert [False, True] == other.steps
    bench.clock.seconds += 1000.0
    bench.run()
    assert [False, True] == device.steps


def test_a_thousand_in_order() -> None:
    """Each of a thousand devices that poll about every five minutes takes exactly two steps in 330 seconds."""
    devices = [Device(f"device-{number}") for number in range(1000)]
    for number, device in enumerate(devices):
        device.seconds = 300.0 + number % 7
    bench = Bench(*devices)
    bench.run()
    for _ in range(330):
        bench.clock.seconds += 1.0
        bench.run()
    assert {2} == {len(device.steps) for device in devices}
