"""Finds the scripts and units that come with the package."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import TYPE_CHECKING

from mender_client.errors import MenderError

if TYPE_CHECKING:
    from importlib.abc import Traversable

_CHECKOUT = Path(__file__).parents[4] / "support"


def support_file(path: str) -> bytes:
    """The content of a file in ``support/``.

    Raises:
        MenderError: this installation doesn't include it.
    """
    return _find(path).read_bytes()


def support_names(directory: str) -> list[str]:
    """The sorted names of the files in a directory of ``support/``.

    Raises:
        MenderError: this installation doesn't include it.
    """
    return sorted(file.name for file in _find(directory).iterdir() if file.is_file())


def _find(path: str) -> Traversable:
    inside = importlib.resources.files("mender_client") / "support"
    for place in (inside, _CHECKOUT):
        found = place.joinpath(path)
        if found.is_file() or found.is_dir():
            return found
    remedy = "leave out the option that installs it, and take the file from a package or the source"
    raise MenderError("SET02", f"cannot find support/{path} in this installation", remedy=remedy)
