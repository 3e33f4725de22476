"""Update modules in Python: a class whose methods are the states (protocol: update modules, version 3).

This file imports as little as possible, because a module is started a dozen times for each update.
"""

from __future__ import annotations

import os
import sys

from mender_client import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Literal, NoReturn, Protocol

    class Stream(Protocol):
        """The source of the bytes of a file."""

        def readinto(self, buffer: bytearray | memoryview, /) -> int:
            """Read into a buffer; returns how many bytes were read, 0 at the end."""


_SKIPPED_BYTES = 65536
_WRONG_USAGE = 64


class StreamedFile:
    """A file of the payload that is being downloaded. Data that isn't read is skipped.

    Attributes:
        name: the name of the file.
        size: its size in bytes.
    """

    def __init__(self, name: str, size: int, stream: Stream) -> None:
        self.name = name
        self.size = size
        self._left = size
        self._stream = stream

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Read into a buffer.

        Returns:
            How many bytes were read; 0 at the end of the file.

        Raises:
            OSError: the download ended early.
        """
        count = self._stream.readinto(buffer)
        self._left -= count
        if not count and len(buffer) and self._left:
            raise OSError(f"{self.name} ended {self._left} bytes early")
        return count

    def read(self, size: int = -1, /) -> bytes:
        """Read at most ``size`` bytes, or the rest of the file if it is negative; errors as of ``readinto``.

        Returns:
            The bytes; empty at the end of the file.
        """
        buffer = bytearray(self._left if size < 0 else min(size, self._left))
        view, filled = memoryview(buffer), 0
        while filled < len(buffer) and (count := self.readinto(view[filled:])):
            filled += count
        return bytes(buffer)


class UpdateModule:
    """An update module; its methods are called by the client.

    A subclass overrides the methods that it needs. A method fails by raising an exception. After a power cut, a method
    may be called a second time, and ``rollback`` may be called although ``install`` never was. Each call is made on a
    new instance: store in ``tree/tmp`` what later calls need.

    An executable module runs each method in a separate process, whose working directory is the tree. The modules of a
    program that embeds the client run in that program, in the thread and the working directory of the client, and
    without a time limit.

    Args:
        tree: the directory of the update.

    Attributes:
        tree: the directory of the update: ``files`` contains the payload, unless ``download`` is overridden; ``tmp`` is
            for the module to use until the end of the update; ``header`` describes the Artifact.
    """

    def __init__(self, tree: str) -> None:
        self.tree = tree

    def download(self, files: Iterator[StreamedFile]) -> None:
        """Process the payload during the download, for example write it to a partition; it isn't verified yet.

        If this isn't overridden, the payload is stored in ``files``.
        """

    def install(self) -> None:
        """Install the payload."""

    def needs_reboot(self) -> Literal["No", "Yes", "Automatic"]:
        """Whether the device must be rebooted: by ``reboot`` ("Yes"), or by the client ("Automatic")."""
        return "No"

    def reboot(self) -> None:
        """Reboot into the new software; called only if ``needs_reboot`` returns "Yes"."""

    def verify_reboot(self) -> None:
        """Raise an exception unless the new software is running."""

    def commit(self) -> None:
        """Make the update permanent; the last step at which the update can fail."""

    def supports_rollback(self) -> bool:
        """Whether the module can roll back; by default, whether ``rollback`` is overridden."""
        return type(self).rollback is not UpdateModule.rollback

    def rollback(self) -> None:
        """Restore what was there before the update."""

    def rollback_reboot(self) -> None:
        """Reboot into the old software; called only if ``needs_reboot`` returns "Yes"."""
        self.reboot()

    def verify_rollback_reboot(self) -> None:
        """Raise an exception unless the old software runs; the client then tries the reboot again."""

    def failure(self) -> None:
        """React to the failure of the update, which has been rolled back if possible."""

    def cleanup(self) -> None:
        """Remove files that the module has left outside the tree."""

    @classmethod
    def main(cls, arguments: Sequence[str] | None = None) -> NoReturn:
        """Carry out one call of the client, and exit; after a failure with code 1, and one line on standard error.

        Args:
            arguments: the state and the tree; by default, the arguments of the command line.
        """
        words = sys.argv[1:] if arguments is None else list(arguments)
        if len(words) != 2:
            print(f"usage: {os.path.basename(sys.argv[0])} STATE TREE", file=sys.stderr)
            sys.exit(_WRONG_USAGE)
        try:
            module = cls(words[1])
            answer = run_state(module, words[0], lambda: _streams(module.tree))
        except Exception as error:  # noqa: BLE001 - any exception is a failure of the state
            text = " ".join(str(error).split()) or "no reason given"
            print(f"cannot do {words[0]}: {text} ({type(error).__name__})", file=sys.stderr)
            sys.exit(1)
        if answer:
            print(answer)
        sys.exit(0)


def run_state(module: UpdateModule, state: str, payload: Callable[[], Iterator[StreamedFile]]) -> str:
    """Call the method of a module for a state; unknown states, such as those of later versions, do nothing.

    Args:
        module: the module.
        state: the name of the state or of the query.
        payload: returns the files of the payload.

    Returns:
        The answer to a query; empty for a state.
    """
    is_streaming = type(module).download is not UpdateModule.download
    if state == "ProvidePayloadFileSizes":
        return "Yes" if is_streaming else "No"
    if state == "NeedsArtifactReboot":
        return module.needs_reboot()
    if state == "SupportsRollback":
        return "Yes" if module.supports_rollback() else "No"
    if is_streaming and state == "Download":
        raise OSError("the client doesn't pass the sizes of the files; it is too old")
    if is_streaming and state == "DownloadWithFileSizes":
        files = _whole(payload())
        module.download(files)
        for _ in files:
            pass  # the client requires that each file is read
    elif state in _METHODS:
        getattr(module, _METHODS[state])()
    return ""


def _whole(files: Iterator[StreamedFile]) -> Iterator[StreamedFile]:
    """The files, each of which is read to its end before the next one."""
    for file in files:
        yield file
        while file.read(_SKIPPED_BYTES):
            pass


def _streams(tree: str) -> Iterator[StreamedFile]:
    """The files of the payload, which the client passes to a program through FIFOs."""
    while True:
        with open(os.path.join(tree, "stream-next"), encoding="utf-8") as file:
            line = file.read().strip()
        if not line:
            return
        path, _, size = line.partition(" ")
        with open(os.path.join(tree, path), "rb", buffering=0) as stream:
            yield StreamedFile(os.path.basename(path), int(size), stream)


_METHODS = {
    "ArtifactInstall": "install",
    "ArtifactReboot": "reboot",
    "ArtifactVerifyReboot": "verify_reboot",
    "ArtifactCommit": "commit",
    "ArtifactRollback": "rollback",
    "ArtifactRollbackReboot": "rollback_reboot",
    "ArtifactVerifyRollbackReboot": "verify_rollback_reboot",
    "ArtifactFailure": "failure",
    "Cleanup": "cleanup",
}
