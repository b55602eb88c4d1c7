"""What of tus 1.0.0 goes by headers (https://tus.io/protocols/resumable-upload); sans-IO.

Core protocol and the extensions creation, expiration and termination. Not spoken:
a length that comes later, a first piece together with the creation, checksums of
pieces (the SHA-256 of the whole file is announced instead), concatenation.
"""

from __future__ import annotations

import re
from base64 import b64decode
from time import gmtime

from inferonnx.crypto import SHA256_BYTES
from inferonnx.oip import InvalidRequestError

TUS_VERSION = "1.0.0"
TUS_EXTENSIONS = "creation,expiration,termination"
OFFSET_TYPE = "application/offset+octet-stream"

MAX_METADATA_CHARS = 4096
"""Kept with the upload and given back. A digest takes 96, and a file's name as much again."""

_DIGITS = re.compile(r"[0-9]{1,18}")
_SHA256 = re.compile(rb"[0-9a-f]{%d}" % (2 * SHA256_BYTES))
_METADATA = re.compile(r"[!-~]+(?: [A-Za-z0-9+/=]*)?")

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def parse_length(text: str | None, header: str) -> int:
    """Return the number in a header of tus.

    Raises:
        InvalidRequestError: It is none.
    """
    if text is None or _DIGITS.fullmatch(text) is None:
        raise InvalidRequestError(f"the header {header} is missing or no number")
    return int(text)


def parse_metadata(text: str) -> dict[str, bytes]:
    """Return what the header Upload-Metadata says: `key base64,key base64`.

    A value may be empty, and the space before it left out. Keys and values are
    printable ASCII, so that the text may go out again in a header as it came.

    Raises:
        InvalidRequestError: It is malformed, names a key twice, or is too long.
    """
    malformed = InvalidRequestError("the header Upload-Metadata is malformed or too long")
    if len(text) > MAX_METADATA_CHARS:
        raise malformed
    found: dict[str, bytes] = {}
    for part in text.split(",") if text else ():
        pair = part.strip(" ")  # no other white space: it would go out in a header
        key, _, value = pair.partition(" ")
        if _METADATA.fullmatch(pair) is None or key in found:
            raise malformed
        try:
            found[key] = b64decode(value, validate=True)
        except ValueError as error:
            raise malformed from error
    return found


def parse_digest(metadata: dict[str, bytes]) -> bytes:
    """Return the SHA-256 that an upload announces.

    Raises:
        InvalidRequestError: It announces none.
    """
    digits = metadata.get("sha256", b"")
    if _SHA256.fullmatch(digits) is None:
        raise InvalidRequestError(
            "Upload-Metadata needs sha256, the base64 of 64 hexadecimal digits"
        )
    return bytes.fromhex(digits.decode())


def is_offset_type(content_type: str) -> bool:
    """Tell whether a Content-Type is the one that an upload goes on with."""
    return content_type.partition(";")[0].strip().lower() == OFFSET_TYPE


def http_date(seconds: float) -> str:
    """Return a time as RFC 9110 writes it (5.6.7); `email.utils` would cost the enclave 2 MiB."""
    t = gmtime(seconds)
    day, month = _DAYS[t.tm_wday], _MONTHS[t.tm_mon - 1]
    return (
        f"{day}, {t.tm_mday:02} {month} {t.tm_year} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )
