import pytest

from inferonnx.app.relying.token_file import find_token
from inferonnx.errors import KeyFileError, UsageError


def write(path, content, mode=0o600):
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def test_a_token_comes_from_a_file_before_the_environment(tmp_path):
    path = write(tmp_path / "token", b"ifx_file\nmore\n")
    environment = {"INFERONNX_TOKEN": "ifx_environment"}
    assert find_token(path, environment) == "ifx_file"
    assert find_token(None, environment) == "ifx_environment"
    assert find_token(None, {}) is None
    assert find_token(None, {"INFERONNX_TOKEN": ""}) is None
    assert find_token(write(tmp_path / "crlf", b"ifx_file\r\n"), {}) == "ifx_file"


def test_a_file_that_others_can_read_is_refused(tmp_path):
    path = write(tmp_path / "token", b"ifx_secret", 0o640)
    with pytest.raises(KeyFileError, match="token file") as caught:
        find_token(path, {})
    assert "secret" not in caught.value.message


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError):
        find_token(str(tmp_path / "none"), {})
