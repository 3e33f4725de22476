"""One device and its server, and a sequence of deployments."""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mender_devserver import DevServer, Event
from program.stage import DEVICE_TYPE, make_artifact
from soak.device import SoakDevice
from soak.faults import (
    ABORTED,
    DECOMMISSIONED,
    FULL,
    GARBAGE,
    KILLS,
    MARK,
    OUTAGES,
    POWER,
    TOKENS,
    UNWRITABLE,
    Blow,
    Draw,
    draw,
)
from soak.judge import STUCK, Case, judge

BOUND_S = 90.0
"""A deployment that is still open after this time is considered stuck."""

_TICK_S = 0.02
_REST_S = 0.3
_GOOD = 6
_OPEN = {"pending", "downloading", "installing", "rebooting"}
_GARBAGE = (b"", b"{", b"\0" * 700, b'{"schema": 1, "update": 7}', b"[]", os.urandom(300))


@dataclass(slots=True)
class Tally:
    """The results of the deployments of a lane.

    Attributes:
        deployments: the number of deployments carried out.
        ends: the number of deployments by final status on the server.
        met: the number of faults that occurred, by kind.
        wrong: the number of deployments with errors, by kind of error.
        forgotten: the number of deployments whose outcome was lost because the state file was replaced by garbage.
        longest_s: the longest time in seconds that a deployment was open.
        findings: descriptions of the deployments with errors.
    """

    deployments: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    forgotten: int = 0
    longest_s: float = 0.0
    findings: list[str] = field(default_factory=list)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.deployments + other.deployments,
            self.ends + other.ends,
            self.met + other.met,
            self.wrong + other.wrong,
            self.forgotten + other.forgotten,
            max(self.longest_s, other.longest_s),
            self.findings + other.findings,
        )


class Lane:
    """Carries out deployments, one after the other.

    Args:
        directory: the directory for the server, the device and its logs.
        number: the number of the lane, which together with the seed determines the faults.
        seed: the seed of the whole soak test.
        kinds: the faults that are possible on this machine, with their weights.
        keep: the directory for the files of deployments with errors.
    """

    def __init__(self, directory: Path, *, number: int, seed: int, kinds: dict[str, int], keep: Path) -> None:
        self.tally = Tally()
        self._directory, self._number, self._seed, self._kinds, self._keep = directory, number, seed, kinds, keep
        self._rng = random.Random(f"{seed}/{number}")
        directory.mkdir(parents=True)
        self._server = DevServer(directory / "server")
        self._server.start()
        self._server.subscribe(self._hear)
        self._device = SoakDevice(directory, self._server, is_small_disk=FULL in kinds)
        self._bytes = self._upload()
        self._ends: dict[str, str] = {}
        self._heard: dict[str, list[str]] = {}
        self._met: Counter[str] = Counter()
        self._until: list[tuple[float, Callable[[], object]]] = []
        self._is_acceptance_due = False

    def _upload(self) -> int:
        """Upload the Artifacts to the server; return the length of the shortest one."""
        sizes = [self._rng.randrange(50_000, 500_000) for _ in range(_GOOD + 3)]
        names = [*(f"good-{number}" for number in range(_GOOD)), "broken", "other", "posing"]
        for name, size in zip(names, sizes, strict=True):
            device_type = "another" if name in ("other", "posing") else DEVICE_TYPE
            payload = f"{name}\n".encode() + self._rng.randbytes(size)
            path = make_artifact(self._directory / f"{name}.mender", name, device_type=device_type, payload=payload)
            if name == "broken":
                content = bytearray(path.read_bytes())
                content[len(content) // 2] ^= 1
                path.write_bytes(content)
            if name == "posing":
                self._server.upload(path, artifact_name=name, device_types=[DEVICE_TYPE])
            else:
                self._server.upload(path)
        return min(sizes)

    def _hear(self, event: Event) -> None:
        """Record an event of the server; called in the server's thread."""
        if event.name == "status":
            deployment_id, status = event.data["deployment_id"], event.data["status"]
            self._ends[deployment_id] = status
            if event.data.get("by") != "server":
                self._heard.setdefault(deployment_id, []).append(status)
        elif event.name == "fault":
            self._met[event.data["fault"]["headers"][MARK]] += 1

    # -- a deployment -------------------------------------------------------------------------------------------

    def run(self, claim: Callable[[], bool], stop: threading.Event) -> None:
        """Carry out deployments as long as another one may be started, then end all faults and stop device and server.

        Args:
            claim: returns whether another deployment may be started.
            stop: ends the run immediately.
        """
        try:
            self._device.boot()
            while not stop.is_set() and claim():
                self._deploy(draw(self._rng, self._kinds, artifact_bytes=self._bytes), stop)
        finally:
            self._lift()
            self._device.close()
            self._server.stop()

    def _deploy(self, drawn: Draw, stop: threading.Event) -> None:
        before, begun, said_from = self._device.system, time.monotonic(), self._said_bytes()
        name = self._choose(drawn.artifact, before.running)
        self._met.clear()
        self._device.exits.clear()
        self._device.device.write("plan", f"{drawn.plan}\n")
        for fault in drawn.answers:
            self._server.add_fault(fault)
        deployment = self._server.deploy(name, [self._device.device.id])
        is_settled = self._live(deployment, drawn, stop)
        self._lift()
        if stop.is_set():
            return
        took = time.monotonic() - begun
        case = Case(
            drawn,
            Counter(self._met),
            name,
            before,
            self._device.system,
            self._ends.get(deployment, "pending"),
            self._heard.get(deployment, []),
            self._device.history(deployment),
            list(self._device.exits),
            self._said(said_from),
            is_settled,
        )
        self._count(deployment, case, took)

    def _choose(self, kind: str, running: str) -> str:
        if kind != "good":
            return kind
        return self._rng.choice([one for one in (f"good-{number}" for number in range(_GOOD)) if one != running])

    def _live(self, deployment: str, drawn: Draw, stop: threading.Event) -> bool:
        """Run the deployment and inject the faults until everything is idle; return False if that takes too long."""
        begun, blows, quiet_since = time.monotonic(), list(drawn.blows), 0.0
        while not stop.is_set():
            now = time.monotonic()
            if now - begun > BOUND_S:
                return False
            while blows and now - begun >= blows[0].at_s:
                self._strike(blows.pop(0), deployment, now)
            for end in [one for one in self._until if now >= one[0]]:
                self._until.remove(end)
                end[1]()
            self._accept()
            self._device.tick()
            is_open = self._ends.get(deployment, "pending") in _OPEN
            if is_open or self._until or self._is_acceptance_due or not self._device.is_quiet:
                quiet_since = now
            elif now - quiet_since >= _REST_S:
                return True
            time.sleep(_TICK_S)
        return False

    def _strike(self, blow: Blow, deployment: str, now: float) -> None:
        """Inject a fault, and count it if it took effect."""
        device = self._device
        if blow.kind == KILLS:
            self._met[KILLS] += device.kill_client()
            return
        if blow.kind == GARBAGE:
            self._met[GARBAGE] += device.spoil_journal(self._rng.choice(_GARBAGE))
            return
        if blow.kind == ABORTED:
            self._server.abort(deployment)
            self._over(deployment, "aborted")
        elif blow.kind == DECOMMISSIONED:
            self._server.decommission(device.device.id)
            self._is_acceptance_due = True
            self._over(deployment, "decommissioned")
        elif blow.kind in (POWER, TOKENS):
            self._met[blow.kind] += 1
            if blow.kind == POWER:
                device.cut_power()
                device.boot()
            elif not self._is_acceptance_due:
                self._server.revoke_tokens(device.device.id)
        elif not self._until:
            self._met[blow.kind] += 1
            begin, end = {
                OUTAGES: (self._server.stop, self._server.start),
                FULL: (device.fill_disk, device.free_disk),
                UNWRITABLE: (device.lock_directory, device.unlock_directory),
            }[blow.kind]
            begin()
            self._until.append((now + blow.for_s, end))

    def _over(self, deployment: str, word: str) -> None:
        """Record that the operator has ended the deployment, unless it had already ended."""
        (known,) = (one for one in self._server.deployments() if one.id == deployment)
        (device_id,) = known.device_ids
        if known.status_of(device_id) == word:
            self._ends[deployment] = word
            self._met[{"aborted": ABORTED}.get(word, DECOMMISSIONED)] += 1

    def _accept(self) -> None:
        """Accept the decommissioned device when it sends another authorisation request."""
        if not self._is_acceptance_due:
            return
        for device in self._server.devices():
            self._server.accept(device.id)
            self._device.device.id = device.id
            self._is_acceptance_due = False

    def _lift(self) -> None:
        """End all faults."""
        self._server.clear_faults()
        while self._until:
            self._until.pop()[1]()

    # -- results ------------------------------------------------------------------------------------------------

    def _said_bytes(self) -> int:
        return self._device.log.stat().st_size if self._device.log.exists() else 0

    def _said(self, start: int) -> str:
        process = self._device.data / "sub-updater.log"
        with self._device.log.open("rb") as file:
            file.seek(start)
            said = file.read()
        return (said + (process.read_bytes() if process.exists() else b"")).decode("utf-8", "replace")

    def _count(self, deployment: str, case: Case, took: float) -> None:
        tally = self.tally
        tally.deployments += 1
        tally.ends[case.end] += 1
        tally.met += case.met
        tally.longest_s = max(tally.longest_s, took)
        tally.forgotten += case.is_forgotten
        found = judge(case)
        for kind in {kind for kind, _ in found}:
            tally.wrong[kind] += 1
        if found:
            tally.findings.append(self._keep_evidence(deployment, case, found))
        if any(kind == STUCK for kind, _ in found):
            self._server.abort(deployment)
            self._device.reset()

    def _keep_evidence(self, deployment: str, case: Case, found: list[tuple[str, str]]) -> str:
        where = f"seed {self._seed}, device {self._number}, deployment {self.tally.deployments} ({deployment})"
        directory = self._keep / f"{self._seed}-{self._number}-{self.tally.deployments}"
        shutil.copytree(self._device.root, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.mender*"))
        story = [
            where,
            *(f"{kind}: {text}" for kind, text in found),
            f"drawn: {case.draw}",
            f"met: {dict(case.met)}",
            f"{case.name}; before {case.before}; after {case.after}",
            f"server: {case.end}, heard {list(case.heard)}",
            f"sub-updater: {list(case.history)}; exits of the client {list(case.exits)}",
            f"journal: {json.dumps(self._device.journal)}",
            case.said,
        ]
        (directory / "story.txt").write_text("\n".join(story) + "\n")
        return f"{where}: " + "; ".join(f"{kind}: {text}" for kind, text in found)

    def last_look(self) -> list[str]:
        """Find deployments that received another final status, or were installed again, after they were judged."""
        found = [
            f"device {self._number}, deployment {one}: the server took {heard} in the end"
            for one, heard in self._heard.items()
            if {"success", "failure"} <= set(heard)
        ]
        path = self._device.root / "history"
        lines = path.read_text().splitlines() if path.exists() else []
        installs = Counter(line for line in lines if line.endswith(" install"))
        return found + [f"device {self._number}: {line} {times} times" for line, times in installs.items() if times > 1]
