"""A request's head: what h11 lets through and we do not, then h11, then a value.

h11 follows the standard where that is lenient. Two programs that read a lenient
message differently are how requests are smuggled, so a head must be exactly one
way to be read here. Before h11 sees it:

1. Every line ends in CRLF; there is no other CR, LF or control character but TAB.
2. No line begins with a blank (obs-fold).
3. There is at most one Content-Length, of digits alone.
4. There is not both a Content-Length and a Transfer-Encoding.
5. There is no Transfer-Encoding in HTTP/1.0.
6. The version is 1.0 or 1.1.

h11 sees to the rest: characters of method, target and names, no blank before a
colon, one Host, no coding but chunked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import h11

from inferonnx.server.messages import Head, HttpError

if TYPE_CHECKING:
    from inferonnx.server.limits import HttpLimits
    from inferonnx.server.peer import Peer

END = b"\r\n\r\n"
"""What ends a head."""

_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LONE = re.compile(rb"(?<!\r)\n|\r(?!\n)(?!\Z)")
_VERSION = re.compile(rb"HTTP/(\d\.\d)\r\n")
_NAME = re.compile(rb"\r\n([^:\r\n]*)")
_LENGTH = re.compile(rb"\r\ncontent-length:([^\r]*)\r\n", re.IGNORECASE)
_DIGITS = re.compile(rb"[ \t]*[0-9]{1,19}[ \t]*")
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


def check_partial(data: bytes | bytearray, start: int = 0) -> None:
    """Raise as soon as the beginning of a head shows that no more of it is needed.

    Args:
        data: All that came of it; a CR may stand at its end, its LF still under way.
        start: How much of it was looked at before.

    Raises:
        HttpError: 400.
    """
    at = max(start - 1, 0)
    if _LONE.search(data, at) or _CONTROL.search(data, at):
        raise _bad("a line of the request's head does not end in CRLF, or holds control characters")


def parse_head(data: bytes, *, peer: Peer, limits: HttpLimits) -> tuple[Head, h11.Connection]:
    """Return the head in `data`, which ends in `END`, and h11's state after it.

    Raises:
        HttpError: It is malformed, or too much; the connection must end.
    """
    check_partial(data)
    version = _VERSION.search(data)
    if version is None or version.end() != data.index(b"\n") + 1:
        raise _bad("the first line of the request is not METHOD TARGET HTTP/1.1")
    if version[1] not in (b"1.1", b"1.0"):
        raise HttpError(505, "only HTTP/1.1 and HTTP/1.0 are spoken here", close=True)
    names = [name.lower() for name in _NAME.findall(data, version.end() - 2, len(data) - 4)]
    if len(names) > limits.n_fields:
        raise HttpError(
            431, f"the request has more than {limits.n_fields} header fields", close=True
        )
    _check_framing(names, version[1])
    length = _LENGTH.search(data)
    if length is not None and not _DIGITS.fullmatch(length[1]):
        raise _bad("Content-Length is not a number")
    request, state = _through_h11(data, limits.head_bytes)
    return _head(request, peer), state


def _check_framing(names: list[bytes], version: bytes) -> None:
    if any(name[:1] in (b" ", b"\t") for name in names):
        raise _bad("a header field goes on in a second line")
    n_lengths, n_codings = names.count(b"content-length"), names.count(b"transfer-encoding")
    if n_lengths > 1:
        raise _bad("the request has two Content-Length fields")
    if n_lengths and n_codings:
        raise _bad("the request has both Content-Length and Transfer-Encoding")
    if n_codings and version == b"1.0":
        raise _bad("HTTP/1.0 has no Transfer-Encoding")


def _through_h11(data: bytes, most: int) -> tuple[h11.Request, h11.Connection]:
    state = h11.Connection(h11.SERVER, max_incomplete_event_size=most)
    state.receive_data(data)
    try:
        request = state.next_event()
    except h11.RemoteProtocolError as error:
        # h11's own text quotes the request, in which a token may stand.
        if error.error_status_hint == 501:
            raise HttpError(
                501, "the only Transfer-Encoding that is understood is chunked", close=True
            ) from error
        raise _bad("the request's head is malformed, or names no Host") from error
    if not isinstance(request, h11.Request):
        raise _bad("the request's head is malformed")
    return request, state


def _head(request: h11.Request, peer: Peer) -> Head:
    if request.method == b"CONNECT":
        raise HttpError(501, "CONNECT is not understood here", close=True)
    headers: dict[str, str] = {}
    for raw_name, raw_value in request.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    target = request.target
    if target[:1] != b"/":
        target = _ABSOLUTE.sub(b"", target, count=1)
    path, _, query = target.partition(b"?")
    return Head(
        method=request.method.decode("ascii"),
        path=path or b"/",
        query=query,
        headers=headers,
        version=request.http_version.decode("ascii"),
        peer=peer,
    )


def _bad(sentence: str) -> HttpError:
    return HttpError(400, sentence, close=True)
