"""A disk that fills up under an upload: one sentence, nothing kept, and others unharmed."""

import gc
import os
import time
from pathlib import Path

import pytest

from inferonnx.errors import UploadEndedError
from inferonnx.oip import StorageFullError
from inferonnx.server.repository import Repository
from inferonnx.server.uploads import Uploads
from machine import small_disk
from sealed_files import announced, bring, make_file

PAGE = os.sysconf("SC_PAGESIZE")
N_PAGES = 256
N_INODES = 64


class Host:
    """A repository on a small disk."""

    def __init__(self, disk):
        self.folder = disk / "models"
        self.disk = disk
        self.repository = Repository(str(self.folder))
        self.uploads = Uploads(
            self.repository,
            quota_bytes=1 << 30,
            max_uploads=50,
            expiry_s=1000,
            clock_s=time.time,
        )
        bring(self.repository, make_file(), name="old")

    def create(self, data, **changed):
        upload = announced(data, **changed)
        return self.uploads.create(
            name=upload.name,
            version=upload.version,
            owner=upload.owner,
            model_id=upload.model_id,
            n_bytes=upload.n_bytes,
            sha256=upload.sha256,
            metadata=upload.metadata,
        )

    def send(self, upload, data):
        appender = self.uploads.append(upload, self.uploads.find(upload.id).offset)
        try:
            appender.write(memoryview(data))
        finally:
            appender.close()

    def fill(self, *, but=0):
        """Leave so many pages free."""
        free = os.statvfs(self.disk).f_bavail
        with open(self.disk / "ballast", "ab") as file:
            file.write(b"\1" * (free - but) * PAGE)
        assert os.statvfs(self.disk).f_bavail == but

    def fill_inodes(self, *, but=0):
        for number in range(os.statvfs(self.disk).f_ffree - but):
            os.mknod(self.disk / f"ballast{number}")

    def empty(self):
        for path in self.disk.glob("ballast*"):
            path.unlink()

    def assert_unharmed(self, *uploads):
        assert [(m.name, m.problem) for m in self.repository.scan()] == [("old", "")]
        assert sorted(os.listdir(self.folder)) == [".lock", ".trash", ".uploads", "old"]
        assert os.listdir(self.folder / ".trash") == []
        assert sorted(os.listdir(self.folder / ".uploads")) == sorted(
            f"{upload.id}{ending}" for upload in uploads for ending in ("", ".json")
        )

    def push(self, data, **changed):
        upload = self.create(data, **changed)
        self.send(upload, data)
        return self.uploads.finish(upload)


@pytest.fixture
def host(tmp_path):
    with small_disk(tmp_path / "disk", n_bytes=N_PAGES * PAGE, n_inodes=N_INODES) as disk:
        found = Host(disk)
        yield found
        found.repository.close()
        del found.repository, found.uploads  # their folders keep the disk in use
        gc.collect()


def test_a_disk_that_fills_up_in_the_middle(host):
    data = make_file(1, n_bytes=100 * PAGE)
    other, upload = host.create(make_file(2), name="other"), host.create(data)
    host.send(other, make_file(2)[:1000])
    host.send(upload, data[: 30 * PAGE])
    host.fill(but=20)
    with pytest.raises(StorageFullError, match="disk is full"):
        host.send(upload, data[30 * PAGE :])
    host.assert_unharmed(other)
    with pytest.raises(UploadEndedError, match="disk was full"):
        host.uploads.find(upload.id)
    assert os.statvfs(host.disk).f_bavail >= 50  # its room is there for others
    host.send(other, make_file(2)[1000:])
    assert host.uploads.finish(other).problem == ""
    host.empty()
    assert host.push(data).problem == ""


def test_a_disk_that_fills_up_on_the_last_byte(host):
    data = make_file(1, n_bytes=40 * PAGE + 1)
    upload = host.create(data)
    host.fill(but=40)
    host.send(upload, data[:-1])
    assert host.uploads.find(upload.id).offset == 40 * PAGE
    with pytest.raises(StorageFullError):
        host.send(upload, data[-1:])
    host.assert_unharmed()


@pytest.mark.parametrize("n_free", [0, 1])
def test_a_disk_that_fills_up_before_the_model_has_its_place(host, n_free):
    data = make_file(1, n_bytes=10 * PAGE)
    upload = host.create(data)
    host.send(upload, data)
    host.fill(but=n_free)
    if n_free:  # the owner's file takes it
        assert host.uploads.finish(upload).problem == ""
        return
    with pytest.raises(StorageFullError):
        host.uploads.finish(upload)
    host.assert_unharmed()


@pytest.mark.parametrize("n_free", [0, 1, 2])
def test_a_disk_without_inodes_for_the_models_place(host, n_free):
    data = make_file(1)
    upload = host.create(data)
    host.send(upload, data)
    host.fill_inodes(but=n_free)
    if n_free == 2:
        assert host.uploads.finish(upload).problem == ""
        return
    with pytest.raises(StorageFullError):
        host.uploads.finish(upload)
    host.assert_unharmed()


@pytest.mark.parametrize("n_free", range(5))
def test_a_disk_without_inodes_for_an_announcement(host, n_free):
    host.fill_inodes(but=n_free)
    if n_free >= 3:  # folder, file, what was announced
        host.create(make_file(1))
        return
    with pytest.raises(StorageFullError):
        host.create(make_file(1))
    host.assert_unharmed()
    assert len(host.uploads) == 0


def test_a_disk_without_room_is_told_before_a_byte_is_sent(host):
    with pytest.raises(StorageFullError, match="no room for this model"):
        host.create(make_file(1, n_bytes=N_PAGES * PAGE))
    first = host.create(make_file(1, n_bytes=150 * PAGE))
    with pytest.raises(StorageFullError, match="no room for this model"):
        host.create(make_file(2, n_bytes=150 * PAGE), version=2)
    host.uploads.delete(first)
    host.create(make_file(2, n_bytes=150 * PAGE), version=2)


def test_a_model_is_removed_from_a_full_disk(host):
    host.fill()
    host.repository.remove("old", 1)
    assert os.statvfs(host.disk).f_bavail > 0
    assert list(host.repository.scan()) == []


def test_a_new_version_of_an_old_name_needs_no_room_to_move(host):
    data = make_file(1)
    upload = host.create(data, name="old", version=2)
    host.send(upload, data)
    host.fill()
    host.fill_inodes()
    stored = host.uploads.finish(upload)
    assert Path(stored.path).read_bytes() == data


def test_a_start_on_a_full_disk(host):
    upload = host.create(make_file(1, n_bytes=50 * PAGE))
    host.send(upload, b"")
    host.fill()
    host.fill_inodes()
    host.repository.close()
    again = Repository(str(host.folder))
    uploads = Uploads(again, quota_bytes=1 << 30, max_uploads=5, expiry_s=1000, clock_s=time.time)
    assert [(m.name, m.problem) for m in again.scan()] == [("old", "")]
    uploads.delete(uploads.find(upload.id).upload)
    again.close()
