"""State files: written before each change, obeyed by whoever holds the lock next.

One file a run in a folder that only we can write to. Whoever is killed leaves the file.
Nothing is undone on its word alone (`undoing`), and what can't be stays written down.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from inferonnx.epc.state import Change, State, encode_state, parse_state
from inferonnx.epc.undoing import boot_id, undone
from inferonnx.errors import UnavailableError

if TYPE_CHECKING:
    from typing import Self

_PART = ".part"

_MAX_BYTES = 64 * 1024
"""Of a state file: ours have hundreds."""


def state_folder() -> str:
    """Return the folder of state files, which is made where it is not there.

    Raises:
        UnavailableError: It can't be made, or others can write to it.
    """
    return own_folder(_folder_name())


def _folder_name() -> str:
    top = "/run" if os.access("/run", os.W_OK) else tempfile.gettempdir()
    return os.path.join(top, f"inferonnx-epc-{os.geteuid()}")


def own_folder(path: str) -> str:
    """Make a folder that only we can write to, or check that it is one.

    Raises:
        UnavailableError: It can't be made, or others can write to it.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.lstat(path)
    except OSError as error:
        raise UnavailableError(
            f"{path!r} can't be made: {os.strerror(error.errno or 0)}",
            hint="Choose another scratch folder.",
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise UnavailableError(
            f"others can write to {path!r}, or it is no folder of yours",
            hint="Remove it, or choose another scratch folder.",
        )
    return path


def leftovers() -> list[str]:
    """Return the names of state files that are there: of a run that lives, or was killed."""
    folder = _folder_name()
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(os.path.join(folder, name) for name in names if name.endswith(".json"))


class Book:
    """The state file of one run, and the lock that only one run of a machine holds."""

    def __init__(self) -> None:
        """Open the lock; it is not taken yet."""
        self._folder = state_folder()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._lock = os.open(os.path.join(self._folder, "lock"), flags, 0o600)
        self.state = State(identity=os.urandom(16).hex(), boot=boot_id())

    def __enter__(self) -> Self:
        """Return the book, which `with` closes: another may then take the lock."""
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self._lock)

    def take(self) -> bool:
        """Take the lock unless another run has it; the kernel gives it back if we are killed."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def write(self, change: Change) -> None:
        """Write down a change that comes next."""
        state = self.state
        self.state = State(
            identity=state.identity, boot=state.boot, changes=(*state.changes, change)
        )
        self._save(self.state)

    def undo(self) -> list[str]:
        """Undo all that this run has written down; return what was done, in words."""
        return self._undo(self.state, self._path(self.state.identity))

    def undo_others(self) -> list[str]:
        """Undo what killed runs have left; needs the lock, so that none of them lives."""
        done: list[str] = []
        for name in sorted(os.listdir(self._folder)):
            path = os.path.join(self._folder, name)
            if name.endswith(_PART):
                os.unlink(path)
            elif name.endswith(".json"):
                state = _load(path)
                if state is None or name != f"{state.identity}.json":
                    done.append(f"{path} is no state of ours, and was left alone")
                else:
                    done += self._undo(state, path)
        return done

    def _undo(self, state: State, path: str) -> list[str]:
        done, kept = [], []
        for change in reversed(state.changes):
            try:
                words = undone(change, state)
                done += [words] if words else []
            except OSError as error:
                kept.append(change)
                done.append(f"left as it is: {change}: {os.strerror(error.errno or 0)}")
        if kept:
            rest = State(identity=state.identity, boot=state.boot, changes=tuple(reversed(kept)))
            self._save(rest)
        else:
            with suppress(FileNotFoundError):
                os.unlink(path)
        return done

    def _path(self, identity: str) -> str:
        return os.path.join(self._folder, f"{identity}.json")

    def _save(self, state: State) -> None:
        path = self._path(state.identity)
        part = path + _PART
        with open(part, "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever the umask: others' word is not obeyed
            file.write(encode_state(state))
            file.flush()
            os.fsync(file.fileno())
        os.rename(part, path)


def _load(path: str) -> State | None:
    """Return a state that we, and nobody else, wrote down; None for anything else."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                return None
            if status.st_mode & 0o022 or status.st_size > _MAX_BYTES:
                return None
            return parse_state(os.read(file, _MAX_BYTES))
        finally:
            os.close(file)
    except (OSError, ValueError):
        return None
