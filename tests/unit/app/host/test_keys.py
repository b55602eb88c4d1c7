import os

import pytest

from inferonnx.app.host.checking import inspect
from inferonnx.app.host.keys import Key, rewrap_file
from inferonnx.errors import KeyFileError, KeyMismatchError, UsageError


def test_a_key_comes_back_and_is_its_owners_alone(tmp_path):
    key = Key.generate()
    key.save(tmp_path / "k")
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    again = Key.load(tmp_path / "k")
    assert (again.public_key, again.public_id) == (key.public_key, key.public_id)


def test_a_key_is_never_overwritten(tmp_path):
    (tmp_path / "k").write_bytes(b"mine")
    with pytest.raises(UsageError, match="never overwritten"):
        Key.generate().save(tmp_path / "k")
    assert (tmp_path / "k").read_bytes() == b"mine"


def test_a_passphrase_is_asked_for_only_where_there_is_one(tmp_path):
    asked = []

    def ask():
        asked.append(1)
        return "word"

    Key.generate().save(tmp_path / "open")
    Key.load(tmp_path / "open", passphrase=ask)
    assert not asked
    Key.generate().save(tmp_path / "closed", passphrase="word")
    Key.load(tmp_path / "closed", passphrase=ask)
    assert asked == [1]
    with pytest.raises(KeyFileError, match="wrong"):
        Key.load(tmp_path / "closed", passphrase="other")


def test_nothing_secret_is_shown():
    key = Key.generate()
    secrets = [key.owner.wrap_secret, key.owner.signing_seed]
    assert all(bytes(secret.reveal()).hex() not in repr(key) for secret in secrets)
    assert key.public_key in repr(key)


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
