import errno
import os

import pytest

from inferonnx.errors import (
    KeyFileError,
    SealedFormatError,
    UnavailableError,
    UsageError,
)
from inferonnx.runtime.files import FileSource, read_file, read_key_file, whole_file


def test_a_file_appears_whole_and_nothing_else_does(tmp_path):
    path = tmp_path / "out"
    with whole_file(str(path)) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("x")])
def test_after_an_error_the_old_file_stands_and_nothing_is_left(tmp_path, error):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with pytest.raises(type(error)), whole_file(str(path)) as file:
        file.write(b"new")
        raise error
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_is_unavailable_and_leaves_nothing(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(UnavailableError, match="no space left"), whole_file(str(path)):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_without_replace_an_existing_file_is_refused(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match="exists"), whole_file(str(path), replace=False):
        pass
    assert path.read_bytes() == b"old"


def test_a_missing_folder_is_bad_input(tmp_path):
    with pytest.raises(UsageError, match="No such file"), whole_file(str(tmp_path / "no" / "x")):
        pass


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o622])
def test_a_key_file_that_others_can_use_is_refused(tmp_path, mode):
    path = tmp_path / "key"
    path.write_bytes(b"k")
    os.chmod(path, mode)
    with pytest.raises(KeyFileError, match="read by others"):
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


def test_limits_and_missing_files_are_bad_input(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    with pytest.raises(UsageError, match="more than"):
        read_file(str(path), limit_bytes=9)
    with pytest.raises(UsageError, match="No such file"):
        read_file(str(tmp_path / "none"))
