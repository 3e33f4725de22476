"""``UpdateGates``: the configured gates, and checks whether they can work on this device."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.client.configured_gates import ConfiguredGates
from mender_client.client.known_time import KnownTime
from mender_client.client.speed_plan import SpeedPlan
from mender_client.core.gate_rules import FileCondition, GateRules, parse_gate
from mender_client.core.gates import GatePoint
from mender_client.core.speed import SpeedRule, parse_speeds
from mender_client.errors import DeviceError, Diagnostic
from mender_client.system.gates import DeviceConditions, find_zone, read_condition
from mender_client.system.trust import Trust

from .config import Config
from .host import Host
from .paths import Paths

if TYPE_CHECKING:
    from mender_client.core.windows import Window

_LOCAL_TIME = "/etc/localtime"
_COMES_LATER = ("/dev", "/proc", "/run", "/sys", "/tmp", "/var/run")  # noqa: S108 - nothing is written there
"""Files that a program or a device may create after the start."""


class DeviceGates:
    """The gates of a device and its time-dependent download speeds, which share a clock.

    Args:
        config: the settings.
        paths: the device's files.
        host: provides the clocks.
        is_stopping: as for ``run_script``.
    """

    def __init__(
        self, config: Config, paths: Paths, host: Host, is_stopping: Callable[[], bool] = lambda: False
    ) -> None:
        conditions = DeviceConditions(
            below_root=paths.below_root,
            local_time=paths.below_root(_LOCAL_TIME),
            find_problem=Trust.below(paths.root).program_problem,
            clock_check=host.clock_check,
            is_stopping=is_stopping,
            zone_variable=os.environ.get("TZ", ""),
        )
        time = KnownTime(conditions=conditions, clock=host.clock)
        speeds = speed_rules(config)
        self.speeds = SpeedPlan(rules=speeds, conditions=conditions, time=time, clock=host.clock) if speeds else None
        self.configured = ConfiguredGates(
            rules=gate_rules(config), conditions=conditions, time=time, speeds=self.speeds
        )


def speed_rules(config: Config) -> tuple[SpeedRule, ...]:
    """The time-dependent download speeds; none if the limit never changes."""
    return parse_speeds(config.download_speed_limit) if isinstance(config.download_speed_limit, tuple) else ()


def gate_rules(config: Config) -> dict[GatePoint, GateRules]:
    """The conditions of each gate that has any."""
    given = {
        GatePoint.DOWNLOAD: config.gate_download,
        GatePoint.INSTALL: config.gate_install,
        GatePoint.REBOOT: config.gate_reboot,
        GatePoint.COMMIT: config.gate_commit,
    }
    return {point: parse_gate(texts) for point, texts in given.items() if texts}


def gate_problems(config: Config, paths: Paths) -> Iterator[Diagnostic]:
    """Why gates can't work on this device: missing or unusable programs, files and time zones."""
    trust = Trust.below(paths.root)
    for point, rules in gate_rules(config).items():
        name = f"UpdateGates.{point.value.title()}"
        for command in rules.commands:
            if problem := trust.program_problem(paths.below_root(command.argv[0])):
                yield Diagnostic("CFG25", f"{name}: cannot run the program: {problem.text}", problem.remedy)
        yield from _file_problems(name, rules.files, paths)
        yield from _zone_problems(name, rules.windows, paths)
    windows = [rule.window for rule in speed_rules(config) if rule.window is not None]
    yield from _zone_problems("DownloadSpeedLimit", windows, paths)


def _file_problems(name: str, files: Iterable[FileCondition], paths: Paths) -> Iterator[Diagnostic]:
    for path in dict.fromkeys(condition.path for condition in files):
        file = paths.below_root(path)
        if not os.path.isdir(file) and any(Path(path).is_relative_to(one) for one in _COMES_LATER):
            continue
        try:
            read_condition(file)
        except DeviceError as error:
            remedy = error.remedy or "create the file, or specify one below /run that a program creates later"
            yield Diagnostic("CFG27", f"{name}: {error.text}", remedy)


def _zone_problems(name: str, windows: Iterable[Window], paths: Paths) -> Iterator[Diagnostic]:
    for zone in dict.fromkeys(window.zone for window in windows):
        try:
            find_zone(zone, paths.below_root(_LOCAL_TIME), os.environ.get("TZ", ""))
        except DeviceError as error:
            yield Diagnostic("CFG26", f"{name}: {error.text}", error.remedy)
