import hashlib
import shutil

import pytest

from inferonnx.app.host.keys import Key
from inferonnx.app.relying.owned import OwnedFile
from inferonnx.errors import (
    AuthenticationError,
    KeyMismatchError,
    SealedFormatError,
    SignatureError,
    UsageError,
)


@pytest.fixture
def owned(sealed_cnn, key):
    with OwnedFile(sealed_cnn, key) as file:
        yield file


def test_a_file_is_checked_whole_while_it_is_hashed(owned, sealed_cnn):
    told = []
    digest = owned.checked_sha256(lambda *n: told.append(n))
    assert digest == hashlib.sha256(sealed_cnn.read_bytes()).digest()
    assert told[-1] == (owned.source.size, owned.source.size)
    assert len(owned.model_id) == 32
    assert len(owned.data_key) == 32


def test_a_damaged_file_is_refused_before_it_is_sent(sealed_cnn, key, tmp_path):
    damaged = tmp_path / "cnn.sealed"
    content = bytearray(sealed_cnn.read_bytes())
    content[len(content) // 3] ^= 1
    damaged.write_bytes(content)
    with OwnedFile(damaged, key) as file, pytest.raises(AuthenticationError):
        file.checked_sha256()


def test_another_owners_key_does_not_open_it(sealed_cnn, key, tmp_path):
    with pytest.raises(KeyMismatchError):
        OwnedFile(sealed_cnn, Key.generate())
    forged = tmp_path / "forged.sealed"
    content = bytearray(sealed_cnn.read_bytes())
    content[20] ^= 1
    forged.write_bytes(content)
    with pytest.raises((SignatureError, SealedFormatError)):
        OwnedFile(forged, key)


def test_the_data_key_is_wiped_at_the_end(sealed_cnn, key):
    with OwnedFile(sealed_cnn, key) as file:
        data_key = file.data_key
    assert data_key.reveal() == bytes(32)


def test_it_is_served_by_the_name_that_is_sealed_in_it(owned, sealed_cnn, key, tmp_path):
    other = tmp_path / "other.sealed"
    shutil.copy(sealed_cnn, other)
    assert owned.served_name(None) == owned.name == "cnn"
    assert owned.served_name("cnn") == "cnn"
    with pytest.raises(UsageError, match="was sealed as 'cnn'") as caught:
        owned.served_name("resnet")
    assert "--name cnn" in caught.value.hint
    with OwnedFile(other, key) as file:
        with pytest.raises(UsageError, match="not served as 'other'"):
            file.served_name(None)
        assert file.served_name("cnn") == "cnn"


def test_its_version_is_its_release_where_it_has_one(owned, unnumbered_cnn, key):
    assert owned.release == 3
    assert owned.served_version(None) == owned.served_version(3) == 3
    with pytest.raises(UsageError, match="sealed as release 3"):
        owned.served_version(4)
    with OwnedFile(unnumbered_cnn, key) as file:
        assert file.served_version(None) is None
        assert file.served_version(5) == 5
