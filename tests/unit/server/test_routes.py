"""Paths: split first, decoded once; no name brings a slash along."""

import pytest

from inferonnx.oip import NotFoundError
from inferonnx.server.routes import find_route


@pytest.mark.parametrize("name", ["a%2fb", "a%2Fb", "..%2f..%2fetc", "%2f", "a%00", "%00", "%ff"])
def test_no_segment_has_a_slash_or_a_nul(name):
    with pytest.raises(NotFoundError):
        find_route("GET", f"/v2/models/{name}".encode())


def test_a_segment_is_decoded_once():
    _, segments = find_route("GET", b"/v2/models/a%252fb%2e")
    assert segments == {"name": "a%2fb."}
