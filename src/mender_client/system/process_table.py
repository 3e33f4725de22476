"""Finds processes in procfs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from mender_client.core.update import ProcessRef

from .files import storage_errors

STATE, GROUP, SESSION, START_TIME = 0, 2, 3, 19
"""The indexes of the fields after the name in ``/proc/PID/stat``; see proc(5)."""

ENDED = "ZX"
"""The states of a process that has ended."""


class ProcessTable:
    """The processes of this device; see ``core.ports.Processes``.

    Args:
        proc: where procfs is mounted.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc

    def is_alive(self, process: ProcessRef) -> bool:
        return process.boot_id == self.boot_id() and self._identify(process.pid) == process

    def age_seconds(self, process: ProcessRef) -> float:
        return process.age_seconds(self.boot_id(), time.clock_gettime(time.CLOCK_BOOTTIME), os.sysconf("SC_CLK_TCK"))

    def find(self, variable: str, value: str) -> ProcessRef | None:
        return next(self._having(variable, value), None)

    def _having(self, variable: str, value: str) -> Iterator[ProcessRef]:
        wanted = f"{variable}={value}".encode()
        for pid in self._pids():
            directory = self._proc / str(pid)
            try:
                if directory.stat().st_uid not in (0, os.geteuid()):
                    continue  # any user can set the variable
                environment = (directory / "environ").read_bytes()
            except OSError:
                continue  # it has exited, or belongs to another user
            if wanted in environment.split(b"\0") and (process := self._identify(pid)) is not None:
                yield process

    def _pids(self) -> Iterator[int]:
        """All processes except this one.

        Raises:
            StorageError: procfs isn't mounted; no process would be found, and a running sub-updater taken for ended.
        """
        with storage_errors("list", self._proc):
            names = os.listdir(self._proc)
        return (int(name) for name in names if name.isdigit() and int(name) != os.getpid())

    def _identify(self, pid: int) -> ProcessRef | None:
        fields = self._stat(pid)
        if fields is None or fields[STATE] in ENDED:
            return None
        return ProcessRef(pid, self.boot_id(), int(fields[START_TIME]))

    def _stat(self, pid: int) -> list[str] | None:
        """The fields of a process's ``stat`` file, from its state on; None if there is no such process."""
        try:
            # the name in parentheses may contain any character
            return (self._proc / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            return None

    def boot_id(self) -> str:
        """The kernel's boot ID; empty if it can't be read."""
        try:
            return (self._proc / "sys/kernel/random/boot_id").read_text("ascii").strip()
        except OSError:
            return ""
