"""The bytes of a state file: exactly ours, or nothing."""

import json

import pytest

from inferonnx.epc import state
from inferonnx.epc.state import Group, PageCluster, State, SwapFile, Zram

IDENTITY = "0123456789abcdef" * 2
FILE = f"/scratch/inferonnx-epc-{IDENTITY}.swap"
GROUP = f"/sys/fs/cgroup/memory/inferonnx-epc-{IDENTITY}"
WHOLE = State(
    identity=IDENTITY,
    boot="b",
    changes=(
        Zram(number=1, added=True, n_bytes=4096),
        SwapFile(path=FILE),
        PageCluster(was=3),
        Group(path=GROUP),
    ),
)


def test_a_state_comes_back_as_it_was_written():
    assert state.parse_state(state.encode_state(WHOLE)) == WHOLE


def changed(**fields):
    return json.dumps({**json.loads(state.encode_state(WHOLE)), **fields}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        changed(schema="inferonnx.epc-state/2"),
        changed(extra=1),
        changed(identity="../../etc/passwd"),
        changed(identity=IDENTITY.upper()),
        changed(boot=None),
        changed(changes={}),
        changed(changes=["group"]),
        changed(changes=[{"kind": "reboot"}]),
        changed(changes=[{"kind": "page_cluster"}]),
        changed(changes=[{"kind": "page_cluster", "was": "3"}]),
        changed(changes=[{"kind": "page_cluster", "was": True}]),
        changed(changes=[{"kind": "page_cluster", "was": -1}]),
        changed(changes=[{"kind": "page_cluster", "was": 3, "path": "/"}]),
        changed(changes=[{"kind": "swap_file", "path": "/home/me/thesis.swap"}]),
        changed(changes=[{"kind": "swap_file", "path": f"inferonnx-epc-{IDENTITY}.swap"}]),
        changed(changes=[{"kind": "swap_file", "path": FILE.replace("0", "1")}]),
        changed(changes=[{"kind": "group", "path": "/sys/fs/cgroup/memory/user.slice"}]),
        changed(changes=[{"kind": "zram", "number": 0, "added": 1, "n_bytes": 4096}]),
    ],
)
def test_anything_else_is_no_state_of_ours(content):
    with pytest.raises(ValueError):  # noqa: PT011 - whichever rule it breaks
        state.parse_state(content)
