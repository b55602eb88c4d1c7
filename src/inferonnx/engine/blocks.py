"""Bring blocks of weights into memory: read ciphertext and open it in place, over all cores.

Each thread takes the next segment that nobody has taken, reads it into its
place in the buffer and opens it there: the segment is still in the core's cache
when it is opened, and no second copy exists. Reading and opening release the
interpreter's lock.

Rules of this file. The state of a load belongs to that load and to nothing else.
A load never returns while a thread still works on its buffer, whatever
interrupts it: a partition that ran over a half-opened block would compute wrong
numbers without an error.
"""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

from inferonnx.crypto import wipe
from inferonnx.engine.events import tell

if TYPE_CHECKING:
    from inferonnx.engine.events import Listener
    from inferonnx.engine.ports import Source
    from inferonnx.sealed import SegmentOpener


class BlockLoader:
    """Loads the block of one partition at a time."""

    def __init__(self, source: Source, opener: SegmentOpener, *, n_threads: int) -> None:
        """Start `n_threads` - 1 helpers; the caller's thread works too."""
        self._source = source
        self._opener = opener
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # Helpers know the queue alone, so that a loader that nobody closed can go.
        self._helpers = [
            threading.Thread(target=_help, args=(self._jobs,), name="inferonnx-open", daemon=True)
            for _ in range(n_threads - 1)
        ]
        for helper in self._helpers:
            helper.start()

    def load(self, block: int, view: memoryview, listener: Listener | None = None) -> None:
        """Fill `view` with the opened weights of partition `block`.

        Args:
            block: Number of the partition.
            view: Exactly as long as its block.
            listener: Told of every segment that is read or opened, by the thread that does it.

        Raises:
            AuthenticationError: A segment is not what was sealed; `view` is wiped.
            SealedFormatError: The file ends too early; `view` is wiped.
            UnavailableError: The disk fails; `view` is wiped.
        """
        n_segments = len(self._opener.table.block_segments(block))
        job = _Job(self._source, self._opener, block, view, listener)
        try:
            for _ in range(min(len(self._helpers), n_segments - 1)):
                self._jobs.put(job)
            job.work()
        except BaseException as error:
            job.failure = job.failure or error
            raise
        finally:
            try:
                job.end()
            except BaseException:  # it had not begun to
                job.end()
                raise
            finally:
                if job.failure is not None:
                    wipe(view)
        if job.failure is not None:
            raise job.failure

    def close(self) -> None:
        """End the helpers, and forget the key; nothing is loaded any more."""
        for _ in self._helpers:
            self._jobs.put(None)
        for helper in self._helpers:
            helper.join()
        self._helpers = []
        self._opener.wipe()

    def __del__(self) -> None:
        for _ in getattr(self, "_helpers", ()):  # an interrupt may have come before
            self._jobs.put(None)


def _help(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        job.help()
        del job  # a helper that waits holds no buffer


class _Job:
    """One load: what is left to take, what went wrong, who works on it."""

    def __init__(
        self,
        source: Source,
        opener: SegmentOpener,
        block: int,
        view: memoryview,
        listener: Listener | None,
    ) -> None:
        self.failure: BaseException | None = None
        self._source, self._opener, self._view = source, opener, view
        self._block, self._listener = block, listener
        segments = opener.table.block_segments(block)
        self._first = segments.start
        self._segments = iter(segments)
        self._lock = threading.Lock()
        self._n_helping = 0
        self._over = False
        self._idle = threading.Lock()  # held until the last helper has left
        self._idle.acquire()

    def help(self) -> None:
        """Work, unless it is over already; what goes wrong is the job's failure."""
        with self._lock:
            if self._over:
                return
            self._n_helping += 1
        try:
            self.work()
        except BaseException as error:
            self.failure = self.failure or error
        finally:
            with self._lock:
                self._n_helping -= 1
                if self._over and not self._n_helping:
                    self._idle.release()

    def work(self) -> None:
        """Read and open segments until none is left or one has failed."""
        table = self._opener.table
        while (index := self.take()) is not None:
            start = (index - self._first) * table.segment_bytes
            part = self._view[start : start + table.length(index)]
            if self._listener is None:
                self._source.read_into(table.offset(index), part)
                self._opener.open_in_place(index, part)
            else:
                self._bring_and_tell(index, part, self._listener)

    def _bring_and_tell(self, index: int, part: memoryview, listener: Listener) -> None:
        """Read and open one segment between looks at the clock."""
        start = time.perf_counter_ns()
        self._source.read_into(self._opener.table.offset(index), part)
        middle = tell(listener, "read", self._block, start, segment=index)
        self._opener.open_in_place(index, part)
        tell(listener, "open", self._block, middle, segment=index)

    def take(self) -> int | None:
        """Return the next segment, or None when there is none or the load has failed."""
        with self._lock:
            return None if self.failure is not None else next(self._segments, None)

    def end(self) -> None:
        """Return when nobody works any more; an interrupt meanwhile is raised afterwards."""
        interrupt: BaseException | None = None
        while True:
            try:
                with self._lock:
                    self._over = True  # whoever comes now is too late to help
                    if not self._n_helping:
                        break
                self._idle.acquire()
            except BaseException as error:
                interrupt = self.failure = error
        if interrupt is not None:
            raise interrupt
