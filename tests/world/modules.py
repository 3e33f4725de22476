"""An update module on the world's disk, with A/B partitions or without a reboot, and state scripts that can fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mender_client.core.artifact import Header, Script
from mender_client.core.artifact.reader import PayloadFile
from mender_client.core.model import Provides, Software
from mender_client.errors import InstallError, ScriptError, StorageError

from .power import Kind

if TYPE_CHECKING:
    from .device import World

TREE = "tree"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleOptions:
    """The behaviour of the update module and the state scripts.

    Args:
        reboot: its answer to NeedsArtifactReboot.
        can_roll_back: its answer to SupportsRollback.
        fails: the states, queries and scripts that fail, separated by spaces.
        fails_late: it fails after its work is done.
        cannot_save: artifact_info can't be written.
    """

    reboot: str = "Automatic"
    can_roll_back: bool = True
    fails: str = ""
    fails_late: bool = False
    cannot_save: bool = False


def _failed(name: str) -> InstallError:
    return InstallError("UPD01", f"{name} failed")


class WorldModules:
    """See ``core.ports.Modules``."""

    def __init__(self, world: World, options: ModuleOptions) -> None:
        self._world = world
        self._options = options

    def check(self, payload_type: str) -> None:
        """Only images have a module."""
        assert payload_type == "rootfs-image"

    def has_tree(self) -> bool:
        """Whether an update is in progress."""
        return self._world.disk.read(TREE) is not None

    def tree_type(self) -> str:
        """Its payload type is that of images."""
        return "rootfs-image"

    def prepare(self, header: Header, provides: Provides) -> None:
        """Create the tree, which records the running partition."""
        assert (header.payload.type, provides.device_type) == ("rootfs-image", "board")
        self._world.disk.write_atomic(TREE, self._world.running.encode(), "make the tree")

    def download(self, payload_type: str, files: Iterator[PayloadFile]) -> None:
        """Write the image to the other partition."""
        assert payload_type == "rootfs-image"
        self._act("Download", lambda: None)
        for file in files:
            buffer, offset = memoryview(bytearray(self._world.block_bytes)), 0
            while count := file.readinto(buffer):
                self._world.on_block(offset, bytes(buffer[:count]))
                self._world.power.do("write a block", lambda: None)
                offset += count
        if self._is_ab:
            self._world.power.do("finish the image", lambda: self._world.fill(self._passive, self._world.arriving))

    def run(self, payload_type: str, state: str) -> None:
        """Perform the state."""
        assert payload_type == "rootfs-image"
        work = {
            "ArtifactInstall": self._install,
            "ArtifactVerifyReboot": self._verify,
            "ArtifactCommit": self._commit,
            "ArtifactRollback": self._roll_back,
            "ArtifactVerifyRollbackReboot": self._verify_rollback,
            "Cleanup": lambda: self._world.disk.remove("backup"),
        }.get(state, lambda: None)
        assert self.has_tree(), f"{state} without a tree"
        self._act(state, work)

    def ask(self, payload_type: str, query: str) -> str:
        """Answer a query."""
        assert payload_type == "rootfs-image"
        self._act(query, lambda: None)
        if query == "NeedsArtifactReboot":
            return self._options.reboot
        return "Yes" if self._options.can_roll_back else "No"

    def remove_tree(self) -> None:
        """Remove the tree."""
        self._world.disk.remove(TREE)

    def end_orphans(self) -> None:
        """No process outlives the client here."""

    def reboot(self) -> None:
        """Reboot the device."""
        self._world.power.do("reboot", lambda: self._world.power.cut(Kind.REBOOT))

    def save_provides(self, software: Software) -> str:
        """Write artifact_info, if it can be written."""
        world = self._world
        try:
            if self._options.cannot_save:
                raise StorageError("STO01", "read-only")
            world.disk.write_atomic(f"info {world.running}", software.artifact_name.encode(), "write artifact_info")
        except StorageError:
            return (world.disk.read(f"info {world.running}") or b"").decode()
        return ""

    # -- its effects --------------------------------------------------------------------------------------------

    def _act(self, name: str, work: object) -> None:
        assert callable(work)
        self._world.calls.append(name)
        if name in self._options.fails.split() and not self._options.fails_late:
            raise _failed(name)
        self._world.power.do(f"call {name}", work, _failed)
        if name in self._options.fails.split():
            raise _failed(name)

    @property
    def _is_ab(self) -> bool:
        return self._options.reboot == "Automatic"

    @property
    def _before(self) -> str:
        return (self._world.disk.read(TREE) or b"").decode()

    @property
    def _passive(self) -> str:
        return "B" if self._before == "A" else "A"

    def _install(self) -> None:
        world = self._world
        if self._is_ab:
            world.set_boot({"part": self._passive, "upgrade_available": 1, "bootcount": 0})
            return
        if world.disk.read("backup") is None:
            world.disk.put("backup", world.image_in(self._before).encode())
        world.disk.put(f"part {self._before}", world.arriving.encode())

    def _verify(self) -> None:
        if self._is_ab and (not self._world.boot["upgrade_available"] or self._world.running == self._before):
            raise _failed("the boot loader has gone back")

    def _commit(self) -> None:
        if self._is_ab:
            self._world.set_boot({**self._world.boot, "upgrade_available": 0, "bootcount": 0})

    def _roll_back(self) -> None:
        world, backup = self._world, self._world.disk.read("backup")
        if self._is_ab:
            world.set_boot({"part": self._before, "upgrade_available": 0, "bootcount": 0})
        elif backup is not None:
            world.disk.put(f"part {self._before}", backup)

    def _verify_rollback(self) -> None:
        if self._is_ab and self._world.running != self._before:
            raise _failed("the new software still runs")


class WorldScripts:
    """State scripts that can fail; the policy of ``client.scripts`` has its own tests."""

    def __init__(self, world: World, options: ModuleOptions) -> None:
        self._world = world
        self._options = options

    def run(self, state: str, action: str) -> None:
        """Run the scripts whose failure counts."""
        name = f"{state}_{action}"
        self._world.calls.append(name)
        self._world.power.do(name, lambda: None)
        if name in self._options.fails.split():
            raise ScriptError("SCR01", f"{name} failed")

    def run_all(self, state: str, action: str) -> bool:
        """Run the scripts whose failure is ignored."""
        self._world.calls.append(f"{state}_{action}")
        self._world.power.do(f"{state}_{action}", lambda: None)
        return True

    def end_orphans(self) -> None:
        """No process outlives the client here."""

    def install(self, scripts: Sequence[Script]) -> None:
        """The Artifact has none."""
        assert not scripts

    def check_version(self) -> None:
        """The version is supported."""
