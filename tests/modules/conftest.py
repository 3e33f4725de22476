"""The shells that the modules must run in, and where power fails."""

from __future__ import annotations

import zlib

import pytest

from support.conftest import shell

__all__ = ["shell"]


@pytest.fixture
def changes(request: pytest.FixtureRequest, is_nightly: bool) -> range:
    """The changes of the disk at which power fails: all of them at night, by day every third, from its own first."""
    step = 1 if is_nightly else 3
    return range(zlib.crc32(request.node.nodeid.encode()) % step, 100, step)
