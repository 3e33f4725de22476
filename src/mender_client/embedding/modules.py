"""Update modules that are classes of the program; their methods run in its process, in the client's thread.

Between two calls a module keeps only what it has stored, as if each call were a separate process. The program may
therefore be restarted at any time, and the states and their order are the same as for modules that are programs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

from mender_client import TYPE_CHECKING
from mender_client.app.update_module import StreamedFile, UpdateModule, run_state
from mender_client.core.text import printable
from mender_client.errors import InstallError, Interrupted, MenderError
from mender_client.installers.modules import REBOOTS, ModulesWithTree, Tree

if TYPE_CHECKING:
    from typing import TypeVar

    from mender_client.core.artifact import PayloadFile

    _T = TypeVar("_T")

_logger = logging.getLogger(__name__)

MakeModule = Callable[[str], UpdateModule]
"""Makes an update module for one call, from the directory of the update; usually its class."""


class EmbeddedModules(ModulesWithTree):
    """Calls the methods of update modules; see ``core.ports.Modules``.

    Args:
        modules: makes a module, by payload type.
        tree: the directory that is passed to the modules.
        reboot: reboots the device; None if the program can't.
        is_stopping: returns whether the client was asked to stop; a running method is not interrupted.
    """

    def __init__(
        self,
        modules: Mapping[str, MakeModule],
        *,
        tree: Tree,
        reboot: Callable[[], object] | None,
        is_stopping: Callable[[], bool],
    ) -> None:
        self.tree = tree
        self._modules = modules
        self._reboot = reboot
        self._is_stopping = is_stopping

    def check(self, payload_type: str) -> None:
        if payload_type not in self._modules:
            text = f"cannot install the update: the program has no update module for {printable(payload_type)!r}"
            raise InstallError("MOD09", text, remedy="pass one in modules=, or deploy an Artifact of another type")

    def download(self, payload_type: str, files: Iterator[PayloadFile]) -> None:
        if self.ask(payload_type, "ProvidePayloadFileSizes") == "No":
            for file in files:
                self.tree.store(file.name, file.readinto)
            return
        payload = _Payload(files, self._stop_if_asked)
        try:
            self._call(payload_type, "DownloadWithFileSizes", payload.files)
        finally:
            if payload.error is not None:  # however the module has handled it
                raise payload.error

    def _run(self, payload_type: str, state: str, *, is_query: bool = False) -> str:  # noqa: ARG002 - methods return
        answer = self._call(payload_type, state, lambda: iter(()))
        if state in REBOOTS:
            self._stop_if_asked()  # the method has called stop to reboot: the next process must find this state
        return answer

    def _call(self, payload_type: str, state: str, payload: Callable[[], Iterator[StreamedFile]]) -> str:
        self.check(payload_type)
        self._check_tree(payload_type, state)
        self._stop_if_asked()
        _logger.info("running %s of update module %s", state, payload_type)
        try:
            return str(run_state(self._modules[payload_type](str(self.tree.path)), state, payload) or "")
        except Exception as error:  # the program's own code: any exception is a failed state
            text = f"cannot run {state} of update module {payload_type}: {_described(error)}"
            raise InstallError("MOD10", text) from error

    def end_orphans(self) -> None:
        """There are none: calls end with the program."""

    def reboot(self) -> None:
        if self._reboot is None:
            text = "cannot reboot the device: the program has no function for it"
            raise InstallError("MOD11", text, remedy="pass reboot=")
        try:
            self._reboot()
        except Exception as error:  # the program's own code
            raise InstallError("MOD12", f"cannot reboot the device: {_described(error)}") from error

    def _stop_if_asked(self) -> None:
        if self._is_stopping():
            raise Interrupted("the client was asked to stop")


class _Payload:
    """The payload as a module reads it.

    Args:
        files: the files of the payload.
        stop_if_asked: raises Interrupted if the client was asked to stop.

    Attributes:
        error: why it can't be read; the module itself gets an OSError.
    """

    def __init__(self, files: Iterator[PayloadFile], stop_if_asked: Callable[[], None]) -> None:
        self._files = files
        self._stop_if_asked = stop_if_asked
        self.error: Exception | None = None

    def files(self) -> Iterator[StreamedFile]:
        """The files, each readable until the next one."""
        while (file := self._read(lambda: next(self._files, None))) is not None:
            yield StreamedFile(file.name, file.size, _Stream(self, file))

    def readinto(self, file: PayloadFile, buffer: memoryview) -> int:
        """Read from a file."""
        return self._read(lambda: file.readinto(buffer))

    def _read(self, work: Callable[[], _T]) -> _T:
        if self.error is None:
            try:
                self._stop_if_asked()
                return work()
            except (MenderError, Interrupted, MemoryError) as error:  # raised again once the module has ended
                self.error = error
        raise OSError(f"the download ended early: {self.error}") from self.error


class _Stream:
    """One file of the payload."""

    def __init__(self, payload: _Payload, file: PayloadFile) -> None:
        self._payload = payload
        self._file = file

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        return self._payload.readinto(self._file, memoryview(buffer).cast("B"))


def _described(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no reason given"
    return printable(f"{type(error).__name__}: {text}")
