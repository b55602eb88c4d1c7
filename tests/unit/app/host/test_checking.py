import os

import pytest

from inferonnx.app.host import checking
from inferonnx.app.host.checking import NO_VECTOR, check, inspect
from inferonnx.app.host.keys import Key
from inferonnx.app.host.opened_file import open_file
from inferonnx.errors import (
    AuthenticationError,
    InferonnxError,
    KeyMismatchError,
    SealedFormatError,
    UsageError,
)


@pytest.fixture
def key(key_path):
    return Key.load(key_path)


def test_a_whole_file_passes_with_and_without_the_key(sealed_cnn, key):
    told = []
    without = check(str(sealed_cnn), progress=told.append)
    assert told
    assert all(text.startswith("checked ") for text in told)
    assert (without["segments_opened"], without["check_vector"]) == (None, None)
    with_key = check(str(sealed_cnn), key=key, run=True)
    assert with_key["segments_opened"] == inspect(str(sealed_cnn), key=key)["n_segments"]
    assert with_key["check_vector"] == "agrees"
    assert with_key["file_bytes"] == os.path.getsize(sealed_cnn)


@pytest.mark.parametrize("where", [0.0, 0.2, 0.5, 0.999])
@pytest.mark.parametrize("has_key", [False, True], ids=["public", "key"])
def test_one_changed_bit_anywhere_is_found(where, has_key, sealed_cnn, key, tmp_path):
    content = bytearray(sealed_cnn.read_bytes())
    content[int(where * len(content))] ^= 4
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(InferonnxError) as caught:
        check(str(tmp_path / "m"), key=key if has_key else None)
    assert caught.value.exit_code == 3


def test_a_longer_and_a_shorter_file_are_found(sealed_cnn, tmp_path):
    content = sealed_cnn.read_bytes()
    for other in (content + b"\0", content[:-1], content[:100]):
        (tmp_path / "m").write_bytes(other)
        with pytest.raises((SealedFormatError, AuthenticationError)):
            check(str(tmp_path / "m"))


def test_the_check_vector_needs_the_key(sealed_cnn):
    with pytest.raises(UsageError, match="without the key"):
        check(str(sealed_cnn), run=True)


def test_another_key_opens_nothing(sealed_cnn):
    with pytest.raises(KeyMismatchError):
        check(str(sealed_cnn), key=Key.generate())
    with pytest.raises(KeyMismatchError):
        inspect(str(sealed_cnn), key=Key.generate())


def test_a_file_without_a_vector_says_so(sealed_cnn, key, monkeypatch):
    from dataclasses import replace

    def without_check(path, *, key):
        opened = open_file(path, key=key)
        return opened._replace(manifest=replace(opened.manifest, check=None))

    monkeypatch.setattr(checking, "open_file", without_check)
    assert check(str(sealed_cnn), key=key, run=True)["check_vector"] == NO_VECTOR


def test_no_descriptor_is_left_open(sealed_cnn, key, tmp_path):
    (tmp_path / "m").write_bytes(sealed_cnn.read_bytes()[:-1])
    before = len(os.listdir("/proc/self/fd"))
    inspect(str(sealed_cnn))
    inspect(str(sealed_cnn), key=key)
    check(str(sealed_cnn), key=key)
    for call in (inspect, check):
        with pytest.raises(InferonnxError):
            call(str(tmp_path / "m"), key=Key.generate())
    assert len(os.listdir("/proc/self/fd")) == before
