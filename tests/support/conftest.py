"""The device for each shell that the scripts must run in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.device import Device, Shell, find_busybox, find_dash

FINDERS: dict[str, Callable[[Path], Shell | None]] = {"dash": find_dash, "busybox": find_busybox}


@pytest.fixture(scope="session", params=sorted(FINDERS))
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Each shell in turn, with its commands; nobody changes them."""
    found = FINDERS[request.param](tmp_path_factory.mktemp("shell") / "bin")
    if found is None:
        pytest.skip(f"{request.param} isn't installed")
    return found


@pytest.fixture
def device(tmp_path: Path, shell: Shell) -> Device:
    """A device whose every path has a space in it."""
    return Device(tmp_path / "a device", shell)
