"""What the conditions of gates depend on: the device's time zones, files, programs and clock."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone, tzinfo
from pathlib import Path

from mender_client.core.text import printable
from mender_client.dataclass import dataclass
from mender_client.errors import DeviceError, Diagnostic, ScriptError

from .clockevidence import ClockCheck
from .files import read_text
from .process import ProgramError, ScriptLimits, run_script

_MOST_BYTES = 64 * 1024


def find_zone(name: str, local_time: Path, variable: str = "") -> tzinfo:
    """The time zone with this name.

    Args:
        name: such as ``Europe/Berlin``; empty for the device's own.
        local_time: the file with the device's time zone; if it doesn't exist, that is UTC.
        variable: the value of ``TZ``, which overrides the device's time zone with a name or a file.

    Raises:
        DeviceError: this device doesn't know the time zone.
    """
    name = name or variable.removeprefix(":")
    if name.startswith("/"):
        name, local_time = "", Path(name)  # as in TZ=:/etc/localtime
    if name in ("UTC", "Etc/UTC") or not (name or os.path.lexists(local_time)):
        return timezone.utc  # needs no database
    try:
        from zoneinfo import ZoneInfo  # half a megabyte, which a client without windows saves

        if name:
            return ZoneInfo(name)
        with local_time.open("rb") as file:
            return ZoneInfo.from_file(file)
    except (ImportError, OSError, ValueError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        shown = printable(name) if name else str(local_time)
        text = f"this device does not know the time zone {shown}"
        remedy = "check its name, and install the system's time zones (tzdata) and Python's zoneinfo"
        raise DeviceError("GAT05", text, remedy=remedy) from error


def read_condition(file: Path) -> str:
    """The content of a file that is a condition.

    Raises:
        DeviceError: it is not a regular file.
        StorageError: it is missing, unreadable, too large or not text.
    """
    if os.path.exists(file) and not os.path.isfile(file):  # a pipe would seem empty
        raise DeviceError(
            "GAT06", f"cannot read {file}: it is not a regular file", remedy="specify another one in UpdateGates"
        )
    return read_text(file, limit=_MOST_BYTES)


@dataclass(kw_only=True, eq=False, repr=False)
class DeviceConditions:
    """See ``core.ports.GateConditions``.

    Attributes:
        below_root: maps a path of the device to its location below the root directory.
        local_time: the file with the device's time zone.
        find_problem: returns why a program must not be run; None if it may.
        clock_check: checks the clock against the evidence.
        limits: the limits of the programs.
        is_stopping: called twice a second while a program runs.
        zone_variable: the value of ``TZ``.
    """

    below_root: Callable[[str], Path]
    local_time: Path
    find_problem: Callable[[Path], Diagnostic | None]
    clock_check: ClockCheck
    limits: ScriptLimits = ScriptLimits()
    is_stopping: Callable[[], bool] = lambda: False
    zone_variable: str = ""

    def zone(self, name: str) -> tzinfo:
        return find_zone(name, self.local_time, self.zone_variable)

    def content(self, path: str) -> str:
        return read_condition(self.below_root(path))

    def run(self, argv: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str]:
        program = self.below_root(argv[0])
        if problem := self.find_problem(program):
            raise ScriptError("GAT07", f"cannot run {program}: {problem.text}", remedy=problem.remedy)
        try:
            run_script([str(program), *argv[1:]], limits=self.limits, variables=variables, is_stopping=self.is_stopping)
        except ProgramError as error:
            if error.code < 0:
                raise
            return error.code, printable(error.complaint.rpartition("\n")[2])
        return 0, ""

    def clock_problem(self) -> str:
        return self.clock_check.clock_problem()

    def server_time(self) -> datetime | None:
        return self.clock_check.server_time()
