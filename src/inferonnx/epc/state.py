"""What was changed on this machine, written down before it is changed, and how it is undone.

One file a run in a folder that only we can write to. Whoever is killed leaves the file;
whoever holds the lock next undoes what it says. Nothing is undone on the file's word
alone: each change names what can be seen to be ours (a group's name, the identity in a
swap header), and what does not fit is left alone and told.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from inferonnx.epc import cgroup, swap
from inferonnx.errors import UnavailableError

if TYPE_CHECKING:
    from typing import Any, Self

SCHEMA = "inferonnx.epc-state/1"

PAGE_CLUSTER = "/proc/sys/vm/page-cluster"

_IDENTITY = re.compile(r"[0-9a-f]{32}", re.ASCII)
_PART = ".part"
_MAX_BYTES = 64 * 1024
"""Of a state file: ours have hundreds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCluster:
    """vm.page-cluster was set to 0: one page a fault, as an EPC does."""

    was: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """The top of a version 2 tree was told to give its groups the memory controller."""

    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Zram:
    """A zram device was taken for swap."""

    number: int
    added: bool
    n_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapFile:
    """A file was made for swap."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A memory cgroup was made."""

    path: str


Change = PageCluster | Delegation | Zram | SwapFile | Group

_KINDS: dict[str, type[Change]] = {
    "page_cluster": PageCluster,
    "delegation": Delegation,
    "zram": Zram,
    "swap_file": SwapFile,
    "group": Group,
}
_TYPES = {"int": int, "bool": bool, "str": str}


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What one run has changed, in order.

    Attributes:
        identity: Of the run; all that it makes carries it.
        boot: Of the kernel that it ran on: after another start only files are left.
        changes: In the order in which they were made.
    """

    identity: str
    boot: str
    changes: tuple[Change, ...] = ()


def swap_file_name(identity: str) -> str:
    """Return the name of the swap file of a run."""
    return f"{cgroup.PREFIX}{identity}.swap"


def encode_state(state: State) -> bytes:
    """Return the bytes of a state file."""
    names = {kind: name for name, kind in _KINDS.items()}
    changes = [{"kind": names[type(change)], **asdict(change)} for change in state.changes]
    whole = {"schema": SCHEMA, "identity": state.identity, "boot": state.boot, "changes": changes}
    return json.dumps(whole, indent=1).encode()


def parse_state(content: bytes) -> State:
    """Return what a state file says.

    Raises:
        ValueError: It is not exactly one of ours.
    """
    whole = json.loads(content)
    if not isinstance(whole, dict) or set(whole) != {"schema", "identity", "boot", "changes"}:
        raise ValueError("other fields")
    identity, boot, changes = whole["identity"], whole["boot"], whole["changes"]
    if whole["schema"] != SCHEMA or not isinstance(boot, str) or not isinstance(changes, list):
        raise ValueError("another schema")
    if not isinstance(identity, str) or not _IDENTITY.fullmatch(identity):
        raise ValueError("no identity")
    return State(
        identity=identity, boot=boot, changes=tuple(_change(words, identity) for words in changes)
    )


def _change(words: Any, identity: str) -> Change:
    if not isinstance(words, dict) or words.get("kind") not in _KINDS:
        raise ValueError("an unknown change")
    kind = _KINDS[words["kind"]]
    fields = {name: _TYPES[str(hint)] for name, hint in kind.__annotations__.items()}
    values = {name: value for name, value in words.items() if name != "kind"}
    if set(values) != set(fields) or any(type(values[n]) is not t for n, t in fields.items()):
        raise ValueError("a change with other fields")
    change = kind(**values)
    if isinstance(change, SwapFile | Group):
        name = os.path.basename(change.path)
        wanted = (
            swap_file_name(identity) if isinstance(change, SwapFile) else cgroup.PREFIX + identity
        )
        if name != wanted or not os.path.isabs(change.path):
            raise ValueError("a path that is not of this run")
    if isinstance(change, PageCluster) and not 0 <= change.was <= 31:
        raise ValueError("no value of vm.page-cluster")
    return change


def boot_id() -> str:
    """Return the identity of this start of the kernel."""
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
    return ""


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
                words = _undone(change, state)
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


def _undone(change: Change, state: State) -> str:
    """Undo one change; return what was done, "" where there was nothing to do."""
    if isinstance(change, SwapFile):
        return _undo_swap_file(change, state)
    if state.boot != boot_id():  # nothing else outlives the kernel
        return ""
    match change:
        case PageCluster():
            return _undo_page_cluster(change)
        case Delegation():
            return _undo_delegation(change)
        case Zram():
            return _undo_zram(change, state)
        case Group():
            return _undo_group(change)


def _undo_page_cluster(change: PageCluster) -> str:
    if change.was == 0 or read_page_cluster() != 0:  # somebody has set it since
        return ""
    write_page_cluster(change.was)
    return f"vm.page-cluster is {change.was} again"


def _undo_delegation(change: Delegation) -> str:
    controller = cgroup.find_controller()
    if controller is None or controller.folder != change.folder:
        return ""
    cgroup.delegate(controller, on=False)
    return "the memory controller is no longer given to cgroups"


def _undo_zram(change: Zram, state: State) -> str:
    if not swap.is_zram_of(change.number, change.n_bytes, state.identity):
        if change.added and swap.is_zram_unused(change.number):
            swap.drop_zram(change.number, added=True)
        return ""
    path = swap.zram_path(change.number)
    if swap.is_on(path):
        swap.turn_off(path)
    swap.drop_zram(change.number, added=change.added)
    return f"swap on {path} is off"


def _undo_swap_file(change: SwapFile, state: State) -> str:
    if not os.path.lexists(change.path) or not stat.S_ISREG(os.lstat(change.path).st_mode):
        return ""
    if swap.is_on(change.path):
        if swap.header_identity(change.path) != state.identity:
            return f"{change.path} is swap of another, and was left alone"
        swap.turn_off(change.path)
    os.unlink(change.path)
    return f"swap on {change.path} is off, and the file is gone"


def _undo_group(change: Group) -> str:
    controller = cgroup.find_controller()
    if controller is None or not cgroup.is_ours(change.path, controller):
        return ""
    if not os.path.isdir(change.path):
        return ""
    cgroup.end_group(change.path)
    return f"the cgroup {os.path.basename(change.path)} is gone"


def read_page_cluster() -> int:
    """Return vm.page-cluster: a swap-in brings 2 to the power of it pages."""
    with open(PAGE_CLUSTER, encoding="ascii") as file:
        return int(file.read())


def write_page_cluster(value: int) -> None:
    """Set vm.page-cluster."""
    with open(PAGE_CLUSTER, "w", encoding="ascii") as file:
        file.write(str(value))
