"""A small pool of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

from mender_client.system.workers import Workers
from waiting import wait_until


def held(done: list[str], name: str, go: threading.Event) -> Callable[[], None]:
    """A task that waits for ``go``, and then records that it is done and in which thread."""

    def work() -> None:
        assert go.wait(60)
        done.append(f"{name} in {threading.get_ident()}")

    return work


def running(name: str) -> int:
    """The number of threads with this name."""
    return sum(thread.name == name for thread in threading.enumerate())


def test_so_many_at_once() -> None:
    """No more threads are started than allowed; the other tasks wait for them, and each task is run once."""
    workers, go = Workers(2, "two"), threading.Event()
    done: list[str] = []
    for number in range(5):
        workers.submit(held(done, str(number), go))
    assert 2 == running("two")
    go.set()
    wait_until(lambda: 5 == len(done), what="all")
    assert ["0", "1", "2", "3", "4"] == sorted(one.partition(" ")[0] for one in done)
    workers.close()
    assert 0 == running("two")


def test_idle_threads_end() -> None:
    """Idle threads end after a while, and tasks submitted at about that time are still run."""
    workers, go = Workers(3, "idle", idle_seconds=0.001), threading.Event()
    go.set()
    done: list[str] = []
    for _ in range(50):
        before = len(done)
        workers.submit(held(done, "it", go))
        workers.submit(held(done, "it", go))
        wait_until(lambda: before + 2 == len(done), what="both")  # noqa: B023
    wait_until(lambda: not running("idle"), what="their end")
    workers.close()


def test_closed() -> None:
    """Closing discards the tasks that have not begun and all later ones, and waits for those that have."""
    workers, go = Workers(1, "closed"), threading.Event()
    done: list[str] = []
    workers.submit(held(done, "begun", go))
    workers.submit(held(done, "waiting", go))
    threading.Timer(0.05, go.set).start()
    workers.close()
    workers.submit(held(done, "late", go))
    assert ["begun"] == [one.partition(" ")[0] for one in done]
