"""Runs as a script: joins the cgroup, puts the fresh copies in place, becomes the command.

Called by `Limit.spawn` as `python -I -S launcher.py PLAN FD COMMAND...`: nothing but the
standard library, since what it loads is gone when the command takes its place. PLAN is a
descriptor of JSON. What fails is written to FD, which the command never sees: at its end
without a word the command runs.

The copies are mounted over the files that they were made from, in a mount namespace of
the command's own: every path is what it was, and only what runs inside sees the copies.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_SET_THP_DISABLE = 41

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Become the command, or say why not."""
    given, report = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(report, False)
    try:
        os.lseek(given, 0, os.SEEK_SET)
        with os.fdopen(given, encoding="utf-8") as file:
            plan = json.load(file)
        _join(plan["procs"])
        _mount(plan["copies"])
        os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606 - that is what it is for
    except OSError as error:
        os.write(report, f"{error.strerror}: {error.filename or sys.argv[3]}".encode())
    sys.exit(1)


def _join(procs: str) -> None:
    with open(procs, "w", encoding="ascii") as file:
        file.write("0")
    # An EPC is paged by 4 KiB; a huge page would be one fault for 512 of them.
    _check(_libc.prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0), "huge pages")


def _mount(copies: list[tuple[str, str]]) -> None:
    _check(_libc.unshare(_CLONE_NEWNS), "a mount namespace")
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "/")
    for original, copy in copies:
        done = _libc.mount(os.fsencode(copy), os.fsencode(original), None, _MS_BIND, None)
        _check(done, original)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


if __name__ == "__main__":
    main()
