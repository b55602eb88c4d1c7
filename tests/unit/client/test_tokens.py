import pytest

from inferonnx.client.tokens import MAX_TOKEN_CHARS, check_token
from inferonnx.errors import UsageError


def test_a_token_is_a_secret():
    token = check_token("ifx_0123_abcDEF-_~.+/=")
    assert token.reveal() == b"ifx_0123_abcDEF-_~.+/="
    assert "ifx" not in repr(token)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "se cret",
        "secret\n",
        "secret\r\nX: y",
        "sécret",
        "secret\0",
        "s" * (MAX_TOKEN_CHARS + 1),
    ],
)
def test_what_is_none_is_refused_and_not_shown(text):
    with pytest.raises(UsageError, match="the token has characters") as caught:
        check_token(text)
    assert "cret" not in caught.value.message + caught.value.hint
