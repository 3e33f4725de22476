"""Worlds whose downloads depend on the time of day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone, tzinfo

from mender_client.client.configured_gates import ConfiguredGates
from mender_client.client.known_time import KnownTime
from mender_client.client.pace import PaceLimits
from mender_client.client.speed_plan import SpeedPlan
from mender_client.core.speed import parse_speeds
from world import World


class UtcConditions:
    """A device in the time zone UTC with a correct clock; see ``core.ports.GateConditions``."""

    def zone(self, name: str) -> tzinfo:
        return timezone.utc

    def content(self, path: str) -> str:
        raise NotImplementedError(path)

    def run(self, argv: object, variables: object) -> tuple[int, str]:
        raise NotImplementedError(argv, variables)

    def clock_problem(self) -> str:
        return ""

    def server_time(self) -> datetime | None:
        return None


def downloads_in(*texts: str) -> Callable[[World], None]:
    """A function that restarts the client of a world with these windows and rates."""

    def arrange(world: World) -> None:
        conditions = UtcConditions()
        time = KnownTime(conditions=conditions, clock=world.clock)
        plan = SpeedPlan(rules=parse_speeds(texts), conditions=conditions, time=time, clock=world.clock)
        gates = ConfiguredGates(rules={}, conditions=conditions, time=time, speeds=plan)
        policy = replace(world.options.policy, pace=PaceLimits(plan=plan))
        world.options = replace(world.options, policy=policy, gates=gates)
        world.client = world.new_client()

    return arrange
