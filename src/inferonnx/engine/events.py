"""What a pass tells whoever listens: who read, opened and computed what, and when."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Listener: TypeAlias = "Callable[[PassEvent], None]"


class PassEvent(NamedTuple):
    """Something that happened in a pass.

    Attributes:
        what: "read" or "open" of one segment; "load" of a block: all its segments, and
            the handing over between threads; "compute" of a partition, for one call.
        partition: Its number.
        segment: Number in the file of what was read or opened; None for the rest.
        thread: The system's number of the thread that did it.
        start_ns: Nanoseconds of the monotonic clock.
        stop_ns: Likewise.
    """

    what: str
    partition: int
    segment: int | None
    thread: int
    start_ns: int
    stop_ns: int


def tell(
    listener: Listener, what: str, partition: int, start_ns: int, *, segment: int | None = None
) -> int:
    """Tell `listener` of something that this thread has just finished; return when."""
    stop_ns = time.perf_counter_ns()
    listener(PassEvent(what, partition, segment, threading.get_native_id(), start_ns, stop_ns))
    return stop_ns
