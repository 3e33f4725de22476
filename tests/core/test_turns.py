"""Whose turn it is to be updated."""

from __future__ import annotations

from mender_client.core.turns import Turns


def test_first_come_first_served() -> None:
    """No more than so many have a turn at once, and whoever asked first has it first."""
    turns = Turns(2)
    for name in ("a", "b", "c", "d"):
        turns.want(name, "")
    assert ["a", "b"] == turns.grant()
    assert [] == turns.grant()
    turns.leave("b")
    assert ["c"] == turns.grant()
    assert 1 == turns.waiting


def test_one_at_a_time_in_a_group() -> None:
    """Of a group one has a turn unless more are allowed; another group, and who has none, needn't wait for it."""
    turns = Turns(10, {"wide": 2})
    for name, group in (("a", "bus"), ("b", "bus"), ("c", "wide"), ("d", "wide"), ("e", "wide"), ("f", ""), ("g", "")):
        turns.want(name, group)
    assert ["a", "c", "d", "f", "g"] == turns.grant()
    turns.leave("a")
    assert ["b"] == turns.grant()
    turns.leave("d")
    assert ["e"] == turns.grant()


def test_what_has_begun_counts() -> None:
    """An update that was begun before keeps its turn, even if that makes too many; others wait."""
    turns = Turns(1)
    turns.take("a", "bus")
    turns.take("b", "bus")
    turns.want("c", "bus")
    assert [] == turns.grant()
    turns.leave("a")
    assert [] == turns.grant()
    turns.leave("b")
    assert ["c"] == turns.grant()
    assert turns.has("c")


def test_whoever_leaves_waits_no_longer() -> None:
    """A device that wants no update any more gets no turn; asking twice changes nothing."""
    turns = Turns(1)
    turns.want("a", "")
    turns.want("b", "")
    turns.want("a", "")
    turns.leave("a")
    assert ["b"] == turns.grant()
    turns.want("b", "")
    assert [] == turns.grant()
    assert 0 == turns.waiting
