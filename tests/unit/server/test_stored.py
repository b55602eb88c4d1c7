"""Sealed files as a repository sees them: what a header tells, and what a whole file must be."""

import os
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.errors import (
    AuthenticationError,
    InferonnxError,
    OwnerRefusedError,
    PinError,
    SealedFormatError,
    SignatureError,
)
from inferonnx.runtime.folders import open_folder
from inferonnx.sealed import HEADER_BYTES
from inferonnx.server.repository import Repository
from inferonnx.server.stored import CHECK_BYTES, check_file, check_incoming, look_at
from sealed_files import (
    GOLDEN,
    OTHER_OWNER,
    OTHER_SEED,
    OWNER,
    announced,
    make_file,
    put,
)


def looked_at(path, **changed):
    return look_at(str(path), **({"name": "net", "version": 1, "owner": OWNER} | changed))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.sealed"


def test_a_header_tells(path):
    data = make_file(release=7)
    path.write_bytes(data)
    found = looked_at(path, version=7)
    assert found.problem == ""
    assert (found.name, found.version, found.path) == ("net", 7, str(path))
    assert (found.owner, found.model_id) == (OWNER, announced(data).model_id)
    assert (found.release, found.suite, found.file_bytes) == (7, "aes-256-gcm", len(data))


def test_files_of_a_release_and_of_the_command_line(path, sealed_cnn):
    for file, version in ((GOLDEN, 7), (sealed_cnn, 3)):
        found = looked_at(file, version=version, owner=None)
        assert found.problem == ""
        assert found.file_bytes == file.stat().st_size
        data = file.read_bytes()
        descriptor = os.open(file, os.O_RDONLY)
        checked = check_file(descriptor, announced(data, version=version))
        os.close(descriptor)
        assert checked.verified.model_id == found.model_id
        assert checked.n_bytes == len(data)


@pytest.mark.parametrize("owner", [None, OWNER])
def test_a_release_stands_at_its_own_version(path, owner):
    path.write_bytes(make_file(release=2))
    assert looked_at(path, version=2, owner=owner).problem == ""
    assert "release is 2" in looked_at(path, version=3, owner=owner).problem
    path.write_bytes(make_file(release=0))
    assert looked_at(path, version=3, owner=owner).problem == ""


def test_a_file_of_another_owner_than_its_name(path):
    path.write_bytes(make_file(seed=OTHER_SEED))
    found = looked_at(path)
    assert "another owner" in found.problem
    assert found.owner == OTHER_OWNER


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not a sealed file"),
        (b"x" * 5000, "not a sealed file"),
        (make_file()[: HEADER_BYTES - 1], "cut short"),
        (make_file()[: HEADER_BYTES + 99], "cut short"),
        (make_file()[:100] + bytes([make_file()[100] ^ 1]) + make_file()[101:], "tampered"),
    ],
    ids=["empty", "other", "half a header", "half a manifest", "changed"],
)
def test_a_damaged_file_says_why(path, data, problem):
    path.write_bytes(data)
    found = looked_at(path)
    assert problem in found.problem
    assert (found.owner, found.model_id) == (b"", b"")
    assert found.file_bytes == len(data)


def test_what_is_no_file_says_why(path, tmp_path):
    assert looked_at(path).problem == "there is no model.sealed in its folder"
    assert looked_at(path / "x").problem == "there is no model.sealed in its folder"
    path.symlink_to(path)
    assert "can't be read" in looked_at(path).problem
    path.unlink()
    path.mkdir()
    assert "no regular file" in looked_at(path).problem
    path.rmdir()
    os.mkfifo(path)  # a server that opened it to read would wait for ever
    assert "no regular file" in looked_at(path).problem
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "no regular file" in looked_at(path).problem


def checked(data, upload, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return check_file(descriptor, upload)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "n_bytes", [HEADER_BYTES + 100, HEADER_BYTES + CHECK_BYTES, 3 * CHECK_BYTES + 1]
)
def test_a_file_that_is_what_was_announced(tmp_path, n_bytes):
    data = make_file(n_bytes=n_bytes)
    assert checked(data, announced(data), tmp_path).n_bytes == n_bytes


DATA = make_file(release=2)


@pytest.mark.parametrize(
    ("changed", "error", "sentence"),
    [
        ({"owner": OTHER_OWNER}, OwnerRefusedError, "another owner"),
        ({"model_id": bytes(32)}, PinError, "another model"),
        ({"version": 1}, PinError, "release is 2, and can't be version 1"),
        ({"sha256": bytes(32)}, PinError, "SHA-256"),
    ],
)
def test_a_file_that_is_not_what_was_announced(tmp_path, changed, error, sentence):
    upload = announced(DATA, version=2)
    checked(DATA, upload, tmp_path)
    with pytest.raises(error, match=sentence):
        checked(DATA, replace(upload, **changed), tmp_path)


def test_a_file_of_other_bytes_that_was_announced_truly(tmp_path):
    data = DATA[:-200] + bytes([DATA[-200] ^ 1]) + DATA[-199:]
    with pytest.raises(AuthenticationError):
        checked(data, announced(data, version=2), tmp_path)


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"\0"])
def test_a_file_of_another_length_that_was_announced_truly(tmp_path, data):
    with pytest.raises(AuthenticationError):
        checked(data, announced(data, version=2), tmp_path)


def test_a_file_that_is_none(tmp_path):
    upload = announced(DATA, version=2)
    for data in (b"", b"x" * 10_000):
        with pytest.raises(SealedFormatError):
            checked(data, upload, tmp_path)
    with pytest.raises(SignatureError):
        checked(DATA[:50] + bytes([DATA[50] ^ 1]) + DATA[51:], upload, tmp_path)


@given(st.data())
def test_no_changed_byte_is_overlooked(tmp_path_factory, data):
    at = data.draw(st.integers(0, len(DATA) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = DATA[:at] + bytes([DATA[at] ^ flip]) + DATA[at + 1 :]
    with pytest.raises(InferonnxError):
        checked(changed, announced(DATA, version=2), tmp_path_factory.getbasetemp())


def replaced(path, data):
    new = path.with_name("new")
    new.write_bytes(data)
    new.replace(path)


def piped(path):
    path.unlink()
    os.mkfifo(path)


MEANWHILE = {  # what a host does to the file of DATA while it is verified
    "lengthened": lambda path: os.truncate(path, len(DATA) + 1),
    "lengthened by 1 TiB": lambda path: os.truncate(path, 1 << 40),
    "cut": lambda path: os.truncate(path, len(DATA) - 1),
    "cut, all that was not read": lambda path: os.truncate(path, HEADER_BYTES),
    "the same in another file": lambda path: replaced(path, DATA),
    "another model": lambda path: replaced(path, make_file(7)),
    "a pipe": piped,
}


@pytest.mark.parametrize("moment", ["preadv", "fsync"])
@pytest.mark.parametrize("change", MEANWHILE)
def test_a_file_that_the_host_changes_while_it_is_verified(tmp_path, change, moment):
    repository = Repository(str(tmp_path))
    upload = announced(DATA, version=2)
    put(repository, upload, DATA)
    incoming = open_folder(str(tmp_path / ".uploads"))
    path = tmp_path / ".uploads" / upload.id / "model.sealed"
    n_read, has_come = 0, False

    def host(_frame, event, function):
        nonlocal n_read, has_come
        if event != "c_call" or function.__module__ != "posix":
            return
        n_read += function.__name__ == "preadv"
        if function.__name__ == moment and not has_come:
            has_come = True  # first: what it does calls the system too
            MEANWHILE[change](path)

    sys.setprofile(host)
    try:
        with pytest.raises(PinError, match=r"host has changed the file|SHA-256 of what has come"):
            check_incoming(incoming, upload)
    finally:
        sys.setprofile(None)
        os.close(incoming)
        repository.close()
    assert 1 <= n_read <= 2  # no more than was announced, and the end
