"""The order in which devices are updated."""

from __future__ import annotations

from mender_client.core.turns import Turns


def test_first_come_first_served() -> None:
    """The number of simultaneous turns is limited, and they are granted in the order of the requests."""
    turns = Turns(2)
    for name in ("a", "b", "c", "d"):
        turns.want(name, "")
    assert ["a", "b"] == turns.grant()
    assert [] == turns.grant()
    turns.leave("b")
    assert ["c"] == turns.grant()
    assert 1 == turns.waiting


def test_one_at_a_time_in_a_group() -> None:
    """A group has one turn unless its limit is higher; other groups, and devices without a group, don't wait for it."""
    turns = Turns(10, {"wide": 2})
    for name, group in (("a", "bus"), ("b", "bus"), ("c", "wide"), ("d", "wide"), ("e", "wide"), ("f", ""), ("g", "")):
        turns.want(name, group)
    assert ["a", "c", "d", "f", "g"] == turns.grant()
    turns.leave("a")
    assert ["b"] == turns.grant()
    turns.leave("d")
    assert ["e"] == turns.grant()


def test_what_has_begun_counts() -> None:
    """An update that was already in progress keeps its turn, even beyond the limit; others wait."""
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
    """A device that has left gets no turn; repeated requests change nothing."""
    turns = Turns(1)
    turns.want("a", "")
    turns.want("b", "")
    turns.want("a", "")
    turns.leave("a")
    assert ["b"] == turns.grant()
    turns.want("b", "")
    assert [] == turns.grant()
    assert 0 == turns.waiting
