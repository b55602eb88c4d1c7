"""What authorises: signed requests of owners, and nonces.

Bytes and text in, values out. The clock and random bytes are arguments, so nothing
here waits, draws or reads.
"""

from __future__ import annotations

from inferonnx.control.names import check_name, parse_version
from inferonnx.control.nonces import NONCE_BYTES, NONCE_RANDOM_BYTES, SECRET_BYTES, NonceBook
from inferonnx.control.owner_requests import (
    HEADER_NAME,
    NEXT_VERSION,
    Action,
    OwnerHeader,
    OwnerRequest,
    encode_owner_header,
    encode_owner_request,
    parse_owner_header,
    sign_owner_request,
    verify_owner_request,
)

__all__ = [
    "HEADER_NAME",
    "NEXT_VERSION",
    "NONCE_BYTES",
    "NONCE_RANDOM_BYTES",
    "SECRET_BYTES",
    "Action",
    "NonceBook",
    "OwnerHeader",
    "OwnerRequest",
    "check_name",
    "encode_owner_header",
    "encode_owner_request",
    "parse_owner_header",
    "parse_version",
    "sign_owner_request",
    "verify_owner_request",
]
