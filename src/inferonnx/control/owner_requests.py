"""Requests that a model's owner signs: push, unlock and delete.

Specified in docs/owner-requests.md, whose rules (O-01 and up) are cited here. The
owner signs with the key that signs sealed files, so what is signed begins with a
label of its own: no signature of a file is one of a request, or the other way round.

Parsed is not verified: `parse_owner_header` gives an `OwnerHeader` that anybody may
have written, `verify_owner_request` makes an `OwnerRequest` of the owner's of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from inferonnx.control.names import MAX_VERSION, check_name
from inferonnx.control.nonces import NONCE_BYTES
from inferonnx.crypto import (
    ED25519_PUBLIC_BYTES,
    ED25519_SIGNATURE_BYTES,
    SHA256_BYTES,
    ed25519_verify,
)
from inferonnx.errors import (
    ModelNameError,
    OwnerRefusedError,
    OwnerRequestError,
    SignatureError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from inferonnx.control.nonces import NonceBook

LABEL_OWNER_REQUEST = b"inferonnx/owner-request/v1\0"
HEADER_NAME = "Inferonnx-Owner"

NEXT_VERSION = 0
"""As the version of a push: whichever the server has next."""

_MEMBERS = (
    ("owner", ED25519_PUBLIC_BYTES),
    ("model-id", SHA256_BYTES),
    ("nonce", NONCE_BYTES),
    ("signature", ED25519_SIGNATURE_BYTES),
)
_HEADER = re.compile(", ".join(f"{name}=([0-9a-f]{{{2 * size}}})" for name, size in _MEMBERS))


class Action(Enum):
    """What an owner can ask for, by the number that is signed (O-01)."""

    PUSH = 1
    UNLOCK = 2
    DELETE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerRequest:
    """What the owner signs.

    Attributes:
        action: What is asked for.
        server_key_hash: SHA-256 of the SubjectPublicKeyInfo of the server's TLS
            certificate; the owner takes it from the connection, never from a reply.
        nonce: What this server gave out for it.
        model_id: The sealed model's.
        name: What the server calls the model.
        version: Which one of that name; `NEXT_VERSION` only in a push.
    """

    action: Action
    server_key_hash: bytes
    nonce: bytes
    model_id: bytes
    name: str
    version: int

    def __post_init__(self) -> None:
        """Check sizes, name and version.

        Raises:
            ModelNameError: Name or version can't be a model's (O-02).
        """
        for value, size in (
            (self.server_key_hash, SHA256_BYTES),
            (self.nonce, NONCE_BYTES),
            (self.model_id, SHA256_BYTES),
        ):
            if len(value) != size:
                raise ValueError(f"a field of an owner's request has {size} bytes")
        check_name(self.name)
        least = NEXT_VERSION if self.action is Action.PUSH else 1
        if not least <= self.version <= MAX_VERSION:
            raise ModelNameError(
                f"version {self.version} can't be in a request to {self.action.name.lower()}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerHeader:
    """What the HTTP header says; nothing in it is authentic yet."""

    owner: bytes
    model_id: bytes
    nonce: bytes
    signature: bytes


def encode_owner_request(request: OwnerRequest) -> bytes:
    """Return the bytes that are signed (O-04)."""
    name = request.name.encode("ascii")
    return b"".join(
        (
            LABEL_OWNER_REQUEST,
            request.action.value.to_bytes(4, "big"),
            request.server_key_hash,
            request.nonce,
            request.model_id,
            request.version.to_bytes(8, "big"),
            len(name).to_bytes(4, "big"),
            name,
        )
    )


def sign_owner_request(
    request: OwnerRequest, *, owner: bytes, sign: Callable[[bytes], bytes]
) -> str:
    """Return the value of the HTTP header `HEADER_NAME`.

    Args:
        request: What is asked for.
        owner: The owner's Ed25519 public key.
        sign: Signs a message with the owner's key.
    """
    return encode_owner_header(
        OwnerHeader(
            owner=owner,
            model_id=request.model_id,
            nonce=request.nonce,
            signature=sign(encode_owner_request(request)),
        )
    )


def encode_owner_header(header: OwnerHeader) -> str:
    """Return the text of a header (O-07)."""
    values = (header.owner, header.model_id, header.nonce, header.signature)
    for (name, size), value in zip(_MEMBERS, values, strict=True):
        if len(value) != size:
            raise ValueError(f"{name} has {size} bytes, not {len(value)}")
    return ", ".join(
        f"{name}={value.hex()}" for (name, _), value in zip(_MEMBERS, values, strict=True)
    )


def parse_owner_header(text: str) -> OwnerHeader:
    """Return what a header says.

    Raises:
        OwnerRequestError: It is not in the one form of O-07.
    """
    match = _HEADER.fullmatch(text)
    if match is None:
        raise OwnerRequestError(
            f"the header {HEADER_NAME} is not in the form of an owner's request",
            where=HEADER_NAME,
            hint="docs/owner-requests.md has the form.",
        )
    owner, model_id, nonce, signature = (bytes.fromhex(digits) for digits in match.groups())
    return OwnerHeader(owner=owner, model_id=model_id, nonce=nonce, signature=signature)


def verify_owner_request(
    header: OwnerHeader,
    *,
    action: Action,
    server_key_hash: bytes,
    name: str,
    version: int,
    model_id: bytes,
    owner: bytes,
    nonces: NonceBook,
    now_s: int,
) -> OwnerRequest:
    """Return the request that the owner signed; its nonce is used up then.

    (1) The header is the owner's. (2) It is signed for this action, server, name,
    version, and the nonce and model that the header names. (3) The nonce is one of
    this server, fresh and unused. (4) The model is the one that is meant here.

    Args:
        header: As it was parsed.
        action: What the request line asks for.
        server_key_hash: Of the TLS key that this server lives by.
        name: From the request line.
        version: From the request line; `NEXT_VERSION` for a push of the next.
        model_id: Of the model that is there. For a push there is none yet: then the
            header's own, and the caller compares the file's with it when it has come.
        owner: Whom this server obeys.
        nonces: This server's.
        now_s: The clock of `nonces`.

    Raises:
        ModelNameError: Name or version can't be a model's.
        OwnerRefusedError: (1), (2) or (4) fails.
        NonceError: (3) fails.
    """
    request = OwnerRequest(
        action=action,
        server_key_hash=server_key_hash,
        nonce=header.nonce,
        model_id=header.model_id,
        name=name,
        version=version,
    )
    if header.owner != owner:  # (1) O-08
        raise OwnerRefusedError(
            "the request is signed by another owner than this server's",
            hint="Is it the right key, and the right server?",
        )
    try:
        ed25519_verify(owner, header.signature, encode_owner_request(request))  # (2) O-06
    except SignatureError as error:
        raise OwnerRefusedError(
            "the owner's signature does not fit this request",
            hint="Sign what is asked for, for this server's TLS key.",
        ) from error
    # (3) after (2), or everybody could use up nonces, and memory for them (O-13).
    nonces.use(header.nonce, now_s)
    if header.model_id != model_id:  # (4) O-14
        raise OwnerRefusedError(
            "the request is for another model than the one that has this name and version",
            hint="Look with `inferonnx list` which model_id is there.",
        )
    return request
