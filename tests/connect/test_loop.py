"""The event loop of ``connect`` and ``dbus``."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from mender_client.connect.loop import Background, Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop that is closed afterwards."""
    one = Loop()
    yield one
    one.close()


def test_everyone_has_a_turn(loop: Loop) -> None:
    """A callback that keeps posting callbacks delays neither timers nor the end of the loop."""
    turns = 0

    def again() -> None:
        nonlocal turns
        turns += 1
        if turns < 100_000:
            loop.post(again)

    loop.post(again)
    loop.run_for(0.0, lambda: False)
    assert turns < 100


def test_cancelled_calls(loop: Loop) -> None:
    """Calls cancelled long before they are due don't accumulate in memory; all others are made."""
    made = list[int]()
    for number in range(5000):
        loop.call_later(600.0, lambda: None).cancel()
        if number % 1000 == 0:
            loop.call_later(0.001 * (5 - number / 1000), lambda number=number: made.append(number))  # type: ignore[misc]
    assert len(loop._heap) < 200
    loop.run_for(10.0, lambda: len(made) == 5)
    assert [0, 1000, 2000, 3000, 4000] == sorted(made)


def test_call_that_is_cancelled_late(loop: Loop) -> None:
    """A call may be cancelled twice, after it was made, or by itself."""
    made = list[str]()
    first = loop.call_later(0.0, lambda: made.append("first"))
    loop.run_for(10.0, lambda: bool(made))
    for _ in range(2):
        first.cancel()
    second = loop.call_later(0.0, lambda: second.cancel() or made.append("second"))  # type: ignore[func-returns-value]
    loop.run_for(10.0, lambda: len(made) == 2)
    assert ["first", "second"] == made


def test_no_thread_to_be_had(loop: Loop) -> None:
    """A background task for which the system has no thread waits for one; a program in a terminal can cause this."""
    done = list[bool]()
    before = threading.stack_size(1 << 46)
    try:
        Background(loop).run(lambda: lambda: done.append(True))
        loop.run_for(0.0, lambda: False)
    finally:
        threading.stack_size(before)
    assert [] == done
    loop.run_for(60.0, lambda: bool(done))
    assert [True] == done
