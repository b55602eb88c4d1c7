import errno
import os

import pytest

from inferonnx.errors import KeyFileError, SealedFormatError, UnavailableError, UsageError
from inferonnx.runtime.files import FileSource, read_file, read_key_file, translate


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o622])
def test_a_key_file_that_others_can_use_is_refused(tmp_path, mode):
    path = tmp_path / "key"
    path.write_bytes(b"k")
    os.chmod(path, mode)
    with pytest.raises(KeyFileError, match="others have rights"):
        read_key_file(str(path))


def test_a_key_file_of_its_owner_is_read(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"k")
    os.chmod(path, 0o600)
    assert read_key_file(str(path)) == b"k"


def test_reading_past_the_end_is_a_format_error(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    source = FileSource(str(path))
    assert source.size == 10
    assert bytes(source.read(3, 4)) == b"3456"
    with pytest.raises(SealedFormatError, match="too early"):
        source.read(8, 3)
    source.close()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["a pipe", "a folder"])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path, make):
    make(tmp_path / "f")
    n_open = len(os.listdir("/proc/self/fd"))
    with pytest.raises(UsageError, match="no regular file"):
        FileSource(str(tmp_path / "f"))
    assert len(os.listdir("/proc/self/fd")) == n_open


def test_reading_fills_its_view_and_nothing_beside_it(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    source = FileSource(str(path))
    buffer = bytearray(b"........")
    source.read_into(2, memoryview(buffer)[1:5])
    assert buffer == b".2345..."
    source.read_into(10, memoryview(buffer)[8:])  # nothing
    with pytest.raises(TypeError):
        source.read_into(0, memoryview(b"fixed"))
    source.close()


def test_a_file_that_can_not_be_read_at_offsets_is_said_in_a_sentence(tmp_path):
    (tmp_path / "f").write_bytes(b"0123456789")
    source = FileSource(str(tmp_path / "f"))
    source.close()
    with pytest.raises(UnavailableError, match=r"reading .*f' failed: Bad file descriptor"):
        source.read_into(0, memoryview(bytearray(4)))


def test_limits_and_missing_files_are_bad_input(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    with pytest.raises(UsageError, match="more than"):
        read_file(str(path), limit_bytes=9)
    with pytest.raises(UsageError, match="No such file"):
        read_file(str(tmp_path / "none"))


@pytest.mark.parametrize(
    "number", [errno.ENOENT, errno.EACCES, errno.EIO, errno.ENOSPC, errno.EMFILE, errno.ELOOP]
)
def test_every_error_of_the_system_gets_a_next_step(number):
    error = translate(OSError(number, "x"), "file", "reading")
    assert "file" in error.message
    assert error.hint.endswith((".", "?"))
