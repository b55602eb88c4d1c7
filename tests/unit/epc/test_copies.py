"""Fresh copies: of all that is mapped, made again when it changes, none of it in memory."""

import ctypes
import mmap
import os
import shutil
import sys

import pytest

from inferonnx.epc import copies, drop, warm
from inferonnx.errors import UnavailableError, UsageError
from machine import small_disk

LDD = """\
/usr/lib/a.so:
\tlinux-vdso.so.1 (0x00007ffd)
\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f0a)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f0b)
/usr/lib/with space.so:
\tnot a dynamic executable
/usr/lib/c.so:
\tlibgone.so.3 => not found
\tlibc.so.6 => /lib/libc.so.6 (0x00007f0c)
"""


def resident(path):
    """Return how many pages of a file are in memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        view = mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | 2)
    held = ctypes.c_char.from_buffer(view)
    pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
    answer = (ctypes.c_ubyte * pages)()
    address = ctypes.c_void_p(ctypes.addressof(held))
    assert libc.mincore(address, ctypes.c_size_t(size), answer) == 0
    return sum(page & 1 for page in answer)


def test_what_the_loader_says_is_understood():
    assert copies._parse_ldd(LDD, "first") == {
        "/usr/lib/a.so": ["/lib/x86_64-linux-gnu/libz.so.1", "/lib64/ld-linux-x86-64.so.2"],
        "/usr/lib/with space.so": [],
        "/usr/lib/c.so": ["/lib/libc.so.6"],
    }
    one = "\tlibc.so.6 => /lib/libc.so.6 (0x00007f0c)\n"
    assert copies._parse_ldd(one, "/bin/true") == {"/bin/true": ["/lib/libc.so.6"]}


@pytest.fixture
def few(monkeypatch):
    """No packages on the path: a copy of what Python itself maps is enough."""
    monkeypatch.setattr(sys, "path", [])


def test_the_interpreter_and_its_libraries_are_copied_and_not_in_memory(tmp_path, few):
    pairs = dict(copies.copied(str(tmp_path), [sys.executable], dict(os.environ), lambda _: None))
    assert os.path.realpath(sys.executable) in pairs
    with open("/proc/self/maps", encoding="utf-8") as maps:
        libc = next(line.split()[-1] for line in maps if "/libc.so" in line or "/ld-musl" in line)
    assert os.path.realpath(libc) in pairs
    for original, copy in pairs.items():
        assert os.path.getsize(original) == os.path.getsize(copy)
        assert os.stat(original).st_ino != os.stat(copy).st_ino
        assert os.access(copy, os.X_OK)


def test_a_copy_is_kept_until_its_file_changes(tmp_path, few):
    program = tmp_path / "program"
    shutil.copy("/bin/true", program)

    def copy():
        pairs = copies.copied(str(tmp_path / "s"), [str(program)], dict(os.environ), lambda _: None)
        return dict(pairs)[str(program)]

    first = copy()
    inode = os.stat(first).st_ino
    assert copy() == first
    assert os.stat(first).st_ino == inode
    os.utime(program, ns=(1, 1))
    assert copy() != first


def test_extension_modules_on_the_path_of_the_command_are_copied(tmp_path, few):
    package = tmp_path / "path" / "package"
    package.mkdir(parents=True)
    shutil.copy("/bin/true", package / "_native.cpython-311-x86_64-linux-gnu.so")
    (package / "not_elf.so").write_text("GROUP ( libc.so.6 )")
    (package / "__init__.py").touch()
    others = tmp_path / "path" / "a_folder_of_a_user"
    others.mkdir()
    shutil.copy("/bin/true", others / "_others.so")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "path")}
    pairs = dict(copies.copied(str(tmp_path / "s"), [sys.executable], env, lambda _: None))
    names = {os.path.basename(path) for path in pairs}
    assert "_native.cpython-311-x86_64-linux-gnu.so" in names
    assert "not_elf.so" not in names
    assert "_others.so" not in names


def test_halves_and_what_nobody_used_for_days_go(tmp_path):
    folder = tmp_path / "copies"
    folder.mkdir()
    for name in ("half.part", "old", "new"):
        (folder / name).write_text(name)
    os.utime(folder / "old", (1, 1))
    copies.tidy(str(tmp_path))
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_a_file_is_dropped_from_memory_and_read_into_it(tmp_path):
    path = str(tmp_path / "file")
    with open(path, "wb") as file:
        file.write(os.urandom(1 << 20))
        os.fsync(file.fileno())
    assert resident(path) == 256
    drop([path])
    if resident(path):
        pytest.skip("this file system keeps its pages: tmpfs")
    warm(path)
    assert resident(path) == 256


def test_a_file_to_warm_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UsageError):
        warm(str(tmp_path / "none"))


def test_a_full_disk_is_told_and_leaves_no_half(tmp_path, few):
    with small_disk(tmp_path / "disk", n_bytes=256 << 10, n_inodes=100) as disk:
        with pytest.raises(UnavailableError, match="no space left"):
            copies.copied(str(disk / "s"), [sys.executable], dict(os.environ), lambda _: None)
        assert not list((disk / "s" / "copies").glob("*.part"))
