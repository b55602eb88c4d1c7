"""Pages of this process, one by one: all of its resident memory moves by itself."""

import ctypes
import mmap


def resident_within(address, n_bytes):
    """Return the bytes of the pages there that are resident, whatever else the process does."""
    start = address // mmap.PAGESIZE * mmap.PAGESIZE
    n_bytes += address - start
    pages = bytearray(-(-n_bytes // mmap.PAGESIZE))
    libc = ctypes.CDLL(None, use_errno=True)
    found = (ctypes.c_char * len(pages)).from_buffer(pages)
    assert libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(n_bytes), found) == 0
    return sum(page & 1 for page in pages) * mmap.PAGESIZE
