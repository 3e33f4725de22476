"""The reference page is complete."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from contract.test_device_api import NOT_REPRODUCED, RECORDING, WORDS
from mender_devserver import Fault
from mender_devserver.commands import COMMANDS
from mender_devserver.faults import Kind
from mender_devserver.settings import NAMES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/devserver.md").read_text()


@pytest.mark.parametrize(
    "name", [*(one.name for one in COMMANDS), *NAMES, *get_args(Kind), *(one.name for one in fields(Fault))]
)
def test_page_names_it(name: str) -> None:
    """Every command, setting, kind of request and field of a fault is documented."""
    assert re.search(rf"`{name}\b", PAGE)


def test_page_names_every_event() -> None:
    """The list of events is that of the events in the code."""
    sources = "".join(path.read_text() for path in (ROOT / "src/mender_devserver").glob("*.py"))
    emitted = set(re.findall(r'(?:emit|_tell)\(\s*"([a-z-]+)"', sources))
    listed = PAGE.partition("## Events")[2].partition("## ")[0]
    assert emitted == set(re.findall(r"`([a-z-]+)`", listed))


def test_page_tells_what_the_contract_test_lists() -> None:
    """The page states the number of recorded exchanges and names those for which the server answers in other words."""
    table = PAGE.partition("## Fidelity")[2]
    assert f"plays {len(RECORDING.read_text().splitlines())} exchanges" in " ".join(table.split())
    assert [] == [name for name in WORDS if name.split()[0] not in table]
    assert {} == NOT_REPRODUCED
