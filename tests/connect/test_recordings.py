"""The device's side of the recorded sessions, replayed with a device in memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from connect.recordings import Replay, listed_differences, make_folder, sessions

SESSIONS = sessions()
LISTED = listed_differences()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the recorded device."""
    folder = tmp_path / "data"
    folder.mkdir()
    make_folder(folder)
    return folder


@pytest.mark.skipif(os.geteuid() != 0, reason="the recorded files belong to several users")
@pytest.mark.parametrize("name", [*SESSIONS, *(LISTED.keys() - SESSIONS.keys())])
def test_recorded_session(name: str, folder: Path) -> None:
    """The device sends the same messages as the stock add-on, except for the listed ones and the sizes of chunks."""
    assert sorted(LISTED.get(name, [])) == sorted(Replay(SESSIONS[name], folder).differences())
