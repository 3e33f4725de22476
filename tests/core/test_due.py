"""Due times of many names."""

from __future__ import annotations

import random

from mender_client.core.due import DueTimes


def test_order_of_time() -> None:
    """Names that are due are returned once, in order of time; the others stay."""
    due = DueTimes()
    for name, at in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("later", 10.0)):
        due.put(name, at)
    assert ["a", "b", "c"] == due.pop_due(3.0)
    assert [] == due.pop_due(3.0)
    assert 10.0 == due.next_at()
    assert 1 == len(due)


def test_later_word_counts() -> None:
    """The time of a name is the one set last, earlier or later than the previous one; a removed name has none."""
    due = DueTimes()
    due.put("a", 5.0)
    due.put("a", 1.0)
    due.put("b", 1.0)
    due.put("b", 7.0)
    due.put("c", 1.0)
    due.remove("c")
    due.remove("unknown")
    assert ["a"] == due.pop_due(6.0)
    assert "b" in due
    assert "c" not in due
    assert ["b"] == due.pop_due(7.0)
    assert None is due.next_at()


def test_as_a_dictionary_would() -> None:
    """After any sequence of changes the content equals that of a dictionary, with at most twice as many entries."""
    numbers = random.Random(1)
    due, model, now = DueTimes(), dict[str, float](), 0.0
    for _ in range(5000):
        name = f"device-{numbers.randrange(50)}"
        if numbers.random() < 0.1:
            due.remove(name)
            model.pop(name, None)
        else:
            model[name] = now + numbers.random() * 10
            due.put(name, model[name])
        if numbers.random() < 0.1:
            now += numbers.random()
            expected = sorted((name for name, at in model.items() if at <= now), key=lambda name: (model[name], name))
            assert expected == due.pop_due(now)
            for one in expected:
                del model[one]
        assert min(model.values(), default=None) == due.next_at()
    assert len(due._heap) <= max(64, 2 * len(model)) + 1
