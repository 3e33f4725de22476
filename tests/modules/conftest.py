"""The shells in which the modules must work, and the changes at which the power fails."""

from __future__ import annotations

import zlib

import pytest

from support.conftest import shell

__all__ = ["shell"]


@pytest.fixture
def changes(request: pytest.FixtureRequest, is_nightly: bool) -> range:
    """The changes to the disk at which the power fails: in nightly runs all, otherwise every third of them."""
    step = 1 if is_nightly else 3
    return range(zlib.crc32(request.node.nodeid.encode()) % step, 100, step)
