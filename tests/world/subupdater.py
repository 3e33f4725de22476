"""A typical sub-updater: two partitions, a trial boot, commit or roll back, report, clean up.

It follows the contract and stores each step before acting, as the one in ``support/`` does. It is a generator: between
two ``yield`` statements other processes run, and the power may be cut.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mender_client.core.backoff import Backoff
from mender_client.core.model import Status
from mender_client.errors import MenderError

from .power import Kind
from .stores import ARTIFACT

if TYPE_CHECKING:
    from .device import World

STATE, BOOT = "sub-updater.state", "boot.env"
_REPORT_SECONDS = 60.0
_KEPT = 75
_MAXIMUM_RETURNS = 3
Steps = Iterator[None]


class SubUpdater:
    """One run of the sub-updater.

    Args:
        world: the world in which it runs.
        variables: its environment, from the client; empty at boot.
    """

    def __init__(self, world: World, variables: dict[str, str]) -> None:
        self._world = world
        self._disk = world.disk
        self.deployment_id = variables.get("MENDER_DEPLOYMENT_ID", "")
        self._artifact = variables.get("MENDER_ARTIFACT_NAME", "")
        self._state: dict[str, Any] = {}
        self.wants_another_run = False

    # -- what is stored ----------------------------------------------------------------------------------------

    def _store(self, step: str, **changes: object) -> None:
        self._state = {**self._state, **changes, "step": step}
        data = json.dumps(self._state).encode()

        def action() -> None:
            self._world.note_deed(self.deployment_id)
            self._disk.put(STATE, data)

        self._world.power.do(f"sub-updater stores {step}", action)

    def _load(self) -> None:
        self._state = json.loads(self._disk.read(STATE) or b"{}")
        self.deployment_id = self._state.get("deployment", "")
        self._artifact = self._state.get("artifact", "")

    def _boot_set(self, partition: str, upgrade_available: int) -> None:
        boot = {"part": partition, "upgrade_available": upgrade_available, "bootcount": 0}
        self._world.power.do(f"boot variables {partition} {upgrade_available}", lambda: self._world.set_boot(boot))

    # -- hand-over ---------------------------------------------------------------------------------------------

    def hand_over(self) -> Steps:
        """``install ARTIFACT``."""
        world, origin = self._world, self._world.running
        target = "B" if origin == "A" else "A"
        assert self._disk.read(ARTIFACT) in world.stage.contents(self._artifact), "what is handed over must be whole"
        self._state = {"deployment": self.deployment_id, "artifact": self._artifact, "from": origin, "to": target}
        self._store("writing", returns=0)
        yield
        if world.options.refuses:
            yield from self._fail()
            return
        world.power.do("half an image", lambda: self._disk.put(f"part {target}", b"half an image"))
        yield
        if world.options.write_fails:
            yield from self._fail()
            return
        if world.options.dies:
            return
        world.power.do("the whole image", lambda: world.fill(target, self._artifact))
        yield
        if world.options.is_silent:
            yield from self._be_silent(target)
            return
        self._store("switching")
        yield
        self._boot_set(target, 1)
        yield
        if world.options.tells_reboot:
            with suppress(MenderError):  # the script does not need to know that the report failed
                world.journal.update(lambda record: record.telling(self.deployment_id, Status.REBOOTING))
            yield
            yield from self._send()
        self._store("trial")
        yield
        world.power.do("reboot", lambda: None)
        world.power.cut(Kind.REBOOT)

    def _be_silent(self, target: str) -> Steps:
        """End without a report, in breach of the contract: the client determines the outcome from artifact_info."""
        if not self._world.options.silent_fails:
            self._world.name(target, self._artifact)
            self._world.power.do("switch without a reboot", lambda: self._world.switch(target))
            yield
        self._disk.remove(STATE)
        self._world.lock.remove()
        self._world.start_client()
        yield

    def _fail(self) -> Steps:
        self._store("failure")
        yield
        yield from self._finish()

    # -- boot --------------------------------------------------------------------------------------------------

    def at_boot(self) -> Steps:
        """``install --boot``."""
        world, lock_id = self._world, self._world.lock.read()
        self._load()
        if not self._state and lock_id is None:
            return
        step = self._state.get("step", "")
        if step in ("kept", "reported") and lock_id not in (None, self.deployment_id):
            step = ""
        if step in ("switching", "trial", "committing", "returning") and world.running != self._state["to"]:
            step = "returning"
        if not step:
            self.deployment_id = lock_id or ""
            self._state = {"deployment": self.deployment_id, "artifact": "", "returns": 0}
            self._store("failure")
        elif step == "writing":
            self._store("failure")
        elif step in ("switching", "trial"):
            yield from self._try_out()
        elif step == "committing":
            yield from self._commit()
        elif step == "returning":
            yield from self._go_back()
        elif step == "kept":
            if lock_id is None:
                yield from self._clean_up()
            return
        elif step == "reported":
            yield from self._clean_up()
            return
        yield
        yield from self._finish()

    def _try_out(self) -> Steps:
        if self._world.image_in(self._state["to"]) == self._world.options.unhealthy:
            yield from self._go_back()
            return
        self._store("committing")
        yield
        yield from self._commit()

    def _commit(self) -> Steps:
        target = self._state["to"]
        self._boot_set(target, 0)
        yield
        self._world.power.do("artifact_info", lambda: self._world.name(target, self._artifact))
        yield
        self._store("success")

    def _go_back(self) -> Steps:
        world, origin = self._world, self._state["from"]
        if world.running == self._state["to"] and self._state["returns"] < _MAXIMUM_RETURNS:
            self._store("returning", returns=self._state["returns"] + 1)
            yield
            self._boot_set(origin, 0)
            yield
            world.power.do("reboot", lambda: None)
            world.power.cut(Kind.REBOOT)
        if world.boot["part"] != origin or world.boot["upgrade_available"]:
            self._boot_set(origin, 0)
            yield
        self._store("failure")

    # -- end ---------------------------------------------------------------------------------------------------

    def _finish(self) -> Steps:
        yield from self._deliver()
        if self._state["step"] == "reported":
            yield from self._clean_up()
        if self._state["step"] != "unreported":
            self._world.start_client()

    def _deliver(self) -> Steps:
        outcome, world = str(self._state["step"]), self._world
        if world.options.info_after_report and outcome == "success":
            world.name(self._state["to"], "an older name")
        for _ in range(3):
            code = yield from self._report(is_success=outcome == "success")
            if code == 0 or world.lock.read() is None:
                self._store("reported")
                yield
                if world.options.info_after_report and outcome == "success":
                    world.name(self._state["to"], self._artifact)
                return
            if code == _KEPT:
                self._store("kept")
                yield
                return
            world.clock.sleep(10)
            yield
        self._state["step"] = "unreported"
        self.wants_another_run = True  # by the boot service

    def _clean_up(self) -> Steps:
        self._world.lock.remove()
        yield
        self._disk.remove(STATE)
        yield

    # -- the client's report, as app.report does it ------------------------------------------------------------

    def _report(self, *, is_success: bool) -> Generator[None, None, int]:
        world, deployment_id = self._world, self._world.lock.read()
        if not deployment_id:
            return 2
        outcome = Status.SUCCESS if is_success else Status.FAILURE
        try:
            known = world.journal.load().outcome_of(deployment_id)
            if known is not None and known.status is not outcome:
                return 1
            if known is None:
                world.new_outcomes().report(deployment_id, is_success=is_success, reporter="the sub-updater")
            yield
        except MenderError:
            return 1
        return (yield from self._send())

    def _send(self) -> Generator[None, None, int]:
        world = self._world
        outbox, end = world.new_parts().outbox, world.clock.monotonic() + _REPORT_SECONDS
        backoff = Backoff(1.0, 15.0, tries_per_interval=1)
        while True:
            try:
                outbox.flush()
            except MenderError:
                backoff = backoff.after_failure()
                wait = backoff.delay_seconds(random=0.5)
                if world.clock.monotonic() + wait > end:
                    return _KEPT
                world.clock.sleep(wait)
                yield
            else:
                return 0
