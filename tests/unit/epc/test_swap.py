"""Swap spaces as the kernel lists them, and headers that say whose they are."""

import os
import shutil
import subprocess
import uuid

import pytest

from inferonnx.epc import swap
from inferonnx.errors import UnavailableError

IDENTITY = "0123456789abcdef" * 2
MKSWAP = shutil.which("mkswap", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")

needs_mkswap = pytest.mark.skipif(MKSWAP is None, reason="no mkswap here: install util-linux")


def mkswap(path, *, label, identity):
    words = [MKSWAP, "-q", "-L", label, "-U", str(uuid.UUID(hex=identity)), path]
    subprocess.run(words, check=True, capture_output=True)


def test_what_is_on_is_listed(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/swaps").write_text(
        "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
        "/dev/zram1                              partition\t4194300\t\t0\t\t32767\n"
        "/my\\040swap/file                        file\t\t1024\t\t4\t\t-2\n"
        "/dev/vda2                               partition\t2048\t\t0\t\t-3\n"
    )
    found = [(one.path, one.kind, one.n_bytes) for one in swap.active(str(tmp_path))]
    assert found == [
        ("/dev/zram1", "zram", 4194300 * 1024),
        ("/my swap/file", "file", 1 << 20),
        ("/dev/vda2", "partition", 2 << 20),
    ]
    assert swap.active(str(tmp_path / "none")) == []


@needs_mkswap
def test_only_a_header_of_ours_has_an_identity(tmp_path):
    path = str(tmp_path / "swap")
    swap.make_file(path, 1 << 20)
    assert swap.is_blank(path)
    assert swap.header_identity(path) is None
    mkswap(path, label="mine", identity=IDENTITY)
    assert swap.header_identity(path) is None
    mkswap(path, label=swap.LABEL, identity=IDENTITY)
    assert swap.header_identity(path) == IDENTITY
    assert not swap.is_blank(path)


def test_what_is_not_there_is_neither_ours_nor_blank(tmp_path):
    assert swap.header_identity(str(tmp_path / "none")) is None
    assert not swap.is_blank(str(tmp_path / "none"))
    assert not swap.is_on(str(tmp_path / "none"))


def test_a_swap_file_takes_its_room_at_once_and_is_ours_alone(tmp_path):
    path = tmp_path / "swap"
    swap.make_file(str(path), 1 << 20)
    status = path.stat()
    assert (status.st_size, status.st_mode & 0o777) == (1 << 20, 0o600)
    assert status.st_blocks * 512 >= 1 << 20
    with pytest.raises(UnavailableError):
        swap.make_file(str(path), 1 << 20)


@needs_mkswap
def test_a_place_where_the_kernel_takes_no_swap_is_told(tmp_path):
    path = str(tmp_path / "swap")
    swap.make_file(path, 16 << 10)  # less than the kernel wants, whoever asks
    with pytest.raises(UnavailableError):
        swap.turn_on(path, IDENTITY)
