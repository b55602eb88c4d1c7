"""Headers of tus: what is malformed is refused, and nothing else is raised."""

from base64 import b64encode
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.oip import InvalidRequestError
from inferonnx.server.tus import (
    MAX_METADATA_CHARS,
    OFFSET_TYPE,
    http_date,
    is_offset_type,
    parse_digest,
    parse_length,
    parse_metadata,
)

KEYS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=1
)


@given(st.integers(0, 10**18 - 1))
def test_a_length_is_read(number):
    assert parse_length(str(number), "Upload-Length") == number


@pytest.mark.parametrize(
    "text", [None, "", " 1", "1 ", "-1", "+1", "0x1", "1_0", "1.0", "1e3", "٣", "1, 1", "9" * 19]
)
def test_what_is_no_length_is_refused_by_the_name_of_its_header(text):
    with pytest.raises(InvalidRequestError, match="Upload-Offset"):
        parse_length(text, "Upload-Offset")


@given(st.dictionaries(KEYS, st.binary(max_size=40), max_size=8), st.booleans())
def test_metadata_comes_back(metadata, without_space):
    text = ",".join(
        key if without_space and not value else f"{key} {b64encode(value).decode()}"
        for key, value in metadata.items()
    )
    assert parse_metadata(text) == metadata


@given(st.text(max_size=60))
def test_any_text_is_metadata_or_refused(text):
    try:
        found = parse_metadata(text)
    except InvalidRequestError:
        return
    assert text.isascii()
    assert text.isprintable()  # so that it may go out in a header
    assert len(found) == (text.count(",") + 1 if text else 0)


@pytest.mark.parametrize(
    "text",
    [
        ",",
        "a YQ==,",
        "a YQ==,,b YQ==",
        "a YQ==,a YQ==",
        "a YQ=",
        "a  YQ==",
        "a Y\tQ==",
        "a YQ==\r\nSet-Cookie: x",
        "ä YQ==",
        "a " + "A" * MAX_METADATA_CHARS,
    ],
)
def test_malformed_metadata_is_refused(text):
    with pytest.raises(InvalidRequestError, match="Upload-Metadata"):
        parse_metadata(text)


@given(st.binary(min_size=32, max_size=32))
def test_a_digest_is_read(digest):
    assert parse_digest({"sha256": digest.hex().encode()}) == digest


@pytest.mark.parametrize("value", [b"", b"0" * 63, b"0" * 65, b"0" * 63 + b"A", b"\xff" * 64])
def test_what_is_no_digest_is_refused(value):
    for metadata in ({"sha256": value}, {"SHA256": b"0" * 64}, {}):
        with pytest.raises(InvalidRequestError, match="sha256"):
            parse_digest(metadata)


@pytest.mark.parametrize("text", [OFFSET_TYPE, OFFSET_TYPE.upper(), f"{OFFSET_TYPE} ; a=b"])
def test_the_content_type_of_a_patch(text):
    assert is_offset_type(text)
    assert not is_offset_type("application/octet-stream")
    assert not is_offset_type("")


@given(st.integers(0, 4_000_000_000), st.floats(0, 0.999))
def test_dates_are_as_the_standard_library_writes_them(seconds, part):
    when = datetime.fromtimestamp(seconds, UTC)
    assert http_date(seconds + part) == format_datetime(when, usegmt=True)
    assert parsedate_to_datetime(http_date(seconds)) == when
