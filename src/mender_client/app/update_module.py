"""Update modules in Python: a class whose methods are the states (protocol: update modules, version 3).

This file imports next to nothing: a module is started a dozen times for each update.
"""

from __future__ import annotations

import os
import sys

from mender_client import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Literal, NoReturn, Protocol

    class Stream(Protocol):
        """Where the bytes of a file come from."""

        def readinto(self, buffer: bytearray | memoryview, /) -> int:
            """Read into a buffer; 0 at the end."""


_SKIPPED_BYTES = 65536
_WRONG_USAGE = 64


class StreamedFile:
    """A file of the payload while it arrives. What isn't read of it is skipped.

    Attributes:
        name: its name.
        size: its length in bytes.
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
        """Read so many bytes at most, or all that are left; empty at the end of the file. Raises as ``readinto``."""
        buffer = bytearray(self._left if size < 0 else min(size, self._left))
        view, filled = memoryview(buffer), 0
        while filled < len(buffer) and (count := self.readinto(view[filled:])):
            filled += count
        return bytes(buffer)


class UpdateModule:
    """An update module; its methods are called by the client.

    A subclass overrides what it needs. A method that raises an exception has failed. After a power cut, a method may be
    called a second time, and ``rollback`` may be called although ``install`` never was. Each call gets an instance of
    its own: what must be known later belongs into ``tree/tmp``.

    An executable module runs each method in a process of its own, whose working directory is the tree. The modules of
    a program that embeds the client run in that program, in the thread and the working directory of the client, and
    without a time limit.

    Args:
        tree: the directory of the update.

    Attributes:
        tree: the directory of the update: ``files`` has the payload, unless ``download`` is overridden, ``tmp`` is the
            module's own until the end of the update, ``header`` describes the Artifact.
    """

    def __init__(self, tree: str) -> None:
        self.tree = tree

    def download(self, files: Iterator[StreamedFile]) -> None:
        """Take the payload while it arrives, for example to write it to a partition; it isn't verified yet.

        A module that doesn't override this finds the files in ``files``.
        """

    def install(self) -> None:
        """Install the payload."""

    def needs_reboot(self) -> Literal["No", "Yes", "Automatic"]:
        """Whether the device must be rebooted: by ``reboot`` ("Yes"), or by the client ("Automatic")."""
        return "No"

    def reboot(self) -> None:
        """Reboot into the new software; called only if ``needs_reboot`` returns "Yes"."""

    def verify_reboot(self) -> None:
        """Raise an exception unless the new software runs."""

    def commit(self) -> None:
        """Make the update permanent: the last chance to fail."""

    def supports_rollback(self) -> bool:
        """Whether it can go back; by default, whether ``rollback`` is overridden."""
        return type(self).rollback is not UpdateModule.rollback

    def rollback(self) -> None:
        """Restore what was there before the update."""

    def rollback_reboot(self) -> None:
        """Reboot into the old software; called only if ``needs_reboot`` returns "Yes"."""
        self.reboot()

    def verify_rollback_reboot(self) -> None:
        """Raise an exception unless the old software runs; then the reboot is tried again."""

    def failure(self) -> None:
        """The update has failed, and was rolled back if that is possible."""

    def cleanup(self) -> None:
        """Remove what was left outside of the tree."""

    @classmethod
    def main(cls, arguments: Sequence[str] | None = None) -> NoReturn:
        """Do what one call of the client asks for, and exit: with 1 after one line on standard error if it failed.

        Args:
            arguments: the state and the tree; by default those of the command line.
        """
        words = sys.argv[1:] if arguments is None else list(arguments)
        if len(words) != 2:
            print(f"usage: {os.path.basename(sys.argv[0])} STATE TREE", file=sys.stderr)
            sys.exit(_WRONG_USAGE)
        try:
            module = cls(words[1])
            answer = run_state(module, words[0], lambda: _streams(module.tree))
        except Exception as error:  # noqa: BLE001 - whatever it is, the state has failed
            text = " ".join(str(error).split()) or "no reason given"
            print(f"cannot do {words[0]}: {text} ({type(error).__name__})", file=sys.stderr)
            sys.exit(1)
        if answer:
            print(answer)
        sys.exit(0)


def run_state(module: UpdateModule, state: str, payload: Callable[[], Iterator[StreamedFile]]) -> str:
    """Let a module do one state; states of later versions do nothing.

    Args:
        module: the module.
        state: the state, or the query.
        payload: begins to read the payload.

    Returns:
        The answer if it is a query.
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
            pass  # the client wants each file to be read
    elif state in _METHODS:
        getattr(module, _METHODS[state])()
    return ""


def _whole(files: Iterator[StreamedFile]) -> Iterator[StreamedFile]:
    """Files of which the rest is read before the next one."""
    for file in files:
        yield file
        while file.read(_SKIPPED_BYTES):
            pass


def _streams(tree: str) -> Iterator[StreamedFile]:
    """The payload as the client feeds it to a program: through FIFOs."""
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
