"""Bring blocks of weights into memory: read ciphertext and open it in place, over all cores.

Each thread takes the next segment that nobody has taken, reads it into its
place in the buffer and opens it there: the segment is still in the core's cache
when it is opened, and no second copy exists. Reading and opening release the
interpreter's lock.
"""

from __future__ import annotations

import threading
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inferonnx.engine.ports import Source
    from inferonnx.sealed import SegmentOpener


class BlockLoader:
    """Loads the block of one partition at a time."""

    def __init__(self, source: Source, opener: SegmentOpener, *, n_threads: int) -> None:
        """Start `n_threads` - 1 helpers; the caller's thread works too."""
        self._source = source
        self._table = opener.table
        self._opener = opener
        self._helpers = [_Helper(self._work) for _ in range(n_threads - 1)]
        self._segments: Iterator[tuple[int, int]] = iter(())
        self._view = memoryview(b"")
        self._failure: BaseException | None = None
        self._take = threading.Lock()

    def load(self, block: int, view: memoryview) -> None:
        """Fill `view` with the opened weights of partition `block`.

        Args:
            block: Number of the partition.
            view: Exactly as long as its block.

        Raises:
            AuthenticationError: A segment is not what was sealed; `view` is wiped.
            SealedFormatError: The file ends too early; `view` is wiped.
            UnavailableError: The disk fails; `view` is wiped.
        """
        segments = self._table.block_segments(block)
        starts = count(0, self._table.segment_bytes)
        self._view, self._failure = view, None
        self._segments = iter(list(zip(segments, starts, strict=False)))
        helpers = self._helpers[: len(segments) - 1]
        for helper in helpers:
            helper.start()
        try:
            self._work()
        finally:
            for helper in helpers:
                helper.wait()
            self._view = memoryview(b"")
        if self._failure is not None:
            view[:] = bytes(len(view))
            raise self._failure

    def close(self) -> None:
        """End the helpers."""
        for helper in self._helpers:
            helper.end()
        self._helpers = []

    def _work(self) -> None:
        view, table = self._view, self._table
        while self._failure is None:
            with self._take:
                index, start = next(self._segments, (-1, 0))
            if index < 0:
                return
            part = view[start : start + table.length(index)]
            try:
                self._source.read_into(table.offset(index), part)
                self._opener.open_in_place(index, part)
            except BaseException as error:
                self._failure = error


class _Helper:
    """A thread that does the same work whenever it is started."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._go = threading.Semaphore(0)
        self._done = threading.Semaphore(0)
        self._ended = False
        self._thread = threading.Thread(target=self._loop, name="inferonnx-open", daemon=True)
        self._thread.start()

    def start(self) -> None:
        self._go.release()

    def wait(self) -> None:
        self._done.acquire()

    def end(self) -> None:
        self._ended = True
        self._go.release()
        self._thread.join()

    def _loop(self) -> None:
        while True:
            self._go.acquire()
            if self._ended:
                return
            self._work()
            self._done.release()
