"""The process that changes the machine for a measurement, and puts it back on any death.

`python -m inferonnx.epc.supervisor` reads one JSON line that says what to set up, answers
with JSON lines, and waits. When its input ends or whoever started it is gone, whichever
way, it undoes everything. It is in a session of its own: Ctrl-C is not for it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from inferonnx.epc import cgroup, swap
from inferonnx.epc.book import Book
from inferonnx.epc.state import (
    Delegation,
    Group,
    PageCluster,
    SwapFile,
    Zram,
    swap_file_name,
)
from inferonnx.epc.undoing import read_page_cluster, write_page_cluster
from inferonnx.errors import InferonnxError, UnavailableError
from inferonnx.runtime import children
from inferonnx.runtime.files import translate

if TYPE_CHECKING:
    from typing import Any

_POLL_S = 0.2
"""How often the lock of another run is tried."""


def main() -> int:
    """Set up, wait for the end of whoever asked, put back."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    parent = os.getppid()
    order = json.loads(sys.stdin.readline() or "null")
    if order is None:
        return 0
    try:
        book = Book()
        _wait_turn(book, parent)
    except InferonnxError as error:
        _tell(error=children.told(error))
        return 0
    try:
        for words in book.undo_others():
            _tell(progress=f"left by a run that was killed: {words}")
        _tell(ready=_set_up(book, order))
        _wait_end(parent)
    except InferonnxError as error:
        _tell(error=children.told(error))
    except OSError as error:
        _tell(error=children.told(translate(error, str(error.filename), "setting up")))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _tell(undone=book.undo())
    return 0


def _leave(_number: int, _frame: object) -> None:
    sys.exit(0)


def _tell(**answer: object) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _wait_turn(book: Book, parent: int) -> None:
    if book.take():
        return
    _tell(progress="waiting for another enforced measurement on this machine to end")
    while not book.take():
        ended, _, _ = select.select([sys.stdin], [], [], _POLL_S)
        if ended or os.getppid() != parent:
            sys.exit(0)


def _wait_end(parent: int) -> None:
    """Return when the input ends, or the parent does: a fork of it may keep the pipe open."""
    while os.getppid() == parent:
        ended, _, _ = select.select([sys.stdin], [], [], 1.0)
        if ended and not sys.stdin.read(1):
            return


def _set_up(book: Book, order: dict[str, Any]) -> dict[str, Any]:
    """Make swap and group; each change is written down first."""
    controller = cgroup.find_controller()
    if controller is None:
        raise UnavailableError("there is no memory cgroup here", hint="Mount one.")
    kind = _set_up_swap(book, order)
    try:
        if order["may_change"] and read_page_cluster() != 0:
            book.write(PageCluster(was=read_page_cluster()))
            write_page_cluster(0)
        if not cgroup.is_delegated(controller) and order["may_change"]:
            book.write(Delegation(folder=controller.folder))
            cgroup.delegate(controller, on=True)
        path = cgroup.group_path(controller, book.state.identity)
        book.write(Group(path=path))
        cgroup.make_group(path, version=controller.version, limit_bytes=order["limit_bytes"])
    except OSError as error:
        raise UnavailableError(
            f"the memory limit can't be set up: {os.strerror(error.errno or 0)}",
            where=str(error.filename or ""),
            hint="Run it as root, outside a container that forbids cgroups.",
        ) from error
    return {
        "group": path,
        "version": controller.version,
        "swap": kind,
        "page_cluster": read_page_cluster(),
    }


def _set_up_swap(book: Book, order: dict[str, Any]) -> str:
    """Turn on swap of our own where that is allowed, and say which kind is behind the limit."""
    if not order["may_change"]:
        present = swap.active()
        return present[0].kind if present else ""
    kind = _zram_swap(book, order["swap_bytes"]) if order["zram"] else ""
    return kind or _file_swap(book, order["scratch"], order["swap_bytes"])


def _zram_swap(book: Book, n_bytes: int) -> str:
    added = swap.add_zram()
    if added is None:
        return ""
    number, is_new = added
    # It takes memory for what is in it: no more than half of what there is.
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    n_bytes = min(n_bytes, total // 2) // 4096 * 4096
    book.write(Zram(number=number, added=is_new, n_bytes=n_bytes))
    deadline = time.monotonic() + 2
    while not os.path.exists(swap.zram_path(number)) and time.monotonic() < deadline:
        time.sleep(0.02)  # udev makes the node
    try:
        swap.size_zram(number, n_bytes)
        swap.turn_on(swap.zram_path(number), book.state.identity)
    except OSError:
        return ""
    return "zram"


def _file_swap(book: Book, scratch: str, n_bytes: int) -> str:
    path = os.path.join(scratch, swap_file_name(book.state.identity))
    book.write(SwapFile(path=path))
    swap.make_file(path, n_bytes)
    swap.turn_on(path, book.state.identity)
    return "file"


if __name__ == "__main__":
    sys.exit(main())
