"""What is kept of an upload: comes back as it was, and whatever the host made of it is refused."""

import json

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inferonnx.control import check_name
from inferonnx.control.names import MAX_VERSION
from inferonnx.sealed import HEADER_BYTES
from inferonnx.server.tus import MAX_METADATA_CHARS
from inferonnx.server.upload_state import (
    MAX_FILE_BYTES,
    MAX_STATE_BYTES,
    Upload,
    encode_state,
    parse_state,
)
from sealed_files import announced, make_file

KEYS = st.binary(min_size=32, max_size=32)


@given(
    st.builds(
        dict,
        id=st.from_regex("[0-9a-f]{32}", fullmatch=True),
        name=st.from_regex("[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True),
        version=st.integers(1, MAX_VERSION),
        owner=KEYS,
        model_id=KEYS,
        n_bytes=st.integers(HEADER_BYTES, MAX_FILE_BYTES),
    )
)
def test_an_upload_comes_back(fields):
    upload = announced(make_file(), **fields)
    assert parse_state(encode_state(upload)) == upload


def test_the_longest_metadata_fits():
    upload = announced(make_file())
    long = upload.metadata + ",x " + "A" * (MAX_METADATA_CHARS - len(upload.metadata) - 3)
    long = long[: len(long) - len(long.rpartition(" ")[2]) % 4]
    name, version = "n" * 128, MAX_VERSION
    upload = announced(make_file(), metadata=long, name=name, version=version)
    assert parse_state(encode_state(upload)) == upload
    assert len(encode_state(upload)) <= MAX_STATE_BYTES


GOOD = json.loads(encode_state(announced(make_file())))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        *(("id", value) for value in ("", "../../x", "0" * 31, "A" * 32, 5, None)),
        *(("name", value) for value in ("", ".hidden", "a/b", "..", "n" * 129, "\0", 1, None)),
        *(("version", value) for value in (0, -1, MAX_VERSION + 1, "1", 1.0, True, None)),
        *(("n_bytes", value) for value in (0, HEADER_BYTES - 1, MAX_FILE_BYTES + 1, 1e9, True)),
        *((key, v) for key in ("owner", "model_id") for v in ("", "0" * 63, "g" * 64, " " * 64, 0)),
        *(("metadata", value) for value in ("", "a\r\nb", "sha256 YQ==", 1, None, ["sha256"])),
        ("other", 1),
        ("sha256", "0" * 64),
    ],
)
def test_a_state_that_was_changed_is_refused(member, value):
    with pytest.raises(ValueError, match=r"\w"):
        parse_state(json.dumps(GOOD | {member: value}).encode())


@pytest.mark.parametrize("member", GOOD)
def test_a_state_that_lacks_something_is_refused(member):
    with pytest.raises(ValueError, match=r"\w"):
        parse_state(json.dumps({k: v for k, v in GOOD.items() if k != member}).encode())


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"null", b"[]", b"{}", b"[" * 5000, b'{"version":' + b"9" * 5000 + b"}"]
)
def test_other_files_are_refused(data):
    with pytest.raises(ValueError, match=r"\w"):
        parse_state(data)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_an_upload_or_refused(data):
    with pytest.raises(ValueError, match=r"\w"):
        parse_state(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(GOOD)), JSON)
def test_any_member_is_one_of_an_upload_or_refused(member, value):
    try:
        upload = parse_state(json.dumps(GOOD | {member: value}).encode())
    except ValueError:
        return
    assert isinstance(upload, Upload)
    check_name(upload.name)
    assert json.loads(encode_state(upload)) == GOOD | {member: value}


BESIDE = st.text(" \t\r\n\0,a=YQ\u00e9", max_size=6)


@given(BESIDE, BESIDE)
@example("", " ")
@example(" ", "")
@example("a ,", "")
def test_what_a_host_wrote_can_go_out_in_a_header_or_is_refused(before, behind):
    state = GOOD | {"metadata": before + GOOD["metadata"] + behind}
    try:
        upload = parse_state(json.dumps(state).encode())
    except ValueError:
        return
    h11.Response(status_code=200, headers=[("Upload-Metadata", upload.metadata)])
