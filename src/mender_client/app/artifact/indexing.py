"""Writes an index, using a temporary file and all processors."""

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
    """The resources for writing an indexed Artifact; the temporary file is in the directory of the Artifact.

    Raises:
        StorageError: the temporary file can't be created.
    """
    directory = Path(os.path.realpath(output)).parent
    with storage_errors("write to", directory), TemporaryFile(dir=directory) as spool:
        yield Indexing(spool, apply_in_threads)


def apply_in_threads(
    function: Callable[[bytes], Packed], parts: Iterator[bytes], threads: int | None = None
) -> Iterator[Packed]:
    """Like ``map``, on all processors that this process may use: zlib releases the global interpreter lock.

    Args:
        function: the function to apply.
        parts: its arguments, of which about two per thread are in memory.
        threads: the number of threads; None for one per processor.
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
