"""Fixtures that the tests of the workflow share."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from world import Stage

from .scenarios import new_stage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The Artifacts, written once."""
    return new_stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture
def quietly() -> Iterator[None]:
    """Suppress the log, which thousands of updates would make too long."""
    logger = logging.getLogger("mender_client")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)
