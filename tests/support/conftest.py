"""The device for each shell that the scripts must run in."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from support.device import Device, Shell, find_busybox, find_dash

FINDERS: dict[str, Callable[[Path], Shell | None]] = {"busybox": find_busybox, "dash": find_dash}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without --nightly, each case runs in one of the shells; the name of the case says in which."""
    if config.getoption("--nightly"):
        return
    later = [item for item in items if not is_its_shell(item)]
    if later:
        config.hook.pytest_deselected(items=later)
        items[:] = [item for item in items if is_its_shell(item)]


def is_its_shell(item: pytest.Item) -> bool:
    """Whether a case runs in its shell by day; one for which there is no choice always does."""
    callspec = getattr(item, "callspec", None)
    shell = callspec.params.get("shell") if callspec else None
    if shell is None:
        return True
    shells = sorted(FINDERS)
    return bool(shell == shells[zlib.crc32(item.nodeid.replace(shell, "").encode()) % len(shells)])


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
