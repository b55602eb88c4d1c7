"""What a run has changed on this machine, as a value, and as the bytes of its state file.

Each change names what can be seen to be of the run: whatever does not fit is refused here,
before anything is undone on its word.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from inferonnx.epc import cgroup

if TYPE_CHECKING:
    from typing import Any

SCHEMA = "inferonnx.epc-state/1"

_IDENTITY = re.compile(r"[0-9a-f]{32}", re.ASCII)


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
