"""The enforced limit where it can be had; where not, measurements go on without, and say so."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from inferonnx.epc import enforce, obstacle, unlimited
from inferonnx.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inferonnx.epc import Limit

BESIDE_BYTES = 5 * MIB
"""What a limit charges beside what is resident of a process: page tables, the kernel's own, and
clean pages of libraries that it lets go of and reads again. A budget is below it by this."""


@contextmanager
def limited(
    limit_bytes: int | None,
    *,
    allow_system_changes: bool,
    progress: Callable[[str], None],
    say: Callable[[str], None],
) -> Iterator[Limit]:
    """Yield the limit that processes are started in, or what stands in its place.

    Args:
        limit_bytes: None for no limit.
        allow_system_changes: Whether swap may be made and settings changed for it.
        progress: Told what takes time.
        say: Told why there is no limit, and what would help.

    Raises:
        UsageError: The limit makes no sense.
        UnavailableError: It could be enforced here, and could not be now.
    """
    reason = None if limit_bytes is None else obstacle(allow_system_changes=allow_system_changes)
    if limit_bytes is None or reason is not None:
        if reason is not None:
            say(f"measuring without a limit: {reason.message}. {reason.hint}")
        yield unlimited()
        return
    with enforce(
        limit_bytes, allow_system_changes=allow_system_changes, progress=progress
    ) as limit:
        yield limit
