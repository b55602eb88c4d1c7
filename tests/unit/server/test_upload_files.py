"""Uploads on disk: whole or nothing, found again, and never outside their folder."""

import os
import shutil
import stat
from dataclasses import replace

import pytest

from inferonnx.runtime.folders import open_folder
from inferonnx.server.upload_files import Kept, UploadFiles
from inferonnx.server.upload_state import encode_state
from sealed_files import announced, make_file, tree

UPLOAD = announced(make_file())


@pytest.fixture
def incoming(tmp_path):
    (tmp_path / "uploads").mkdir()
    return tmp_path / "uploads"


@pytest.fixture
def files(incoming):
    folder = open_folder(str(incoming))
    yield UploadFiles(folder)
    os.close(folder)


def write(files, data, upload=UPLOAD):
    with open(files.open(upload), "wb") as file:
        file.write(data)


def test_an_upload_is_made_found_and_removed(files, incoming):
    files.make(UPLOAD)
    assert tree(incoming) == {
        f"{UPLOAD.id}/model.sealed": b"",
        f"{UPLOAD.id}.json": encode_state(UPLOAD),
    }
    write(files, b"12345")
    (kept,) = files.kept()
    assert kept[:2] == (UPLOAD, 5)
    assert kept.touched_s == (incoming / UPLOAD.id / "model.sealed").stat().st_mtime
    files.remove(UPLOAD.id)
    files.remove(UPLOAD.id)
    assert os.listdir(incoming) == []
    assert list(files.kept()) == []


def test_an_upload_whose_file_has_gone_elsewhere(files, incoming):
    files.make(UPLOAD)
    shutil.rmtree(incoming / UPLOAD.id)
    assert list(files.kept()) == [Kept(UPLOAD, None, 0)]
    files.forget(UPLOAD.id)
    assert os.listdir(incoming) == []


def test_only_this_process_and_its_user_may_look(files, incoming):
    files.make(UPLOAD)
    for path in incoming.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0


def test_an_upload_is_not_made_twice(files, incoming):
    files.make(UPLOAD)
    with pytest.raises(FileExistsError):
        files.make(UPLOAD)


@pytest.mark.parametrize("longer", [b"", b"x"])
def test_a_file_that_is_longer_than_announced_is_none(files, longer):
    files.make(UPLOAD)
    write(files, make_file() + longer)
    (kept,) = files.kept()
    assert kept.n_bytes == (None if longer else UPLOAD.n_bytes)


def test_other_files_are_no_uploads_and_are_cleared(files, incoming, tmp_path):
    files.make(UPLOAD)
    other = replace(UPLOAD, id="f" * 32)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    (incoming / "state.json").write_bytes(encode_state(UPLOAD))  # another's name
    (incoming / ("e" * 32 + ".json")).write_bytes(encode_state(other))
    (incoming / (other.id + ".json")).symlink_to(incoming / (UPLOAD.id + ".json"))
    (incoming / "large.json").write_bytes(encode_state(UPLOAD) + b" " * 10_000)
    (incoming / "folder.json").mkdir()
    (incoming / "folder" / "deep").mkdir(parents=True)
    (incoming / "link").symlink_to(tmp_path / "outside")
    (incoming / "half.part").touch()
    os.mkfifo(incoming / "pipe.json")
    assert [kept.upload for kept in files.kept()] == [UPLOAD]
    files.clear(but={UPLOAD.id, UPLOAD.id + ".json"})
    assert sorted(os.listdir(incoming)) == [UPLOAD.id, UPLOAD.id + ".json"]
    assert os.listdir(tmp_path / "outside") == ["file"]


@pytest.mark.parametrize("place", ["folder", "file"])
def test_links_are_not_followed(files, incoming, tmp_path, place):
    files.make(UPLOAD)
    shutil.copytree(incoming / UPLOAD.id, tmp_path / "outside")
    if place == "folder":
        shutil.rmtree(incoming / UPLOAD.id)
        (incoming / UPLOAD.id).symlink_to(tmp_path / "outside")
    else:
        (incoming / UPLOAD.id / "model.sealed").unlink()
        (incoming / UPLOAD.id / "model.sealed").symlink_to(tmp_path / "outside" / "model.sealed")
    with pytest.raises(OSError, match=r"Not a directory|symbolic"):
        files.open(UPLOAD)
    assert [kept.n_bytes for kept in files.kept()] == [None]
    files.remove(UPLOAD.id)
    assert os.listdir(incoming) == []
    assert os.listdir(tmp_path / "outside") == ["model.sealed"]


def test_nothing_is_written_to_a_file_that_has_another_name(files, incoming, tmp_path):
    files.make(UPLOAD)
    path = incoming / UPLOAD.id / "model.sealed"
    (tmp_path / "outside").write_bytes(b"theirs")
    path.unlink()
    path.hardlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="Too many links"):
        files.open(UPLOAD)


def test_nothing_is_written_to_a_terminal(files, incoming):
    """The host puts a link's target, a device, in the file's place."""
    files.make(UPLOAD)
    ours, theirs = os.openpty()
    path = incoming / UPLOAD.id / "model.sealed"
    path.unlink()
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.fstat(theirs).st_rdev)
    except PermissionError:
        pytest.skip("only root makes devices")
    else:
        with pytest.raises(OSError, match=r"\w"):
            files.open(UPLOAD)
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("kind", ["pipe", "folder", "nothing"])
def test_what_is_no_file_is_not_waited_for(files, incoming, kind):
    files.make(UPLOAD)
    path = incoming / UPLOAD.id / "model.sealed"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(OSError, match=r"\w"):
        files.open(UPLOAD)
    assert [kept.n_bytes for kept in files.kept()] == [None]


def test_the_disk_tells_its_room(files, incoming):
    disk = os.statvfs(incoming)
    assert 0 < files.free_bytes() <= disk.f_blocks * disk.f_frsize


def test_a_state_that_can_not_be_written_leaves_nothing(files, incoming):
    (incoming / (UPLOAD.id + ".json")).mkdir()
    (incoming / (UPLOAD.id + ".json") / "full").touch()
    with pytest.raises(IsADirectoryError):
        files.make(UPLOAD)
    assert os.listdir(incoming) == []
