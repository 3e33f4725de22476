"""The sequence of the demo: a new device, a successful update, a failed update."""

from __future__ import annotations

import hashlib
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from board import Board
from device import Device, Said
from releases import Release
from timeline import BOLD, GREEN, RED, YELLOW, Timeline, size

from mender_client.errors import MenderError
from mender_devserver import DevServer, Event, Fault

TICK_SECONDS = 0.002
"""Short, so that the messages of server and device are printed in the right order."""
LONGEST_SECONDS = 60.0
DOWNLOAD_SECONDS = 1.5
"""Downloads are slowed down to about this time, so that their progress can be seen."""
SETTLE_SECONDS = 0.5
SHOWN_ATTRIBUTES = ("artifact_name", "device_type", "mac_demo0", "mender_client_version")

OUTCOMES = ("success", "failure", "already-installed", "noartifact", "aborted")


@dataclass(frozen=True, slots=True)
class Form:
    """The parts of the demo that depend on the installer.

    Args:
        installer: the description of the installer in the greeting.
        success: the description of the successful update.
        failure: the description of the failed update.
        statuses: the expected statuses before the final one.
    """

    installer: str
    success: str
    failure: str
    statuses: Sequence[str]


SUB_UPDATER = Form(
    "the sub-updater (support/install)",
    "The client downloads the Artifact, verifies it, and starts the sub-updater, which writes the image to the "
    "inactive partition and reboots into it. The new system is committed only if it passes its health check.",
    "The same again, but the service of this release does not start. After the reboot, the health check fails, "
    "the sub-updater rolls back to the previous partition, and the client sends the log to the server.",
    ("downloading", "installing", "rebooting"),
)
MODULES = Form(
    "the update module (support/modules/v3/rootfs-image)",
    "The client verifies the Artifact while it downloads it, and the update module writes the image straight to the "
    "inactive partition. The client reboots the device. The new system is committed only if it passes its health "
    "check, the Artifact's state script ArtifactCommit_Enter.",
    "The same again, but the service of this release does not start. After the reboot, the health check fails, the "
    "update module rolls back to the previous partition, and after another reboot the client sends the log to the "
    "server.",
    ("downloading", "installing", "rebooting", "installing"),
)


class StuckError(MenderError):
    """An event for which the demo waits doesn't occur."""


class Stage:
    """Runs both sides and prints what they do, while the story waits for something.

    Args:
        server: the server, which has started.
        device: the device, still switched off.
        timeline: prints the events.
    """

    def __init__(self, server: DevServer, device: Device, timeline: Timeline) -> None:
        self.server = server
        self.device = device
        self.timeline = timeline
        self.seen: list[Event] = []
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._promised_bytes = 0
        self._has_token = False
        server.subscribe(self._events.put)

    @property
    def device_id(self) -> str:
        """The id of the only device on the server."""
        return self.server.devices()[0].id

    def tick(self) -> None:
        """Print new events, and let the device continue."""
        while not self._events.empty():
            event = self._events.get()
            self.seen.append(event)
            self._tell(event)
        if self._promised_bytes:
            sent = [one.bytes_sent for one in self.server.requests if one.kind == "artifact"]
            self.timeline.progress(sent[-1], self._promised_bytes)
        for said in self.device.tick():
            self._repeat(said)

    def until(self, condition: Callable[[], bool], awaited: str) -> None:
        """Continue until a condition is true.

        Raises:
            StuckError: the condition doesn't become true in time.
        """
        end = time.monotonic() + LONGEST_SECONDS
        while not condition():
            if time.monotonic() > end:
                raise StuckError(f"cannot continue: waited {LONGEST_SECONDS:g} s for {awaited}; see the lines above")
            self.tick()
            time.sleep(TICK_SECONDS)
        self.tick()

    def for_seconds(self, seconds: float) -> None:
        """Continue for some time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.tick()
            time.sleep(TICK_SECONDS)

    def until_event(self, name: str, since: int, **data: Any) -> None:
        """Continue until the server emits an event.

        Args:
            name: the name of the event.
            since: the first index in ``seen`` to consider.
            data: the data that the event must have.
        """

        def is_there() -> bool:
            return any(
                event.name == name and all(event.data.get(key) == value for key, value in data.items())
                for event in self.seen[since:]
            )

        self.until(is_there, f"the server to see '{name}'")

    def index_of_outcome(self, since: int) -> int:
        """The index in ``seen`` of the first final status at or after the index ``since``."""
        return next(
            index
            for index, event in enumerate(self.seen)
            if index >= since and event.name == "status" and event.data["status"] in OUTCOMES
        )

    def _repeat(self, said: Said) -> None:
        colour = {"power": YELLOW, "boot loader": YELLOW}.get(said.who, GREEN)
        self.timeline.device(said.who, said.text, colour=RED if said.is_complaint else colour)

    def _tell(self, event: Event) -> None:
        data, say = event.data, self.timeline.server
        match event.name:
            case "device-pending":
                say(f"new device, pending acceptance: {_pairs(data['identity'])}")
            case "device-accepted":
                say("accepted")
            case "token":
                if not self._has_token:  # every start of the client gets a token: show only the first one
                    say("issues a token, which authenticates all further requests")
                self._has_token = True
            case "inventory":
                say(f"received the {self._inventory(str(data['device_id']))}")
            case "offered":
                say("offers it to the device, with a download link")
            case "download":
                say(f"sends the Artifact ({size(data['bytes_promised'])})")
                self._promised_bytes = data["bytes_promised"]
            case "download-end":
                self.timeline.progress(data["bytes_sent"], self._promised_bytes)
                self.timeline.end_progress(self._promised_bytes)
                self._promised_bytes = 0
            case "status":
                say(f"status: {data['status'].upper()}")
            case "log":
                say(f"received the deployment log, {data['messages']} lines")
            case "deployment":
                say(f"deployment {data['deployment_id'][:8]}: {data['artifact_name']}")
            case "artifact":
                say(f"new Artifact {data['artifact_name']} for {', '.join(data['device_types'])}")
            case "fault":
                return  # the fault that slows down the download
            case name:
                say(name)

    def _inventory(self, device_id: str) -> str:
        attributes = self.server.inventory(device_id)
        shown = [f"{name}={attributes[name]}" for name in SHOWN_ATTRIBUTES if name in attributes]
        if sum(event.name == "inventory" for event in self.seen) > 1:
            shown = shown[:1]
        return f"inventory: {', '.join(shown)} and {len(attributes) - len(shown)} more"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


class Story:
    """The two deployments, carried out on a stage.

    Args:
        stage: the stage.
        good: the release that is deployed first.
        bad: the release that is deployed next, and fails.
        form: the texts and statuses for the installer.
    """

    def __init__(self, stage: Stage, good: Release, bad: Release, form: Form) -> None:
        self._stage = stage
        self._form = form
        self._good = good
        self._bad = bad
        self._deployments: dict[str, str] = {}

    def tell(self) -> None:
        """Carry out both deployments.

        Raises:
            MenderError: the demo cannot continue.
        """
        self._let_in()
        self._update(
            self._good,
            f"2. A successful update: {self._good.name}",
            self._form.success,
            "success",
        )
        self._update(
            self._bad,
            f"3. A failed update: {self._bad.name}",
            self._form.failure,
            "failure",
        )
        self._show_log()

    def _let_in(self) -> None:
        stage = self._stage
        stage.timeline.chapter(
            "1. A new device",
            "The client generates a key and sends the device's identity, signed with that key, to the server. The "
            "device gets no updates until an operator has accepted it.",
        )
        stage.timeline.server(f"listens on {stage.server.url} (TLS)")
        stage.device.power_on()
        stage.until_event("device-pending", 0)
        stage.for_seconds(SETTLE_SECONDS)
        stage.timeline.operator("accept the device")
        stage.server.accept(stage.device_id)
        stage.until_event("inventory", 0)
        stage.for_seconds(SETTLE_SECONDS)

    def _update(self, release: Release, title: str, why: str, outcome: str) -> None:
        stage = self._stage
        stage.timeline.chapter(title, why)
        since = len(stage.seen)
        stage.server.upload(release.path)
        stage.tick()
        rate = max(release.path.stat().st_size / DOWNLOAD_SECONDS, 1.0)
        stage.server.add_fault(Fault(kind="artifact", bytes_per_second=rate))
        stage.timeline.operator(f"deploy {release.name} to all devices")
        self._deployments[release.name] = stage.server.deploy(release.name)
        deployment_id, device_id = self._deployments[release.name], stage.device_id
        stage.until(
            lambda: stage.server.status(deployment_id, device_id) in OUTCOMES,
            f"the deployment of {release.name} to end",
        )
        if self._statuses(release)[-1:] == [outcome]:
            stage.until_event("inventory", stage.index_of_outcome(since))
        stage.for_seconds(SETTLE_SECONDS)

    def _statuses(self, release: Release) -> list[str]:
        return self._stage.server.statuses(self._deployments[release.name], self._stage.device_id)

    def _log(self, release: Release) -> list[dict[str, Any]]:
        return self._stage.server.log(self._deployments[release.name], self._stage.device_id) or []

    def _show_log(self) -> None:
        timeline, shortened = self._stage.timeline, self._stage.device.shortened
        timeline.text()
        timeline.text(f"The log of {self._bad.name} on the server (ids and paths shortened):", BOLD)
        for message in self._log(self._bad):
            text = shortened(message["message"])
            timeline.verbatim(f"    {message['timestamp'][11:19]} {message['level']:7} {text}")

    def verdict(self) -> bool:
        """Compare the actual with the expected results, and print the comparison; True if they agree."""
        timeline = self._stage.timeline
        timeline.text()
        timeline.text("Result", BOLD)
        checks = [
            self._check_statuses(self._good, "success"),
            self._check_statuses(self._bad, "failure"),
            self._check_log(),
            *self._check_device(self._stage.device.board),
        ]
        for is_good, text in checks:
            timeline.verdict(is_good=is_good, text=text)
        return all(is_good for is_good, _ in checks)

    def _check_statuses(self, release: Release, outcome: str) -> tuple[bool, str]:
        what, expected = f"the server has the statuses of {release.name}: ", [*self._form.statuses, outcome]
        return _compare(what, expected, self._statuses(release), ", ".join)

    def _check_log(self) -> tuple[bool, str]:
        lines = len(self._log(self._bad))
        return lines > 0, f"the server has the log of {self._bad.name}: {lines} lines"

    def _check_device(self, board: Board) -> list[tuple[bool, str]]:
        trace = board.update_in_progress
        return [
            _compare("the active partition is ", board.parts[1], board.running, str),
            (
                _digest(board.partition(board.running), self._good.image_bytes) == self._good.image_sha256,
                f"the active partition contains the image of {self._good.name}, byte for byte",
            ),
            _compare("artifact_info names ", self._good.name, board.artifact_name, str),
            (not trace.exists(), f"no update is in progress (there is no {trace.relative_to(board.data)})"),
        ]


def _compare(what: str, expected: Any, actual: Any, shown: Callable[[Any], str]) -> tuple[bool, str]:
    if expected == actual:
        return True, f"{what}{shown(actual)}"
    return False, f"{what}{shown(actual) or 'nothing'} (expected: {shown(expected)})"


def _digest(path: Path, length: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while length > 0 and (chunk := file.read(min(length, 1024 * 1024))):
            digest.update(chunk)
            length -= len(chunk)
    return digest.hexdigest()
