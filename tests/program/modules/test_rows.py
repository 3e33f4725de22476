"""All failures, all answers of the module, and kills at any time: one row for each."""

from __future__ import annotations

import pytest

from .board import MakeBoard
from .rows import KILLED, ROWS, STOPPED, Row, check, sampled


@pytest.mark.parametrize("row", sampled(ROWS, 6))
def test_row(make_board: MakeBoard, row: Row) -> None:
    """Whatever fails, and whatever the module answers, the calls, statuses and the name are those of the contract."""
    check(make_board(row.happening), row)


@pytest.mark.parametrize("row", sampled(KILLED, 4))
def test_killed_by_a_call(make_board: MakeBoard, row: Row) -> None:
    """After a kill in any call or script, the next life of the daemon continues as the contract says."""
    board = make_board(row.happening)
    check(board, row)
    assert [-9, 0] == board.codes


@pytest.mark.parametrize("row", sampled(STOPPED, 1))
def test_stopped_by_a_call(make_board: MakeBoard, row: Row) -> None:
    """SIGTERM in any call or script ends the daemon with 0, and its next life continues as after a kill."""
    board = make_board(row.happening)
    check(board, row)
    assert [0, 0] == board.codes
