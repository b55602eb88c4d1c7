"""What appends to an upload: all of a piece in its place, and never more than was announced."""

import os
import resource
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.errors import UnavailableError, UploadEndedError
from inferonnx.oip import StorageFullError, TooLargeError
from inferonnx.server.appending import Appender, LiveUpload
from inferonnx.server.upload_ends import FULL, GONE
from sealed_files import announced, make_file

DATA = make_file()


class Writing:
    """An appender over a file, and what it told."""

    def __init__(self, folder, offset=0):
        self.path = folder / "file"
        self.path.write_bytes(DATA[:offset])
        self.live = LiveUpload(announced(DATA), offset, 0.0)
        self.opened, self.closed, self.now = [], [], 1.0
        self.appender = Appender(
            self.live,
            open_file=self.open,
            clock_s=lambda: self.now,
            closed=self.closed.append,
        )

    def open(self):
        self.opened.append(os.open(self.path, os.O_WRONLY))
        return self.opened[-1]


@given(st.lists(st.integers(0, len(DATA)), min_size=1, max_size=9).map(sorted))
def test_pieces_of_any_size_make_the_file(tmp_path_factory, cuts):
    writing = Writing(tmp_path_factory.getbasetemp(), cuts[0])
    for start, stop in pairwise([*cuts, len(DATA)]):
        assert writing.appender.offset == start
        writing.appender.write(memoryview(DATA)[start:stop])
    writing.appender.close()
    assert writing.appender.offset == len(DATA)
    assert writing.path.read_bytes() == DATA
    assert writing.closed == [None]
    assert len(writing.opened) == 1


def test_without_a_piece_no_file_is_opened(tmp_path):
    writing = Writing(tmp_path)
    writing.appender.close()
    assert (writing.opened, writing.closed) == ([], [None])


def test_a_piece_too_much_is_not_written(tmp_path):
    writing = Writing(tmp_path)
    writing.appender.write(memoryview(DATA)[:-1])
    for surplus in (b"ab", DATA):
        with pytest.raises(TooLargeError):
            writing.appender.write(memoryview(surplus))
    writing.appender.write(memoryview(DATA)[-1:])
    writing.appender.close()
    assert writing.path.read_bytes() == DATA


def test_the_file_is_closed_at_the_end(tmp_path):
    writing = Writing(tmp_path)
    writing.appender.write(memoryview(DATA)[:1])
    writing.appender.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writing.opened[0])


def test_the_time_of_the_last_byte_is_kept(tmp_path):
    writing = Writing(tmp_path)
    writing.now = 77.0
    writing.appender.write(memoryview(DATA)[:1])
    assert writing.live.touched_s == 77.0
    writing.appender.close()


def test_a_disk_that_is_full_takes_what_fits(tmp_path):
    writing = Writing(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # as a full disk answers
    try:
        with pytest.raises(StorageFullError):
            writing.appender.write(memoryview(DATA))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert writing.live.offset == writing.path.stat().st_size == 1000
    writing.appender.close()
    assert writing.closed == [FULL]


def test_a_file_that_can_not_be_opened(tmp_path):
    writing = Writing(tmp_path)
    writing.path.unlink()
    writing.path.mkdir()
    with pytest.raises(UnavailableError, match="writing the upload failed"):
        writing.appender.write(memoryview(DATA))
    writing.appender.close()
    assert writing.closed == [None]
    assert writing.live.offset == 0


def test_a_file_that_is_gone(tmp_path):
    writing = Writing(tmp_path)
    writing.path.unlink()
    with pytest.raises(UploadEndedError, match="server's disk has lost the file"):
        writing.appender.write(memoryview(DATA))
    writing.appender.close()
    assert writing.closed == [GONE]
