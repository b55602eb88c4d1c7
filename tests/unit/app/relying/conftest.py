import pytest

from inferonnx.app.host.keys import Key
from inferonnx.app.owner.sealing import seal


@pytest.fixture(scope="session")
def key(key_path):
    return Key.load(key_path)


@pytest.fixture(scope="session")
def unnumbered(cnn, key, tmp_path_factory):
    """The small model, sealed without a release."""
    path = tmp_path_factory.mktemp("unnumbered") / "cnn.sealed"
    seal(cnn, path, key=key, memory="8GiB")
    return path
