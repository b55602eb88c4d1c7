"""Folders by descriptor: what a link leads to is neither written nor removed."""

import os
import socket
import subprocess

import pytest

from inferonnx.runtime.folders import (
    is_there,
    make_folder,
    open_folder,
    read_small,
    remove_tree,
    write_whole,
)


@pytest.fixture
def at(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"not ours")
    folder = open_folder(str(tmp_path / "here"))
    yield folder
    os.close(folder)
    assert (tmp_path / "outside" / "file").read_bytes() == b"not ours"
    assert os.listdir(tmp_path / "outside") == ["file"]


def test_a_link_is_opened_only_to_read(at, tmp_path):
    (tmp_path / "here" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(NotADirectoryError):
        open_folder("link", at=at)
    with pytest.raises(NotADirectoryError):
        make_folder("link", at=at)
    folder = open_folder("link", at=at, follow=True)
    assert os.listdir(folder) == ["file"]
    os.close(folder)


def test_a_folder_is_made_once(at, tmp_path):
    for _ in range(2):
        os.close(make_folder("new", at=at, mode=0o700))
    assert (tmp_path / "here" / "new").stat().st_mode & 0o777 == 0o700


def test_there_is_also_what_leads_nowhere(at, tmp_path):
    assert not is_there("name", at=at)
    (tmp_path / "here" / "name").symlink_to("nowhere")
    assert is_there("name", at=at)


def test_writing_whole_replaces_a_link_and_not_its_target(at, tmp_path):
    (tmp_path / "here" / "name").symlink_to(tmp_path / "outside" / "file")
    write_whole("name", b"ours", at=at, through=at)
    assert (tmp_path / "here" / "name").read_bytes() == b"ours"
    assert (tmp_path / "here" / "name").stat().st_mode & 0o777 == 0o600
    assert os.listdir(at) == ["name"]


def test_writing_whole_leaves_nothing_when_it_fails(at, tmp_path):
    (tmp_path / "here" / "name").mkdir()
    (tmp_path / "here" / "name" / "full").touch()
    with pytest.raises(IsADirectoryError):
        write_whole("name", b"ours", at=at, through=at)
    assert os.listdir(at) == ["name"]


def test_reading_small(at, tmp_path):
    (tmp_path / "here" / "name").write_bytes(b"12345")
    assert read_small("name", at=at, limit_bytes=5) == b"12345"
    with pytest.raises(ValueError, match="more than 4"):
        read_small("name", at=at, limit_bytes=4)
    with pytest.raises(FileNotFoundError):
        read_small("other", at=at, limit_bytes=4)


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "socket"])
def test_reading_small_waits_for_nothing_and_follows_nothing(at, tmp_path, kind, monkeypatch):
    name = tmp_path / "here" / "name"
    if kind == "pipe":
        os.mkfifo(name)
    elif kind == "folder":
        name.mkdir()
    elif kind == "link":
        name.symlink_to(tmp_path / "outside" / "file")
    else:
        monkeypatch.chdir(tmp_path / "here")  # paths of sockets are short
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind("name")
    with pytest.raises((ValueError, OSError)):
        read_small("name", at=at, limit_bytes=100)


def test_a_tree_is_removed_and_what_its_links_lead_to_stays(at, tmp_path):
    deep = tmp_path / "here" / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "file").touch()
    (deep / "folder").symlink_to(tmp_path / "outside")
    (deep.parent / "file").symlink_to(tmp_path / "outside" / "file")
    os.mkfifo(deep / "pipe")
    remove_tree("a", at=at)
    assert os.listdir(at) == []


@pytest.mark.parametrize("target", ["outside", "outside/file", "nowhere"])
def test_of_a_link_the_link_is_removed(at, tmp_path, target):
    (tmp_path / "here" / "name").symlink_to(tmp_path / target)
    remove_tree("name", at=at)
    assert os.listdir(at) == []


def test_what_is_not_there_is_removed_already(at):
    remove_tree("name", at=at)


def test_what_can_not_be_removed_stays_without_a_word(at, tmp_path):
    below = make_folder("deep", at=at)
    for _ in range(2000):  # deeper than functions may call each other, or than files may be open
        above, below = below, make_folder("d", at=below)
        os.close(above)
    os.close(below)
    (tmp_path / "here" / "file").touch()
    n_open = len(os.listdir("/proc/self/fd"))
    for name in ("deep", "file"):
        remove_tree(name, at=at)
    assert os.listdir(at) == ["deep"]
    assert len(os.listdir("/proc/self/fd")) == n_open
    subprocess.run(["rm", "-r", tmp_path / "here" / "deep"], check=True)
