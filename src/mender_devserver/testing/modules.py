"""Runs an update module through its states as the client does, with failures and with power cuts around each call.

The calls, the file tree and the order of states are those of the client; only the server, the device and its reboots
are omitted.
"""

from __future__ import annotations

import io
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from mender_client.core.artifact import ArtifactReader, PayloadSource, module_image, write_artifact
from mender_client.core.machine import ENDS, RESUME, Event, Flow, InstallerState, Result, State, advance, result_after
from mender_client.core.model import Provides
from mender_client.errors import MenderError, ScriptError
from mender_client.installers.modules import UpdateModules
from mender_client.system.calls import Call, Calls
from mender_client.system.module_tree import ModuleTree
from mender_client.system.trust import Trust

_CALLS = {
    State.ARTIFACT_INSTALL: "ArtifactInstall",
    State.ARTIFACT_REBOOT: "ArtifactReboot",
    State.VERIFY_REBOOT: "ArtifactVerifyReboot",
    State.ARTIFACT_COMMIT: "ArtifactCommit",
    State.ARTIFACT_ROLLBACK: "ArtifactRollback",
    State.ROLLBACK_REBOOT: "ArtifactRollbackReboot",
    State.VERIFY_ROLLBACK_REBOOT: "ArtifactVerifyRollbackReboot",
    State.ARTIFACT_FAILURE: "ArtifactFailure",
}
_QUERIES = {
    State.CHECK_REBOOT: "NeedsArtifactReboot",
    State.CHECK_ROLLBACK: "SupportsRollback",
    State.CHECK_ROLLBACK_REBOOT: "NeedsArtifactReboot",
}
_REBOOTS = (State.ARTIFACT_REBOOT, State.ROLLBACK_REBOOT)
_AFTER_FAILURE = {State.ARTIFACT_FAILURE: Event.FLAWED, State.ROLLBACK_REBOOT: Event.DONE}
_NO_CALL = {State.VERIFIED: Event.CONFIRMED, State.COMMITTED: Event.DONE}
_INSTALLED = {Result.CLEAN: "new", Result.FAILED: "old", Result.INCONSISTENT: "unknown"}
_MOST_CALLS = 60
_UNKNOWN_STATE = "ArtifactUnknown"


class Trouble(str, Enum):
    """What goes wrong with a call."""

    FAILS = "{} fails"
    """The call is made but counts as failed, as if a state script had failed after it."""

    CUT_BEFORE = "power cut before {}"
    CUT_AFTER = "power cut after {}"


@dataclass(frozen=True, slots=True)
class Walk:
    """The course of an update with a module.

    Attributes:
        road: the injected failures and the calls they affected.
        calls: the states with which the module was called, in order.
        status: the status that the client would report, "success" or "failure".
        installed: what must be installed now, "new" or "old"; "unknown" if the rollback is not supported or failed.
        is_streamed: whether the module read the payload as a stream.
        errors: unexpected failures of calls, invalid answers, and streams that were not read.
        log: the output of the module.
    """

    road: str
    calls: tuple[str, ...]
    status: str
    installed: str
    is_streamed: bool
    errors: tuple[str, ...]
    log: str


class ModuleUnderTest:
    """An update module under test, and a payload for it.

    Args:
        place: an empty directory for the module, its file tree, and a ``reboot`` command that does nothing.
        program: the update module.
        payload: the files of the payload, by name.
        meta_data: the meta-data of the Artifact.
        environment: the environment of the module, in addition to PATH.
        seconds: the time limit of a call.

    Attributes:
        boot: called at each reboot and after each power cut, for example to simulate the boot loader.
        tree: the file tree that is passed to the module.
    """

    def __init__(
        self,
        place: Path,
        program: Path | str,
        payload: Mapping[str, bytes],
        *,
        meta_data: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        seconds: float = 600.0,
    ) -> None:
        self.boot: Callable[[], object] = lambda: None
        self.tree = place / "data/tree"
        self._type = Path(program).name
        for name in ("modules", "bin", "data"):
            (place / name).mkdir(mode=0o755, parents=True)
        shutil.copy(program, place / "modules" / self._type)
        (place / "bin/reboot").write_text("#!/bin/sh\n")
        for file in (place / "modules" / self._type, place / "bin/reboot"):
            file.chmod(0o755)
        variables = {"PATH": os.pathsep.join(os.get_exec_path()), **(environment or {})}
        variables["PATH"] = f"{place / 'bin'}:{variables['PATH']}"
        self._calls = _TroubledCalls(Calls(environment=variables))
        self._modules = UpdateModules(
            directory=place / "modules",
            tree=ModuleTree(self.tree),
            calls=self._calls,
            find_problem=Trust.below(place).program_problem,
            seconds=seconds,
        )
        self._artifact = _make_artifact(self._type, payload, meta_data or {})

    def walks(self, reset: Callable[[], object] = lambda: None) -> Iterator[Walk]:
        """Run every path: success; a failure of each state or a power cut before or after it; the same during rollback.

        Queries change nothing, so the only trouble injected into a query is a power cut after it.

        Args:
            reset: called before each walk to restore the state of the device before the update.

        Raises:
            AssertionError: a call failed without an injected failure.
        """

        def walked(troubles: Mapping[int, Trouble]) -> Walk:
            reset()
            walk = self.walk(troubles)
            if walk.errors:
                raise AssertionError("\n".join((f"{walk.road}:", *walk.errors, walk.log)))
            return walk

        success = walked({})
        yield success
        for number, call in enumerate(success.calls):
            for trouble in _troubles(call):
                yield walked({number: trouble})
        last = success.calls.index("ArtifactCommit")
        way_back = walked({last: Trouble.FAILS})
        for number, call in enumerate(way_back.calls[last + 1 :], last + 1):
            for trouble in _troubles(call):
                yield walked({last: Trouble.FAILS, number: trouble})

    def walk(self, troubles: Mapping[int, Trouble] | None = None) -> Walk:
        """Run one path.

        Args:
            troubles: the injected failures by the number of the call, counted from 0.
        """
        self._modules.remove_tree()
        self._is_streamed = False
        self._errors: list[str] = []
        self._calls.begin(troubles or {})
        state, result = State.DOWNLOADING, Result.CLEAN
        with _logged() as log:
            while state not in ENDS:
                try:
                    event = self._do(state, result)
                except _PowerCutError:
                    self.boot()
                    before, state = state, RESUME[Flow.MODULES][state][InstallerState.NOT_BEGUN]
                    if state is State.CHECK_ROLLBACK and before is not state:
                        result = result_after(before, Event.FAULT, result)
                    continue
                result = result_after(state, event, result)
                state = advance(Flow.MODULES, state, event)
        status = "success" if state is State.SUCCEEDED else "failure"
        road = ", ".join(self._calls.met) or "success"
        calls, errors = tuple(self._calls.made), tuple(self._errors)
        return Walk(road, calls, status, _INSTALLED[result], self._is_streamed, errors, "\n".join(log))

    def check_unknown_state(self) -> None:
        """Call the module with an unknown state, which it must accept, since later clients may have additional states.

        Raises:
            MenderError: the module fails.
        """
        self._calls.begin({})
        self._prepare()
        self._modules.run(self._type, _UNKNOWN_STATE)
        self._modules.remove_tree()

    # -- states --------------------------------------------------------------------------------------------------

    def _do(self, state: State, result: Result) -> Event:
        if len(self._calls.made) > _MOST_CALLS:
            self._errors.append(f"{state.value} is repeated without end")
            return Event.LOOP
        if state is State.DOWNLOADING:
            return self._download()
        if state in _NO_CALL:
            return _NO_CALL[state]
        if state in _QUERIES:
            return self._ask(state)
        if state is State.CLEANUP:
            is_clean = self._is_done(lambda: self._modules.run(self._type, "Cleanup"))
            self._modules.remove_tree()
            return Event.SUCCESS if is_clean and result is Result.CLEAN else Event.FAILURE
        return self._run(state)

    def _download(self) -> Event:
        if self._modules.has_tree():  # left by an interrupted download
            self._is_done(lambda: self._modules.run(self._type, "Cleanup"))
        return Event.FETCHED if self._is_done(self._fetch) else Event.FAULT

    def _fetch(self) -> None:
        reader = self._prepare()
        self._modules.download(self._type, reader.payload_files())
        reader.finish()
        self._is_streamed = not (self.tree / "files").exists()

    def _prepare(self) -> ArtifactReader:
        reader = ArtifactReader(io.BytesIO(self._artifact))
        self._modules.prepare(reader.read_header(), Provides("test-device", "old"))
        return reader

    def _ask(self, state: State) -> Event:
        answers: list[str] = []
        if not self._is_done(lambda: answers.append(self._modules.ask(self._type, _QUERIES[state]))):
            return Event.FAULT
        self._leaves_reboot = answers == ["Automatic"]
        return Event.NO if answers == ["No"] else Event.YES

    def _run(self, state: State) -> Event:
        if state in _REBOOTS and self._leaves_reboot:
            self.boot()
            return Event.DONE
        if self._is_done(lambda: self._modules.run(self._type, _CALLS[state])):
            if state in _REBOOTS:
                self.boot()
            return Event.DONE
        if state is State.VERIFY_ROLLBACK_REBOOT:
            self._run(State.ROLLBACK_REBOOT)
            return Event.AGAIN
        return _AFTER_FAILURE.get(state, Event.FAULT)

    def _is_done(self, work: Callable[[], object]) -> bool:
        try:
            work()
        except _IntendedError:
            return False
        except MenderError as error:
            if not isinstance(error.__cause__, _IntendedError):
                self._errors.append(str(error))
            return False
        return True


def _troubles(call: str) -> Sequence[Trouble]:
    is_query = call == "ProvidePayloadFileSizes" or call in _QUERIES.values()
    return [Trouble.CUT_AFTER] if is_query else list(Trouble)


class _PowerCutError(Exception):
    """A simulated power cut."""


class _IntendedError(ScriptError):
    """The call is to count as failed."""


class _TroubledCalls:
    """Calls the module, injecting failures."""

    def __init__(self, calls: Calls) -> None:
        self._start = calls.start

    def begin(self, troubles: Mapping[int, Trouble]) -> None:
        """Start counting calls."""
        self._troubles = troubles
        self._number = -1
        self.made: list[str] = []
        self.met: list[str] = []

    @contextmanager
    def start(
        self,
        argv: Sequence[str],
        *,
        title: str,
        seconds: float,
        directory: Path | None = None,
        is_query: bool = False,
        may_outlive: bool = False,
    ) -> Iterator[Call]:
        """As ``Calls.start``."""
        state = argv[1]
        self._number += 1
        trouble = self._troubles.get(self._number)
        if trouble:
            self.met.append(trouble.value.format(state))
        if trouble is Trouble.CUT_BEFORE:
            raise _PowerCutError
        self.made.append(state)
        with self._start(
            argv, title=title, seconds=seconds, directory=directory, is_query=is_query, may_outlive=may_outlive
        ) as call:
            yield call
        if trouble is Trouble.CUT_AFTER:
            raise _PowerCutError
        if trouble is Trouble.FAILS:
            raise _IntendedError("SCR00", f"{state} was made to fail")


class _Log(logging.Handler):
    """Collects log messages."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Collect a message."""
        self.lines.append(record.getMessage())


@contextmanager
def _logged() -> Iterator[list[str]]:
    """Collect the messages that are logged within the context."""
    logger, log = logging.getLogger("mender_client"), _Log()
    level = logger.level
    logger.addHandler(log)
    logger.setLevel(logging.INFO)
    try:
        yield log.lines
    finally:
        logger.setLevel(level)
        logger.removeHandler(log)


def _make_artifact(payload_type: str, payload: Mapping[str, bytes], meta_data: Mapping[str, object]) -> bytes:
    def source(name: str, content: bytes) -> PayloadSource:
        return PayloadSource(name, len(content), lambda: io.BytesIO(content))

    out = io.BytesIO()
    spec = module_image("new", ["test-device"], payload_type, meta_data=meta_data or None)
    write_artifact(out, spec, [source(name, content) for name, content in payload.items()])
    return out.getvalue()
