"""A device with one update module, and Artifacts for it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from core.artifact.forge import forge, info, type_info
from mender_client.core.artifact import ArtifactReader, Header
from mender_client.core.model import Provides
from mender_client.errors import MenderError
from mender_client.installers.modules import UpdateModules
from mender_client.system.calls import Calls
from mender_client.system.module_tree import ModuleTree
from mender_client.system.trust import Trust
from waiting import PATIENCE_S

STREAMING = """
case "$1" in
    ProvidePayloadFileSizes) echo "${SIZES:-No}" ;;
    Download*)
        while true; do
            line=$(cat stream-next)
            [ -n "$line" ] || break
            echo "$line" >> "$OUT/lines"
            cat "${line%% *}" > "$OUT/$(basename "${line%% *}")"
        done ;;
esac
"""
"""A module that reads streams."""


@dataclass
class Bench:
    """A device whose modules, tree and outputs are in a directory.

    Attributes:
        place: the directory of the device.
        seconds: the time limit of a call.
        is_stopping: whether the client has been asked to stop.
    """

    place: Path
    seconds: float = PATIENCE_S
    grace_seconds: float = PATIENCE_S
    is_stopping: Callable[[], bool] = lambda: False
    beats: int = 0
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("modules", "out", "data"):
            (self.place / name).mkdir(mode=0o755)
        self.tree = self.place / "data/payloads/0000/tree"
        self.out = self.place / "out"

    def module(self, body: str, *, name: str = "app", interpreter: str = "#!/bin/sh\n") -> Path:
        """Install a module that appends each of its calls to the file ``calls``."""
        path = self.place / "modules" / name
        path.write_text(f'{interpreter}echo "$1" >> "$OUT/calls"\n{body}')
        path.chmod(0o755)
        return path

    @property
    def modules(self) -> UpdateModules:
        """The object under test."""

        def alive() -> None:
            self.beats += 1

        return UpdateModules(
            directory=self.place / "modules",
            tree=ModuleTree(self.tree, grace_seconds=self.grace_seconds),
            calls=Calls(
                environment={**os.environ, "OUT": str(self.out), **self.variables},
                is_stopping=self.is_stopping,
                alive=alive,
                grace_seconds=self.grace_seconds,
            ),
            find_problem=Trust.below(self.place).program_problem,
            seconds=self.seconds,
        )

    def prepare(self, **parts: Any) -> ArtifactReader:
        """Create the tree for an Artifact; return its reader."""
        reader = ArtifactReader(io.BytesIO(forge(**parts)))
        self.modules.prepare(reader.read_header(), PROVIDES)
        return reader

    def download(self, payload_type: str = "app", **parts: Any) -> None:
        """Prepare and download an Artifact."""
        reader = self.prepare(**parts)
        self.modules.download(payload_type, reader.payload_files())
        reader.finish()

    def failure(self, **parts: Any) -> str:
        """The error with which a download fails."""
        try:
            self.download(**parts)
        except MenderError as error:
            return f"{type(error).__name__}: {error.text}"
        return ""

    def calls(self) -> list[str]:
        """The calls of modules."""
        path = self.out / "calls"
        return path.read_text().split() if path.exists() else []

    def text(self, name: str) -> str:
        """The content of a file in the tree."""
        return (self.tree / name).read_text()

    def listing(self) -> list[str]:
        """The names in the tree."""
        return sorted(str(path.relative_to(self.tree)) for path in self.tree.rglob("*"))


PROVIDES = Provides("board", "old", MappingProxyType({"artifact_group": "group"}))


def header(**parts: Any) -> Header:
    """The header of an Artifact."""
    return ArtifactReader(io.BytesIO(forge(**parts))).read_header()


__all__ = ["PROVIDES", "STREAMING", "Bench", "header", "info", "type_info"]
