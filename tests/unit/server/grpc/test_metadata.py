from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.oip import InvalidRequestError, UnsupportedError
from inferonnx.server.grpc import metadata
from inferonnx.server.grpc.metadata import CallHead, closing_fields, encode_sentence, parse_call
from inferonnx.server.messages import HttpError


def fields(**changes):
    values = {
        ":method": "POST",
        ":path": "/inference.GRPCInferenceService/ModelInfer",
        "content-type": "application/grpc",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return [(k.encode(), v.encode("latin-1")) for k, v in values.items() if v is not None]


def test_a_call_says_what_it_is():
    call = fields(
        grpc_timeout="250m", grpc_encoding="gzip", authorization="Bearer x", x_request_id="17"
    )
    assert parse_call(call) == CallHead(
        path="/inference.GRPCInferenceService/ModelInfer",
        timeout_s=0.25,
        encoding="gzip",
        authorization=("Bearer x",),
        request_id="17",
    )


def test_a_call_need_not_say_much():
    call = parse_call(fields())
    assert (call.timeout_s, call.encoding, call.authorization, call.request_id) == (
        None,
        "identity",
        (),
        "",
    )


def test_all_values_of_authorization_are_there():
    call = [*fields(authorization="Bearer a"), (b"authorization", b"Bearer b")]
    assert parse_call(call).authorization == ("Bearer a", "Bearer b")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1H", 3600),
        ("2M", 120),
        ("3S", 3),
        ("4m", 0.004),
        ("5u", 5e-6),
        ("6n", 6e-9),
        ("99999999S", 99_999_999),
        ("0S", 0),
    ],
)
def test_a_time_out_has_a_unit(text, seconds):
    assert parse_call(fields(grpc_timeout=text)).timeout_s == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "S", "123456789S", "-1S", "1.5S", " 1S", "1s", "٣S"])
def test_a_malformed_time_out_is_refused(text):
    call = [*fields(), (b"grpc-timeout", text.encode())]
    with pytest.raises(InvalidRequestError, match="grpc-timeout"):
        parse_call(call)


@pytest.mark.parametrize(
    "kind",
    [
        "application/grpc",
        "application/grpc+proto",
        "APPLICATION/GRPC",
        "application/grpc;charset=utf-8",
    ],
)
def test_a_call_has_the_content_type_of_gRPC(kind):
    assert parse_call(fields(content_type=kind))


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "application/json",
        "application/grpc-web",
        "application/grpc+json",
        "application/grpcx",
    ],
)
def test_what_has_another_content_type_is_no_call(kind):
    with pytest.raises(HttpError) as caught:
        parse_call(fields(content_type=kind))
    assert caught.value.status == 415


@pytest.mark.parametrize("method", ["GET", "PUT", "post"])
def test_what_has_another_method_is_no_call(method):
    with pytest.raises(HttpError) as caught:
        parse_call([(b":method", method.encode()), *fields()[1:]])
    assert caught.value.status == 405


@pytest.mark.parametrize("encoding", ["br", "zstd", "snappy", "gzip, deflate", ""])
def test_another_encoding_is_not_supported(encoding):
    with pytest.raises(UnsupportedError, match="identity, gzip, deflate"):
        parse_call([*fields(), (b"grpc-encoding", encoding.encode())])


NAMES = [b":method", b":path", b"content-type", b"grpc-timeout", b"grpc-encoding", b"x"]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=50)), max_size=8))
def test_garbage_is_read_or_refused_on_purpose(garbage):
    try:
        call = parse_call([*fields(), *garbage])
    except (HttpError, InvalidRequestError, UnsupportedError):
        return
    assert call.encoding in metadata.ACCEPTED


@given(st.text(max_size=200))
def test_a_sentence_is_read_back(sentence):
    encoded = encode_sentence(sentence)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert unquote_to_bytes(encoded) == sentence.encode(errors="replace")


def test_a_long_sentence_is_clipped_between_characters():
    text = unquote_to_bytes(encode_sentence("é" * 600)).decode()
    assert text == "é" * (metadata.MAX_SENTENCE_BYTES // 2)


def test_the_end_says_status_and_sentence():
    assert closing_fields(0) == [(b"grpc-status", b"0")]
    assert closing_fields(14, "50% ü", retry_after_s=2) == [
        (b"grpc-status", b"14"),
        (b"grpc-message", b"50%25 %C3%BC"),
        (b"grpc-retry-pushback-ms", b"2000"),
    ]
