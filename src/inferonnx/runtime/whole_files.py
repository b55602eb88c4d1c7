"""Files and folders that appear whole or not at all, and where they may."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from inferonnx.errors import UsageError
from inferonnx.runtime.files import translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

_PART = ".inferonnx.part"
"""How the name of an unfinished file ends; before it stand a dot and random digits."""


def check_output(path: str, *, inputs: Sequence[str] = (), replace: bool = True) -> None:
    """Refuse a place that can't be written to, before any work is spent on what goes there.

    (1) Its folder exists and can be written. (2) Nothing is there, or a regular file.
    (3) With `replace` false: nothing. (4) It is none of the inputs, by whatever name.

    Raises:
        UsageError: One of these does not hold.
        UnavailableError: The folder can't be written.
    """
    if not replace and os.path.lexists(path):  # (3)
        raise UsageError(f"{path!r} exists already", hint="Choose another name.")
    if path.endswith("/"):
        raise UsageError(f"{path!r} is a folder", hint="Give the name of a file in it.")
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    try:
        if not stat.S_ISDIR(os.stat(folder).st_mode):  # (1)
            raise NotADirectoryError(errno.ENOTDIR, "", folder)
        status = os.stat(target) if os.path.lexists(target) else None
        irregular = status is not None and not stat.S_ISREG(status.st_mode)
        # What no right would help with is told first: others than root can't write to /dev.
        if not irregular and not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "", folder)
    except OSError as error:
        raise translate(error, path, "writing") from error
    if status is None:
        return
    if irregular:  # (2) a rename would replace the device or pipe itself
        raise UsageError(f"{path!r} is no regular file", hint="Choose another name.")
    for name in inputs:
        if os.path.exists(name) and os.path.samefile(name, target):  # (4)
            raise UsageError(
                f"{path!r} is an input, and inputs are never overwritten",
                hint="Choose another name.",
            )


@contextmanager
def whole_file(
    path: str, *, mode: int = 0o644, replace: bool = True, inputs: Sequence[str] = ()
) -> Iterator[BinaryIO]:
    """Write a file that appears whole or not at all.

    Written under a temporary name beside it, synced, renamed. On any error, an
    interrupt included, the temporary file is removed and the old file stands.

    Args:
        path: Where it goes; a symbolic link is followed.
        mode: Rights of a new file; those of an old one stay.
        replace: Whether an old file may be replaced.
        inputs: Files that it must not be.

    Raises:
        UsageError: As `check_output`.
        UnavailableError: The disk is full or refuses.
    """
    check_output(path, inputs=inputs, replace=replace)
    target = os.path.realpath(path)
    names: list[str] = []  # known before there is such a file, however early an interrupt comes
    try:
        with _unfinished(os.path.dirname(target), mode, names) as file:
            if os.path.lexists(target):
                os.fchmod(file.fileno(), stat.S_IMODE(os.stat(target).st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
            _publish(names[-1], target, replace=replace)
    except OSError as error:
        raise translate(error, path, "writing") from error
    finally:
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(name)


def check_new_folder(path: str) -> None:
    """Refuse a place where no new folder can be made, before any work is spent on it.

    Raises:
        UsageError: Something but an empty folder is there, or its parent is not.
        UnavailableError: The parent can't be written.
    """
    target = os.path.realpath(path)
    if os.path.isdir(target) and not os.listdir(target):
        return
    if os.path.lexists(target):
        raise UsageError(
            f"{path!r} exists already, and is no empty folder", hint="Choose another name."
        )
    check_output(target)


@contextmanager
def whole_folder(path: str) -> Iterator[str]:
    """Fill a folder that appears whole or not at all; yields the name to fill it under.

    Raises:
        UsageError: Something but an empty folder is there, or its parent is not.
        UnavailableError: The disk is full or refuses.
    """
    check_new_folder(path)
    target = os.path.realpath(path)
    with scratch_folder(os.path.dirname(target)) as folder:
        filled = os.path.join(folder, os.path.basename(target))
        try:
            os.mkdir(filled)
            yield filled
            os.rename(filled, target)
        except OSError as error:
            raise translate(error, path, "writing") from error


@contextmanager
def scratch_folder(parent: str | None = None) -> Iterator[str]:
    """Make a folder for work under way and remove it with all it holds.

    Args:
        parent: Where; the system's temporary folder by default.

    Raises:
        UsageError: `parent` is no folder.
        UnavailableError: The disk is full or refuses.
    """
    import shutil
    import tempfile

    parent = os.path.abspath(parent or tempfile.gettempdir())
    # Named before it is made: tempfile's own folders are nobody's while they are being made,
    # and an interrupt then would leave one behind.
    folder = os.path.join(parent, f".inferonnx-{os.urandom(8).hex()}")
    try:
        try:
            os.mkdir(folder, 0o700)
        except OSError as error:
            raise translate(error, parent, "making a folder in") from error
        yield folder
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)


def _unfinished(folder: str, mode: int, names: list[str]) -> BinaryIO:
    """Make a new file under a temporary name, and remove those of writers that were killed.

    The name is the last that is added to `names`.

    A living writer holds a lock on its file, which ends with it however it ends;
    names of processes would not do, since they repeat in containers.
    """
    with os.scandir(folder) as entries:
        left = [entry.path for entry in entries if entry.name.endswith(_PART)]
    for path in left:
        _remove_abandoned(path)
    while True:
        path = os.path.join(folder, f".{os.urandom(8).hex()}{_PART}")
        names.append(path)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        file = os.fdopen(fd, "w+b")
        _lock(fd)
        if _is_at(path, fd):
            return file
        file.close()  # another process found it between its making and its lock


def _remove_abandoned(path: str) -> None:
    with suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if _lock(fd) and _is_at(path, fd):
                os.unlink(path)
        finally:
            os.close(fd)


def _lock(fd: int) -> bool:
    """Lock a file until it is closed; False when another has it, or the system has no locks."""
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False


def _publish(temporary: str, target: str, *, replace: bool) -> None:
    """Give the finished file its name, and make the name last."""
    if replace:
        os.replace(temporary, target)
    else:
        os.link(temporary, target)  # fails, where a rename would replace
    folder = os.open(os.path.dirname(target), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
