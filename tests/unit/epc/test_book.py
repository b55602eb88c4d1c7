"""State files, and that nothing is undone that is not seen to be ours."""

from dataclasses import replace

import pytest

from inferonnx.epc import book as books
from inferonnx.epc import cgroup, state, swap, undoing
from inferonnx.epc.book import Book
from inferonnx.epc.state import Group, PageCluster, State, SwapFile, Zram
from inferonnx.errors import UnavailableError

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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of state files of our own."""
    place = tmp_path / "states"
    monkeypatch.setattr(books, "_folder_name", lambda: str(place))
    return place


def test_a_file_that_others_can_write_to_is_left_alone(folder):
    book = Book()
    assert book.take()
    path = folder / f"{IDENTITY}.json"
    path.write_bytes(state.encode_state(replace(WHOLE, changes=())))
    path.chmod(0o666)
    assert "left alone" in book.undo_others()[0]
    assert path.exists()
    path.chmod(0o600)
    assert book.undo_others() == []
    assert not path.exists()


@pytest.mark.parametrize("name", ["0" * 32, "thesis"])
def test_a_file_under_another_name_is_left_alone(folder, name):
    book = Book()
    path = folder / f"{name}.json"
    path.write_bytes(state.encode_state(WHOLE))
    path.chmod(0o600)
    assert "left alone" in book.undo_others()[0]
    assert path.exists()


def test_a_link_is_not_followed(folder, tmp_path):
    book = Book()
    real = tmp_path / "real"
    real.write_bytes(state.encode_state(WHOLE))
    (folder / f"{IDENTITY}.json").symlink_to(real)
    assert "left alone" in book.undo_others()[0]


def test_a_folder_that_others_can_write_to_is_refused(tmp_path):
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    for path in (open_to_all, link):
        with pytest.raises(UnavailableError):
            books.own_folder(str(path))


def test_one_run_at_a_time_has_the_lock(folder):
    first, second = Book(), Book()
    assert first.take()
    assert not second.take()
    first.__exit__()  # as the kernel does when it is killed
    assert second.take()


def test_each_change_is_on_disk_before_it_is_made(folder):
    book = Book()
    book.write(PageCluster(was=3))
    (path,) = folder.glob("*.json")
    assert state.parse_state(path.read_bytes()).changes == (PageCluster(was=3),)
    assert path.stat().st_mode & 0o077 == 0
    assert books.leftovers() == [str(path)]


@pytest.mark.parametrize(("now", "then"), [("0\n", "3"), ("2\n", "2\n")])
def test_the_setting_goes_back_unless_somebody_set_it_since(
    folder, tmp_path, monkeypatch, now, then
):
    setting = tmp_path / "page-cluster"
    setting.write_text(now)
    monkeypatch.setattr(undoing, "PAGE_CLUSTER", str(setting))
    book = Book()
    book.write(PageCluster(was=3))
    book.undo()
    assert setting.read_text() == then
    assert books.leftovers() == []


def test_after_another_start_of_the_machine_only_the_file_goes(folder, tmp_path, monkeypatch):
    setting = tmp_path / "page-cluster"
    setting.write_text("0")
    monkeypatch.setattr(undoing, "PAGE_CLUSTER", str(setting))
    book = Book()
    book.state = replace(book.state, boot="another")
    path = tmp_path / state.swap_file_name(book.state.identity)
    swap.make_file(str(path), 1 << 20)
    book.write(PageCluster(was=3))
    book.write(SwapFile(path=str(path)))
    book.undo()
    assert setting.read_text() == "0"
    assert not path.exists()


def test_what_can_not_be_undone_stays_written_down(folder, tmp_path, monkeypatch):
    setting = tmp_path / "page-cluster"
    setting.mkdir()  # can't be read as a file
    monkeypatch.setattr(undoing, "PAGE_CLUSTER", str(setting))
    book = Book()
    path = tmp_path / state.swap_file_name(book.state.identity)
    swap.make_file(str(path), 1 << 20)
    book.write(SwapFile(path=str(path)))
    book.write(PageCluster(was=3))
    told = book.undo()
    assert told[0].startswith("left as it is")
    assert not path.exists()  # the rest is undone all the same
    (left,) = folder.glob("*.json")
    assert state.parse_state(left.read_bytes()).changes == (PageCluster(was=3),)


def test_a_group_elsewhere_is_left_alone(folder, tmp_path):
    group = tmp_path / f"{cgroup.PREFIX}{IDENTITY}"
    group.mkdir()
    book = Book()
    book.write(Group(path=str(group)))
    book.undo()
    assert group.exists()


def test_a_zram_device_that_is_not_as_we_left_it_is_left_alone(folder, monkeypatch):
    monkeypatch.setattr(swap, "drop_zram", lambda *_, **__: pytest.fail("taken away"))
    book = Book()
    book.write(Zram(number=999, added=True, n_bytes=4096))
    assert book.undo() == []
