"""Standalone updates in memory: power is cut at any effect, and the next command completes the update."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, TypeVar

import pytest

from core.artifact.forge import dump, forge
from mender_client.client.standalone import Standalone
from mender_client.core.artifact import ArtifactReader
from mender_client.core.model import Provides, Software
from mender_client.core.record import Record
from mender_client.core.standalone import Fact
from mender_client.core.state_document import decode_record, encode_record
from mender_client.errors import InstallError, StorageError

T = TypeVar("T")
ARTIFACT = forge(
    info=dump(
        {
            "payloads": [{"type": "app"}],
            "artifact_provides": {"artifact_name": "new"},
            "artifact_depends": {"device_type": ["board"]},
        }
    ),
    type_info=dump({"type": "app", "artifact_provides": {"v": "2"}}),
)
LATER = {"commit": Standalone.commit, "rollback": Standalone.roll_back}


class Cut(BaseException):
    """The power is cut."""


class Board:
    """A device whose power can be cut at any effect. It also acts as the journal, device data, lock and clock."""

    def __init__(self, *, is_reversible: bool = True, fails: str = "") -> None:
        self.is_reversible, self.fails = is_reversible, fails
        self.document = json.dumps(encode_record(Record()))
        self.name = self.system = "old"
        self.is_there = False
        self.effects, self.cut_at, self.is_cut_after = 0, 0, False

    def _do(self, action: Callable[[], T]) -> T:
        self.effects += 1
        is_last = self.effects == self.cut_at
        if is_last and not self.is_cut_after:
            raise Cut
        result = action()
        if is_last:
            raise Cut
        return result

    def command(self, run: Callable[[Standalone], None]) -> set[Fact]:
        """Run a command in a new process, which has nothing in memory from the one before."""
        board: Any = self
        standalone = Standalone(
            clock=board,
            journal=board,
            device=board,
            lock=board,
            modules=_Modules(self),  # type: ignore[arg-type]  # a part of it
            scripts=_Scripts(self),  # type: ignore[arg-type]
            save_provides=self.save_provides,
        )
        run(standalone)
        return standalone.facts

    def install(self) -> set[Fact]:
        """Install the Artifact."""
        return self.command(lambda standalone: standalone.install(lambda: ArtifactReader(io.BytesIO(ARTIFACT))))

    def load(self) -> Record:
        """The record."""
        return decode_record(json.loads(self.document))

    def update(self, change: Callable[[Record], Record]) -> Record:
        """Change the record."""
        new = change(self.load())

        def write() -> Record:
            self.document = json.dumps(encode_record(new))
            assert new == self.load()
            return new

        return self._do(write)

    def now(self) -> datetime:
        """A fixed time; nothing depends on it."""
        return datetime(2026, 1, 1, tzinfo=timezone.utc)

    def read(self) -> None:
        """There is no lock file."""

    def provides(self) -> Provides:
        """The content of artifact_info."""
        return Provides("board", self.name)

    def save_provides(self, software: Software) -> str:
        """Write artifact_info."""
        self._do(lambda: setattr(self, "name", software.artifact_name))
        return ""

    def call(self, name: str) -> None:
        """Call the update module, or run a script."""
        systems = {"ArtifactInstall": "new", "ArtifactRollback": "old"}

        def work() -> None:
            if name == self.fails:
                raise InstallError("UPD01", f"{name} fails")
            self.system = systems.get(name, self.system)

        self._do(work)

    def set_tree(self, *, is_there: bool) -> None:
        """Create or remove the tree."""
        self._do(lambda: setattr(self, "is_there", is_there))

    @property
    def end(self) -> tuple[str, str, object, bool]:
        """The artifact name, the system, the pending update, and whether the tree still exists."""
        record = self.load()
        return record.provides(self.provides()).artifact_name, self.system, record.standalone, self.is_there


class _Modules:
    def __init__(self, board: Board) -> None:
        self._board = board

    def end_orphans(self) -> None:
        pass

    def has_tree(self) -> bool:
        return self._board.is_there

    def prepare(self, *_: object) -> None:
        self._board.set_tree(is_there=True)

    def remove_tree(self) -> None:
        self._board.set_tree(is_there=False)

    def download(self, _: str, files: Iterator[object]) -> None:
        self._board.call("Download")
        assert 1 == len(list(files))

    def run(self, _: str, state: str) -> None:
        if not self._board.is_there:
            raise InstallError("UPD01", "there is no tree")
        self._board.call(state)

    def ask(self, _: str, query: str) -> str:
        self._board.call(query)
        return "Yes" if query == "SupportsRollback" and self._board.is_reversible else "No"


class _Scripts:
    def __init__(self, board: Board) -> None:
        self._board = board
        self.artifact = self

    def install(self, scripts: Sequence[object]) -> None:
        assert [] == list(scripts)

    def check_version(self) -> None:
        pass

    def end_orphans(self) -> None:
        pass

    def run(self, state: str, action: str) -> None:
        self._board.call(f"{state}_{action}")

    def run_all(self, state: str, action: str) -> bool:
        try:
            self.run(state, action)
        except InstallError:
            return False
        return True


FAILURES = ("", "ArtifactInstall", "ArtifactInstall_Leave", "ArtifactCommit", "ArtifactCommit_Leave", "Cleanup")


@pytest.mark.parametrize("is_cut_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("is_reversible", [True, False], ids=["reversible", "final"])
@pytest.mark.parametrize("fails", FAILURES)
@pytest.mark.parametrize("second", LATER)
def test_power_cuts(fails: str, second: str, is_reversible: bool, is_cut_after: bool, is_nightly: bool) -> None:
    """Wherever power is cut, in ``install`` or the command after it, ``resume`` leaves a true artifact name."""
    step = 1 if is_nightly else 9
    number, is_over = random.Random(f"{fails} {second} {is_reversible} {is_cut_after}").randrange(1 - step, 1), False
    while not is_over:
        number += step
        board = Board(is_reversible=is_reversible, fails=fails)
        board.cut_at, board.is_cut_after = number, is_cut_after
        try:
            board.install()
            board.command(LATER[second])
            is_over = board.effects < number
        except Cut:
            pass
        board.cut_at = 0
        for _ in range(3):
            if Fact.NOTHING in board.command(Standalone.resume):
                break
        name, system, pending, has_tree = board.end
        assert pending is None, number
        if board.load().software is not None or name != "old":  # else the download was cut, which leaves the tree
            assert not has_tree, number
        is_true = {"old": ("old",), "new": ("new",), "new_INCONSISTENT": ("old", "new")}[name]
        assert system in is_true, (number, name)
        if is_reversible and fails not in ("ArtifactCommit_Leave", "Cleanup"):
            assert name != "new_INCONSISTENT", number


def test_full_disk() -> None:
    """If the state file can't be written, ``install`` ends with an error, and ``resume`` then rolls back."""
    board = Board()
    write, left = board.update, [2]

    def fail(change: Callable[[Record], Record]) -> Record:
        left[0] -= 1
        if left[0] < 0:
            raise StorageError("STO10", "the disk is full")
        return write(change)

    board.update = fail  # type: ignore[method-assign]  # a fault of the device, not of our code
    with pytest.raises(StorageError):
        board.install()
    board.update = write  # type: ignore[method-assign]
    assert {Fact.ROLLED_BACK} == board.command(Standalone.resume)
    assert ("old", "old", None, False) == board.end
