from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.server.heads import check_partial, parse_head
from inferonnx.server.limits import HttpLimits
from inferonnx.server.messages import HttpError
from inferonnx.server.peer import Peer

PEER = Peer(address="192.0.2.1", port=5)
LIMITS = HttpLimits()


def parsed(data, **limits):
    return parse_head(data, peer=PEER, limits=HttpLimits(**limits))[0]


def refused(data, **limits):
    with pytest.raises(HttpError) as info:
        parsed(data, **limits)
    assert info.value.close
    return info.value


def lines(*fields, first=b"POST /a HTTP/1.1", host=b"Host: h"):
    return b"\r\n".join((first, *((host,) if host else ()), *fields, b"", b""))


def test_a_head_becomes_a_value():
    head = parsed(
        lines(
            b"INFERENCE-Header-Content-Length:  7 ",
            b"Content-Length: 9",
            b"Accept: a",
            b"accept:b",
            b"X: \xe9",
            b"Empty:",
            first=b"POST /v2/models/a%2Fb/infer?x=%20+y?z HTTP/1.1",
        )
    )
    assert head.method == "POST"
    assert head.path == b"/v2/models/a%2Fb/infer"
    assert head.query == b"x=%20+y?z"
    assert dict(head.headers) == {
        "host": "h",
        "inference-header-content-length": "7",
        "content-length": "9",
        "accept": "a, b",
        "x": "\xe9",
        "empty": "",
    }
    assert (head.version, head.peer) == ("1.1", PEER)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", b"/", b""),
        (b"https://h:8000/v2?q", b"/v2", b"q"),
        (b"HTTP://h", b"/", b""),
        (b"http://h?q=1", b"/", b"q=1"),
        (b"*", b"*", b""),
        (b"//v2", b"//v2", b""),
        (b"/http://h/x", b"/http://h/x", b""),
    ],
)
def test_targets(target, path, query):
    head = parsed(lines(first=b"GET " + target + b" HTTP/1.1"))
    assert (head.path, head.query) == (path, query)


def test_http_1_0_needs_no_host():
    assert parsed(lines(first=b"GET / HTTP/1.0", host=b"")).version == "1.0"


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (lines(host=b""), "Host"),
        (lines(b"Host: other"), "Host"),
        (lines(b"Content-Length: 5", b"Content-Length: 5"), "two Content-Length"),
        (lines(b"Content-Length: 5", b"content-LENGTH: 6"), "two Content-Length"),
        (lines(b"Content-Length: 5, 5"), "not a number"),
        (lines(b"Content-Length: 5,6"), "not a number"),
        (lines(b"Content-Length: +5"), "not a number"),
        (lines(b"Content-Length: -5"), "not a number"),
        (lines(b"Content-Length: 0x5"), "not a number"),
        (lines(b"Content-Length: 5 5"), "not a number"),
        (lines(b"Content-Length:"), "not a number"),
        (lines(b"Content-Length: " + b"9" * 20), "not a number"),
        (lines(b"Content-Length: \xb2"), "not a number"),
        (lines(b"Content-Length: 5", b"Transfer-Encoding: chunked"), "both"),
        (lines(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0"), "1.0"),
        (lines(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), ""),
        (lines(b"Content-Length : 5"), "malformed"),
        (lines(b"A: 1", b" folded"), "second line"),
        (lines(b"A: 1", b"\tfolded"), "second line"),
        (lines(host=b" Host: h"), "second line"),
        (lines(b"no colon"), "malformed"),
        (lines(b": no name"), "malformed"),
        (lines(b"A\x00: 1"), "control"),
        (lines(b"A: \x01"), "control"),
        (lines(b"A: \x7f"), "control"),
        (lines(b"A: 1\nB: 2"), "CRLF"),
        (lines(b"A: 1\rB: 2"), "CRLF"),
        (lines(b"A: 1\r"), "CRLF"),
        (b"GET / HTTP/1.1\nHost: h\r\n\r\n", "CRLF"),
        (lines(first=b"GET /"), "HTTP/1.1"),
        (lines(first=b"GET / HTTP/1.1 "), "HTTP/1.1"),
        (lines(b"A: HTTP/1.1", first=b"GET /"), "HTTP/1.1"),
        (lines(first=b"GET  / HTTP/1.1"), "malformed"),
        (lines(first=b"GET / a HTTP/1.1"), "malformed"),
        (lines(first=b"GET /\xc3\xa9 HTTP/1.1"), "malformed"),
        (lines(first=b"G(T / HTTP/1.1"), "malformed"),
        (lines(first=b" / HTTP/1.1"), "malformed"),
        (lines(first=b"GET / http/1.1"), "HTTP/1.1"),
        (b"\r\n\r\n", "HTTP/1.1"),
        (b"\x16\x03\x01\x02\r\n\r\n", "control"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(data, word):
    error = refused(data)
    # Two Transfer-Encodings are a coding that is not understood.
    assert error.status == (501 if data.count(b"Encoding") > 1 else 400)
    assert word in error.message


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"identity", b"chunked, chunked"])
def test_only_chunked_is_understood(coding):
    assert refused(lines(b"Transfer-Encoding: " + coding)).status == 501


@pytest.mark.parametrize("version", [b"0.9", b"1.2", b"2.0", b"3.0"])
def test_other_versions_are_named_as_such(version):
    assert refused(lines(first=b"PRI * HTTP/" + version)).status == 505


def test_connect_is_refused():
    assert refused(lines(first=b"CONNECT h:443 HTTP/1.1")).status == 501


@pytest.mark.parametrize("n", [3, 4])
def test_fields_are_counted(n):
    data = lines(*[b"A: 1"] * (n - 1))
    if n > 3:
        assert refused(data, n_fields=3).status == 431
    else:
        assert len(parsed(data, n_fields=3).headers) == 2


def test_a_refusal_does_not_repeat_what_was_sent():
    secret = b"ifx_abc_token"
    for data in (lines(b"Authorization : " + secret), lines(b"Authorization: \x01" + secret)):
        assert "ifx" not in refused(data).message


GOOD = lines(b"Content-Length: 3", b"A: \xff")


@given(st.integers(0, len(GOOD)), st.integers(0, len(GOOD)))
def test_no_beginning_of_a_good_head_is_refused(first, second):
    check_partial(GOOD[:first])
    check_partial(GOOD[: max(first, second)], first)


@given(st.lists(st.sampled_from([b"\r", b"\n", b"a", b"\r\n", b"\x00", b": "]), max_size=12))
def test_what_is_refused_whole_is_refused_byte_by_byte(parts):
    data = b"".join(parts) + b"a"

    def bad(check):
        try:
            check()
        except HttpError:
            return True
        return False

    def slowly():
        for n in range(1, len(data) + 1):
            check_partial(data[:n], n - 1)

    assert bad(slowly) == bad(lambda: check_partial(data))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_refused(data):
    with suppress(HttpError):  # and no other
        assert parsed(data + b"\r\n\r\n").version in ("1.0", "1.1")
