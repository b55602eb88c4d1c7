import pytest

from inferonnx.app.host.keys import Key


@pytest.fixture(scope="session")
def key(key_path):
    return Key.load(key_path)
