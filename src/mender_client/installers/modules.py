"""Update modules: the programs that install payloads, one for each payload type (protocol: update modules, version 3).

Each state of an update is one call: ``MODULE STATE TREE``. This file makes the calls and reports whether they
succeeded; the workflow decides when each is made. In a program that embeds the client, update modules are classes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.core.model import Provides
from mender_client.core.text import ending, printable
from mender_client.dataclass import dataclass
from mender_client.errors import ArtifactError, Diagnostic, InstallError, ScriptError

from . import module_stream
from .module_stream import Streams, Taken

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from typing import Protocol

    from mender_client.core.artifact import Header, PayloadFile
else:
    Protocol = object

_logger = logging.getLogger(__name__)
_CLEANUP = "Cleanup"
_PAYLOAD_TYPE = "header/payload_type"
REBOOTS = ("ArtifactReboot", "ArtifactRollbackReboot")
_REBOOT_SECONDS = 600.0
_AUTOMATIC = "Automatic"
_ANSWERS: Mapping[str, tuple[str, ...]] = {
    "ProvidePayloadFileSizes": ("No", "Yes"),
    "NeedsArtifactReboot": ("No", "Yes", _AUTOMATIC),
    "SupportsRollback": ("No", "Yes"),
}
"""The queries and their possible answers; an empty answer means the first one."""


class Call(module_stream.Call, Protocol):
    """A running program."""

    def wait(self) -> int:
        """Wait until it exits; return its exit code, or the negated number of the signal that ended it.

        Raises:
            ScriptError: it has run for too long.
            Interrupted: the client was asked to stop.
        """

    def answer(self) -> str:
        """The answer to a query, without the newline; limited in length."""


class Calls(Protocol):
    """Runs programs in separate sessions, and ends the processes that they leave behind."""

    def start(
        self,
        argv: Sequence[str],
        *,
        title: str,
        seconds: float,
        directory: Path | None = None,
        is_query: bool = False,
        may_outlive: bool = False,
    ) -> AbstractContextManager[Call]:
        """Start a program; with ``may_outlive``, processes that it leaves behind are not ended. Raises ScriptError."""


class Tree(Streams, Protocol):
    """The directory that is passed to modules. Methods that write raise StorageError."""

    path: Path

    def exists(self) -> bool:
        """Whether it exists."""

    def build(self, contents: Mapping[str, bytes]) -> None:
        """Create it from scratch, durably, with these files and an empty ``tmp``."""

    def read(self, name: str) -> str:
        """The content of one of its files; empty if it can't be read."""

    def remove(self) -> None:
        """Remove it, if it exists."""

    def store(self, name: str, readinto: Callable[[memoryview], int]) -> None:
        """Write a file of the payload below ``files``, durably."""

    def begin_streams(self) -> None:
        """Create ``stream-next`` and ``streams``."""

    def remove_streams(self) -> None:
        """Remove both."""

    def end_orphans(self) -> None:
        """End the processes that work in it, which an earlier client may have left running when it was killed."""


class ModulesWithTree:
    """What update modules have in common, whether they are programs or classes; see ``core.ports.Modules``."""

    tree: Tree

    def has_tree(self) -> bool:
        return self.tree.exists()

    def tree_type(self) -> str:
        return self.tree.read(_PAYLOAD_TYPE)

    def prepare(self, header: Header, provides: Provides) -> None:
        for file in header.payload.files:
            if any(char.isspace() for char in file.name) or "/" in file.name or file.name in (".", ".."):
                text = f"cannot accept the Artifact: {printable(file.name)!r} can't be the name of a payload file"
                raise ArtifactError("ART62", text, remedy="build it again, with a name without spaces")
        self.tree.build(tree_files(header, provides))

    def run(self, payload_type: str, state: str) -> None:
        if state == _CLEANUP and not self.tree.exists():
            return
        self._run(payload_type, state)

    def ask(self, payload_type: str, query: str) -> str:
        answer = self._run(payload_type, query, is_query=True)
        answers = _ANSWERS[query]
        if answer and answer not in answers:
            text = f"cannot use update module {payload_type}: it answers {printable(answer)!r} to {query}"
            raise InstallError("MOD05", text, remedy=f"make it answer one of: {', '.join(answers)}")
        return answer or answers[0]

    def _run(self, payload_type: str, state: str, *, is_query: bool = False) -> str:
        """Make one call, and return its answer if it is a query."""
        raise NotImplementedError

    def _check_tree(self, payload_type: str, state: str) -> None:
        if not self.tree.exists():
            text = f"cannot run {state} of update module {payload_type}: {self.tree.path} is missing"
            raise InstallError("MOD03", text, remedy="deploy the update again")

    def remove_tree(self) -> None:
        self.tree.remove()


@dataclass(kw_only=True, eq=False, repr=False)
class UpdateModules(ModulesWithTree):
    """Calls update modules that are programs.

    Attributes:
        directory: the directory of the modules; the file names are the payload types.
        find_problem: returns why a program can't or must not be run; None if it may.
        seconds: how long one call may take.
        is_rebooted_by_client: whether the client can reboot the device; if not, a module that would leave the reboot to
            the client is called to do it itself.
    """

    directory: Path
    tree: Tree
    calls: Calls
    find_problem: Callable[[Path], Diagnostic | None]
    seconds: float = 14400.0
    is_rebooted_by_client: bool = True

    def ask(self, payload_type: str, query: str) -> str:
        answer = super().ask(payload_type, query)
        return "Yes" if answer == _AUTOMATIC and not self.is_rebooted_by_client else answer

    def check(self, payload_type: str) -> None:
        self._program(payload_type)

    def _program(self, payload_type: str) -> Path:
        _check_name(payload_type)
        program = self.directory / payload_type
        if problem := self.find_problem(program):
            text = f"cannot use update module {printable(payload_type)}: {problem.text}"
            raise InstallError("MOD02", text, remedy=problem.remedy)
        return program

    def prepare(self, header: Header, provides: Provides) -> None:
        _check_name(header.payload.type or "")
        super().prepare(header, provides)

    def download(self, payload_type: str, files: Iterator[PayloadFile]) -> None:
        with_sizes = self.ask(payload_type, "ProvidePayloadFileSizes") == "Yes"
        state = "DownloadWithFileSizes" if with_sizes else "Download"
        _logger.info("running %s of update module %s", state, payload_type)
        self.tree.remove_streams()
        self.tree.begin_streams()
        try:
            with self._start(payload_type, state) as call:
                taken = module_stream.feed(call, self.tree, files, with_sizes=with_sizes)
                if taken is Taken.PART and not call.has_exited:
                    raise _no_reader(payload_type, state)
                code = call.wait()
        except ScriptError as error:
            raise _failed(payload_type, state, error) from error
        finally:
            self.tree.remove_streams()
        _check_code(code, payload_type, state)
        if taken is Taken.PART:
            raise _no_reader(payload_type, state)
        if taken is Taken.NOTHING:
            for file in files:
                self.tree.store(file.name, file.readinto)

    def _run(self, payload_type: str, state: str, *, is_query: bool = False) -> str:
        """Make one call, and return its answer if it is a query."""
        _logger.info("running %s of update module %s", state, payload_type)
        with self._start(payload_type, state, is_query=is_query) as call:
            try:
                code = call.wait()
            except ScriptError as error:
                raise _failed(payload_type, state, error) from error
        _check_code(code, payload_type, state)
        return call.answer()

    def _start(self, payload_type: str, state: str, *, is_query: bool = False) -> AbstractContextManager[Call]:
        program = self._program(payload_type)
        self._check_tree(payload_type, state)
        try:
            return self.calls.start(
                [str(program), state, str(self.tree.path)],
                title=f"{state} ({payload_type})",
                seconds=self.seconds,
                directory=self.tree.path,
                is_query=is_query,
                may_outlive=state in REBOOTS,
            )
        except ScriptError as error:
            raise _failed(payload_type, state, error) from error

    def end_orphans(self) -> None:
        self.tree.end_orphans()

    def reboot(self) -> None:
        try:
            with self.calls.start(["reboot"], title="reboot", seconds=_REBOOT_SECONDS, may_outlive=True) as call:
                code = call.wait()
        except ScriptError as error:
            _logger.error("%s", error)
            return
        _logger.info("reboot has exited with code %d", code)


def _check_name(payload_type: str) -> None:
    """Refuse, before anything is started, a payload type that would lead out of the directory of the modules."""
    if "/" in payload_type or "\0" in payload_type or payload_type in ("", ".", ".."):
        text = f"cannot install the update: {printable(payload_type)!r} can't be the name of an update module"
        raise InstallError("MOD01", text, remedy="build the Artifact with another payload type")


def tree_files(header: Header, provides: Provides) -> dict[str, bytes]:
    """The files of a new tree: the installed software, and the metadata of the Artifact."""
    group = provides.others.get("artifact_group", "")
    current = {"artifact_name": provides.artifact_name, "artifact_group": group, "device_type": provides.device_type}
    new = {
        "artifact_name": header.artifact_name,
        "artifact_group": header.artifact_group or "",
        "payload_type": header.payload.type or "",
    }
    return {
        "version": b"3\n",
        **{f"current_{name}": f"{value}\n".encode() if value else b"" for name, value in current.items()},
        **{f"header/{name}": value.encode() for name, value in new.items()},
        **{f"header/{name}": header.documents.get(name, b"") for name in ("header-info", "type-info", "meta-data")},
    }


def _check_code(code: int, payload_type: str, state: str) -> None:
    if code != 0:
        text = f"cannot run {state} of update module {payload_type}: it {ending(code)}"
        raise InstallError("MOD04", text, remedy="check its output in the log")


def _failed(payload_type: str, state: str, error: ScriptError) -> InstallError:
    text = f"cannot run {state} of update module {payload_type}: {error.text}"
    return InstallError("MOD06", text, remedy=error.remedy)


def _no_reader(payload_type: str, state: str) -> InstallError:
    text = f"cannot run {state} of update module {payload_type}: it didn't read all files to the end"
    remedy = "make it read stream-next until it is empty, and each stream to the end"
    return InstallError("MOD07", text, remedy=remedy)
