"""Writes an index, with a temporary file and all processors."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from mender_client.core.artifact.indexed import Indexing, Packed
from mender_client.system.files import storage_errors

_PARTS_PER_THREAD = 2


@contextmanager
def indexing_for(output: Path) -> Iterator[Indexing]:
    """What it takes to write an indexed Artifact; the temporary file is where the Artifact will be.

    Raises:
        StorageError: the temporary file can't be made.
    """
    directory = Path(os.path.realpath(output)).parent
    with storage_errors("write to", directory), TemporaryFile(dir=directory) as spool:
        yield Indexing(spool, apply_in_threads)


def apply_in_threads(
    function: Callable[[bytes], Packed], parts: Iterator[bytes], threads: int | None = None
) -> Iterator[Packed]:
    """As ``map``, on all processors that this process may use: zlib computes without Python's global lock.

    Args:
        function: what to apply.
        parts: to what; a few more than there are threads are in memory.
        threads: how many; None: as many as there are processors.
    """
    threads = threads or len(os.sched_getaffinity(0))
    waiting: deque[Future[Packed]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for part in parts:
            waiting.append(pool.submit(function, part))
            if len(waiting) > _PARTS_PER_THREAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
