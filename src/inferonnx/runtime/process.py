"""This process as the kernel sees it: resident memory, page drop, core dumps, private buffers.

Everything here asks the kernel and degrades where a library OS has less: without
`VmHWM` the peak is unknown (None), and whoever promised one has to count; without
`smaps`, or where a test page shows that `madvise` does nothing, no page is dropped.
Gramine's `status` has neither VmRSS nor VmHWM, Occlum has no `status`, neither has
`smaps`.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LIBC = ctypes.CDLL(None, use_errno=True)
_DONTNEED = 4
_DONTDUMP = 16
_ARENA_MAX = -8
_PARENT_DEATH_SIGNAL = 1  # of prctl(2)
_PAGE = mmap.PAGESIZE

_LARGE = 1 << 18  # above it a mapping costs less than what a heap would keep

PROC = "/proc/self"
"""Where the kernel tells of this process."""


def resident_bytes() -> int | None:
    """Return this process's resident memory (VmRSS), or None where the system has none."""
    return _status("VmRSS:")


def peak_resident_bytes() -> int | None:
    """Return the peak of this process's resident memory (VmHWM), or None where unknown."""
    return _status("VmHWM:")


def _status(field: str) -> int | None:
    try:
        with open(f"{PROC}/status", "rb") as file:
            for line in file:
                if line.startswith(field.encode()):
                    return int(line.split()[1]) * 1024 or None  # no process has nothing
    except (OSError, ValueError, IndexError):
        return None
    return None


def cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


FORGOTTEN_BYTES = 32 << 20
"""More than any block that a plan makes, unless it can't be cut."""


class PrivateBuffer:
    """Memory of our own that nobody else can write: anonymous, private, kept out of core dumps.

    Attributes:
        view: The memory, writable.
        address: Address of its first byte, page-aligned.
    """

    def __init__(self, n_bytes: int) -> None:
        """Map `n_bytes`; pages become resident when they are first written."""
        self._map = mmap.mmap(-1, max(n_bytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._array: object = (ctypes.c_char * max(n_bytes, 1)).from_buffer(self._map)
        self.address = ctypes.addressof(self._array)
        self.view = memoryview(self._map)[:n_bytes]
        _LIBC.madvise(ctypes.c_void_p(self.address), ctypes.c_size_t(len(self._map)), _DONTDUMP)

    def __del__(self) -> None:
        self.close()

    def wipe(self) -> None:
        """Have it read as zeros, by stores: in a library OS, MADV_DONTNEED may keep the bytes.

        Where that has been seen to forget, a large buffer is forgotten: what of it was
        paged out would be paged in to be overwritten, and again to be filled. The kernel
        zeroes its pages before anybody gets them (docs/threat-model.md); `close` overwrites.
        """
        if len(self._map) >= FORGOTTEN_BYTES and _dropping_works():
            self._map.madvise(_DONTNEED)
        else:
            self._zero()

    def _zero(self) -> None:
        ctypes.memset(self.address, 0, len(self._map))

    def close(self) -> None:
        """Wipe and unmap; again does nothing. Values bound to the memory must be gone."""
        if not hasattr(self, "view") or self._map.closed:
            return
        self._zero()
        self._array = None
        try:
            self.view.release()
            self._map.close()
        except BufferError:
            # An error under way still holds slices; the mapping goes with the last of them.
            return


class _Mapping(mmap.mmap):
    """Memory, and what lasts as long as it does."""

    beside: object = None


def fresh_memory(n_bytes: int, beside: Callable[[int], object] | None = None) -> memoryview:
    """Return zeros that go back to the system with their last reference.

    A heap keeps large pieces that were freed, each thread's for itself: with calls from
    several threads that was half as much again as they held.

    Args:
        n_bytes: How many.
        beside: Told so many bytes before they are there, where they are no part of the heap;
            what it gives goes with them.
    """
    if n_bytes < _LARGE:
        return memoryview(bytearray(n_bytes))
    held = beside(n_bytes) if beside is not None else None
    mapping = _Mapping(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    mapping.beside = held
    return memoryview(mapping)


def forbid_core_dumps() -> None:
    """Keep plaintext out of core files of this process.

    A limit of 1 byte, not 0: the kernel ignores 0 when core_pattern is a pipe,
    and refuses both kinds at 1 (core(5)).
    """
    try:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        limit = 1 if hard == resource.RLIM_INFINITY or hard >= 1 else 0
        resource.setrlimit(resource.RLIMIT_CORE, (limit, hard))
    except (ImportError, OSError, ValueError):
        return


def end_with_parent() -> None:
    """Have the kernel end this process when its parent is gone, also when that was killed."""
    if sys.platform == "linux":
        import signal

        _LIBC.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)  # a library OS may have none


def drop_clean_file_pages() -> None:
    """Forget the clean pages of mapped libraries; they come back when they are touched.

    Only mappings of shared objects and of the interpreter are touched, which stay
    where they are as long as the process lives: between reading the list and
    forgetting, any other mapping might become somebody's memory. Of those, only
    such that are not writable and hold no private copy (`Anonymous: 0`): dropping
    relocated pages would lose relocations. Does nothing where the system can't.
    """
    if sys.platform == "linux" and _dropping_works():
        for start, stop in _clean_file_mappings():
            _LIBC.madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), _DONTNEED)


def forget_pages(address: int, n_bytes: int) -> None:
    """Give back the pages of private memory whose content nobody needs."""
    start = -(-address // _PAGE) * _PAGE
    whole = (address + n_bytes) // _PAGE * _PAGE - start
    if whole > 0 and sys.platform == "linux":
        _LIBC.madvise(ctypes.c_void_p(start), ctypes.c_size_t(whole), _DONTNEED)


@cache
def _dropping_works() -> bool:
    """Show on a page of our own that MADV_DONTNEED forgets (Occlum's returns 0 and does not)."""
    with mmap.mmap(-1, _PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        page[0] = 1
        try:
            page.madvise(_DONTNEED)
        except OSError:
            return False
        return page[0] == 0


def _stays_mapped(path: bytes) -> bool:
    """Tell shared objects and the interpreter from files that somebody may unmap."""
    name = path.rpartition(b"/")[2]
    return b".so" in name or path == os.fsencode(os.path.realpath(sys.executable))


def _clean_file_mappings() -> list[tuple[int, int]]:
    """Return (start, stop) of mappings that can be dropped without loss."""
    found = []
    try:
        with open(f"{PROC}/smaps", "rb") as file:
            start = stop = resident = 0
            candidate = False
            for line in file:
                head, _, rest = line.partition(b" ")
                if not head.endswith(b":"):
                    low, _, high = head.partition(b"-")
                    start, stop = int(low, 16), int(high, 16)
                    fields = rest.split()
                    candidate = (
                        b"w" not in fields[0] and len(fields) > 4 and _stays_mapped(fields[4])
                    )
                    resident = 0
                elif candidate and head == b"Rss:":
                    resident = int(rest.split()[0])
                elif candidate and resident and head == b"Anonymous:" and int(rest.split()[0]) == 0:
                    found.append((start, stop))
    except OSError:
        return []
    return found


def forget_peak() -> None:
    """Let VmHWM begin again at what is resident now, where the system can (proc(5), clear_refs)."""
    try:
        with open(f"{PROC}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        return


def limit_heaps(n_heaps: int = 1) -> None:
    """Have all threads share one heap of the C library's, where it is glibc.

    Each thread that allocates would get one of its own, and keep what it has once
    held (mallopt(3), M_ARENA_MAX). Threads that are there already keep theirs.
    """
    mallopt = getattr(_LIBC, "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, n_heaps)


def trim_heap() -> None:
    """Give free pages of the heap back to the system, where its C library can."""
    trim = getattr(_LIBC, "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def has_swap(path: str = "/proc/swaps") -> bool:
    """Tell whether the system may write pages to a disk; where it does not say, it may not."""
    try:
        with open(path, "rb") as file:
            return len(file.read(4096).splitlines()) > 1
    except OSError:
        return False
