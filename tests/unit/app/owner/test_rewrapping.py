import os

import pytest

from inferonnx.app.host.checking import inspect
from inferonnx.app.host.keys import Key
from inferonnx.app.owner.rewrapping import rewrap_file
from inferonnx.errors import KeyMismatchError


@pytest.fixture
def copy(sealed_cnn, tmp_path):
    path = tmp_path / "m.sealed"
    path.write_bytes(sealed_cnn.read_bytes())
    return path


def test_rewrapping_changes_who_opens_it_and_nothing_else(copy, key_path, sealed_cnn):
    old = Key.load(key_path)
    new = old.renewed()
    rewrap_file(str(copy), key=old, new_key=new)
    before, after = inspect(str(sealed_cnn)), inspect(str(copy), key=new)
    assert after["model_id"] == before["model_id"]
    assert after["key_id"] != before["key_id"]
    with pytest.raises(KeyMismatchError):
        inspect(str(copy), key=old)


def test_after_an_error_the_file_is_the_old_one_and_closed(copy, key_path):
    before, open_before = copy.read_bytes(), len(os.listdir("/proc/self/fd"))
    old = Key.load(key_path)
    for key, new_key in ((old, Key.generate()), (Key.generate(), old)):
        with pytest.raises(KeyMismatchError):
            rewrap_file(str(copy), key=key, new_key=new_key)
    assert copy.read_bytes() == before
    assert os.listdir(copy.parent) == [copy.name]
    assert len(os.listdir("/proc/self/fd")) == open_before
