import pytest

from inferonnx.app.host.keys import Key
from inferonnx.errors import KeyFileError, UsageError


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
