"""Devices that install by an update module, each with a server of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mender_devserver import DevServer

from .board import Board, Happening, MakeBoard


@pytest.fixture
def make_board(tmp_path: Path) -> Iterator[MakeBoard]:
    """Makes devices, none of whose processes may ever show a traceback."""
    made: list[Board] = []
    with ExitStack() as servers:

        def make(happening: Happening) -> Board:
            place = tmp_path / str(len(made))
            place.mkdir()
            server = servers.enter_context(DevServer(place / "server", tls=False))
            made.append(Board(place / "device", server, happening))
            return made[-1]

        yield make
        for board in made:
            board.close()
            assert "Traceback" not in board.said
