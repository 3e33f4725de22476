"""Whatever fails, whatever the module answers, whenever the client is killed: one line for each."""

from __future__ import annotations

import pytest

from .board import MakeBoard
from .rows import KILLED, ROWS, STOPPED, Row, check, sampled


@pytest.mark.parametrize("row", sampled(ROWS, 6))
def test_row(make_board: MakeBoard, row: Row) -> None:
    """Whatever fails, and whatever the module answers: calls, statuses and name are the contract's."""
    check(make_board(row.happening), row)


@pytest.mark.parametrize("row", sampled(KILLED, 4))
def test_killed_by_a_call(make_board: MakeBoard, row: Row) -> None:
    """Killed in any call or script, the next life of the daemon goes on as the contract has it."""
    board = make_board(row.happening)
    check(board, row)
    assert [-9, 0] == board.codes


@pytest.mark.parametrize("row", sampled(STOPPED, 1))
def test_stopped_by_a_call(make_board: MakeBoard, row: Row) -> None:
    """Stopped by SIGTERM in any call or script, the daemon ends with 0, and its next life goes on as after a kill."""
    board = make_board(row.happening)
    check(board, row)
    assert [0, 0] == board.codes
