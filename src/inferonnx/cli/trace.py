"""The Chrome trace of a run: written while it runs, so that it takes no memory.

Read and open are rows of the thread that did them, inside a "load" of their
partition; compute is a row of the thread that ran it. Format: "Trace Event
Format", complete events (X) in microseconds and names of threads (M).
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from inferonnx.runtime.whole_files import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from inferonnx.engine import PassEvent


@contextmanager
def trace_file(path: str) -> Iterator[TraceWriter]:
    """Write a trace that appears whole or not at all; yields what takes the events.

    Raises:
        UsageError, UnavailableError: As `whole_file`.
    """
    with whole_file(path) as file:
        writer = TraceWriter(file)
        yield writer
        writer.finish()


class TraceWriter:
    """Takes events of a pass, from any thread."""

    def __init__(self, file: BinaryIO) -> None:
        """Write to `file`."""
        self._file = file
        self._lock = threading.Lock()
        self._between = b'{"traceEvents":[\n'
        self._computing: dict[int, bool] = {}  # by thread: whether it computes
        self._loading: dict[int, tuple[int, int]] = {}  # by thread: its part of the load under way

    def __call__(self, event: PassEvent) -> None:
        """Write one event."""
        with self._lock:
            self._computing[event.thread] = (
                self._computing.get(event.thread, False) or event.what == "compute"
            )
            if event.segment is not None:
                start_ns, _ = self._loading.get(event.thread, (event.start_ns, 0))
                self._loading[event.thread] = start_ns, event.stop_ns
            elif event.what == "load":
                self._end_load(event)
            self._span(event)

    def finish(self) -> None:
        """Name the threads and end the file."""
        for thread, computes in self._computing.items():
            name = "pass" if computes else "helper"
            self._row(
                f'{{"name":"thread_name","ph":"M","pid":1,"tid":{thread},'
                f'"args":{{"name":"{name}"}}}}'
            )
        self._file.write(b"\n]}\n")

    def _end_load(self, event: PassEvent) -> None:
        """Give each thread that helped a load of its own, which holds what it read and opened."""
        for thread, (start_ns, stop_ns) in self._loading.items():
            if thread != event.thread:
                self._span(event._replace(thread=thread, start_ns=start_ns, stop_ns=stop_ns))
        self._loading.clear()

    def _span(self, event: PassEvent) -> None:
        segment = "" if event.segment is None else f',"segment":{event.segment}'
        self._row(
            f'{{"name":"{event.what} {event.partition}","cat":"{event.what}","ph":"X",'
            f'"ts":{event.start_ns / 1e3:.3f},"dur":{(event.stop_ns - event.start_ns) / 1e3:.3f},'
            f'"pid":1,"tid":{event.thread},"args":{{"partition":{event.partition}{segment}}}}}'
        )

    def _row(self, text: str) -> None:
        self._file.write(self._between + text.encode("ascii"))
        self._between = b",\n"
