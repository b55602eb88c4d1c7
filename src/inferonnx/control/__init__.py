"""What authorises: signed requests of owners, nonces, tokens, roles, the configuration.

Bytes and text in, values out. The clock and random bytes are arguments, so nothing
here waits, draws or reads; what files say comes as their content.
"""

from __future__ import annotations

from inferonnx.control.callers import identify
from inferonnx.control.config import ServerConfig
from inferonnx.control.config_digest import config_digest, encode_config
from inferonnx.control.kinds import Address
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
from inferonnx.control.roles import Caller, How, Role, parse_roles, require, role_words
from inferonnx.control.settings import (
    GROUPS,
    SETTINGS,
    Setting,
    parse_config,
    parse_flags,
    server_config,
)
from inferonnx.control.tokens import (
    NEVER_S,
    TOKEN_RANDOM_BYTES,
    TokenEntry,
    check_token,
    config_lines,
    new_token,
    parse_expiry,
)

__all__ = [
    "GROUPS",
    "HEADER_NAME",
    "NEVER_S",
    "NEXT_VERSION",
    "NONCE_BYTES",
    "NONCE_RANDOM_BYTES",
    "SECRET_BYTES",
    "SETTINGS",
    "TOKEN_RANDOM_BYTES",
    "Action",
    "Address",
    "Caller",
    "How",
    "NonceBook",
    "OwnerHeader",
    "OwnerRequest",
    "Role",
    "ServerConfig",
    "Setting",
    "TokenEntry",
    "check_name",
    "check_token",
    "config_digest",
    "config_lines",
    "encode_config",
    "encode_owner_header",
    "encode_owner_request",
    "identify",
    "new_token",
    "parse_config",
    "parse_expiry",
    "parse_flags",
    "parse_owner_header",
    "parse_roles",
    "parse_version",
    "require",
    "role_words",
    "server_config",
    "sign_owner_request",
    "verify_owner_request",
]
