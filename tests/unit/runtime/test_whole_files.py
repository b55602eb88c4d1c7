import errno
import fcntl
import os
import subprocess
import sys

import pytest

from inferonnx.errors import UnavailableError, UsageError
from inferonnx.runtime import whole_files
from inferonnx.runtime.whole_files import (
    check_new_folder,
    check_output,
    scratch_folder,
    whole_file,
    whole_folder,
)


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


class InterruptAt:
    """Interrupts whole_files.py before its line of a number, in the order of execution."""

    def __init__(self, number):
        self.left = number

    def __call__(self, frame, event, _argument):
        if frame.f_code.co_filename == whole_files.__file__ and event == "line":
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        return self


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a file that nobody was given yet
def test_an_interrupt_at_any_line_leaves_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "out"
    before, found, number = sys.gettrace(), set(), 0
    while True:
        path.write_bytes(b"old")
        interrupt = InterruptAt(number)
        try:
            sys.settrace(interrupt)
            with whole_file(str(path)) as file:
                file.write(b"new")
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        assert [p.name for p in tmp_path.iterdir()] == ["out"], number
        found.add(path.read_bytes())
        if interrupt.left >= 0:
            break
        number += 1
    assert found == {b"old", b"new"}
    assert number > 20


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


@pytest.mark.parametrize("link", [os.link, os.symlink, None], ids=["hard", "symbolic", "same"])
def test_an_input_is_never_overwritten(tmp_path, link):
    source, target = tmp_path / "in", tmp_path / "in"
    source.write_bytes(b"precious")
    if link:
        target = tmp_path / "out"
        link(source, target)
    with pytest.raises(UsageError, match="never overwritten"):
        with whole_file(str(target), inputs=["absent", str(source)]):
            pytest.fail("it was opened")
    assert source.read_bytes() == target.read_bytes() == b"precious"


@pytest.mark.parametrize("kind", ["fifo", "folder", "device"])
def test_what_is_no_regular_file_is_not_replaced(tmp_path, kind):
    path = tmp_path / "out"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path = "/dev/null"
    before = os.stat(path)
    with pytest.raises(UsageError, match="no regular file"), whole_file(str(path)):
        pytest.fail("it was opened")
    assert os.path.samestat(before, os.stat(path))


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")
    with whole_file(str(tmp_path / "link")) as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "file").read_bytes() == b"new"
    assert os.listdir(tmp_path / "there") == ["file"]


def test_an_old_file_keeps_its_rights(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    os.chmod(path, 0o600)
    with whole_file(str(path)) as file:
        file.write(b"new")
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_has_is_not(tmp_path):
    code = (
        "import os, signal\n"
        "from inferonnx.runtime.whole_files import whole_file\n"
        f"with whole_file({str(tmp_path / 'a')!r}) as file:\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    (left,) = os.listdir(tmp_path)
    living = tmp_path / left.replace(left[1:5], "beef", 1)
    with living.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with whole_file(str(tmp_path / "b")) as other:
            other.write(b"b")
        assert sorted(os.listdir(tmp_path)) == [living.name, "b"]


def test_writers_of_one_name_do_not_meet(tmp_path):
    path = str(tmp_path / "out")
    with whole_file(path) as first, whole_file(path) as second:
        first.write(b"first")
        second.write(b"second")
    assert (tmp_path / "out").read_bytes() == b"first"  # the last to end
    assert os.listdir(tmp_path) == ["out"]


def test_places_that_can_not_be_written_are_told_before_the_work(tmp_path):
    check_output(str(tmp_path / "new"))
    with pytest.raises(UsageError, match="No such file"):
        check_output(str(tmp_path / "no" / "new"))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="Not a directory"):
        check_output(str(tmp_path / "file" / "new"))
    with pytest.raises(UsageError, match="is a folder"):
        check_output(str(tmp_path) + "/")


def test_a_folder_without_rights_is_unavailable(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # nothing is refused to root
    with pytest.raises(UnavailableError, match="Permission denied") as caught:
        check_output(str(tmp_path / "new"))
    assert caught.value.hint


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out"
    with whole_folder(str(path)) as folder:
        (tmp_path / folder / "0").write_bytes(b"0")
        assert not path.exists()
    assert (path / "0").read_bytes() == b"0"
    with pytest.raises(UsageError, match="no empty folder"), whole_folder(str(path)):
        pytest.fail("it was made")
    with pytest.raises(KeyboardInterrupt), whole_folder(str(tmp_path / "other")) as folder:
        (tmp_path / folder / "0").write_bytes(b"0")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["out"]
    (tmp_path / "empty").mkdir()
    check_new_folder(str(tmp_path / "empty"))
    with whole_folder(str(tmp_path / "empty")):
        pass
    with pytest.raises(UsageError, match="No such file"):
        check_new_folder(str(tmp_path / "no" / "folder"))


def test_scratch_goes_with_all_it_holds(tmp_path):
    with pytest.raises(ValueError, match="x"), scratch_folder(str(tmp_path)) as folder:
        (tmp_path / folder / "file").write_bytes(b"0")
        raise ValueError("x")
    assert not os.listdir(tmp_path)
    with pytest.raises(UsageError, match="No such file"), scratch_folder(str(tmp_path / "no")):
        pytest.fail("it was made")
