"""Vectors of requests that the owner signs, and of nonces."""

from __future__ import annotations

from dataclasses import replace

from vector_forge import KEYS, OWNER, derived

from inferonnx.control import (
    Action,
    NonceBook,
    OwnerRequest,
    encode_owner_request,
    sign_owner_request,
)
from inferonnx.crypto import ED25519_SIGNATURE_BYTES, Secret, ed25519_sign
from inferonnx.sealed.constants import LABEL_SIGNATURE

ISSUED_S = 1_000
NOW_S = 1_030
SECRET = derived("nonce secret")
ORDER = 2**252 + 27742317777372353535851937790883648493


def issued(what: str, *, secret: bytes = SECRET, at_s: int = ISSUED_S) -> bytes:
    return NonceBook(Secret(secret)).issue(at_s, derived(f"nonce {what}", 12))


GOOD = OwnerRequest(
    action=Action.UNLOCK,
    server_key_hash=derived("TLS key hash"),
    nonce=issued("good"),
    model_id=derived("model id"),
    name="resnet152-v2_7.sealed",
    version=7,
)


def owner_request_vectors() -> list[dict[str, object]]:
    """Return all vectors, good ones first."""
    return good() + forms() + other_values() + signatures() + nonces()


def good() -> list[dict[str, object]]:
    longest = replace(GOOD, action=Action.DELETE, name="N" * 128, version=(1 << 63) - 1)
    requests = {
        "push": replace(GOOD, action=Action.PUSH),
        "push-next": replace(GOOD, action=Action.PUSH, version=0),
        "unlock": GOOD,
        "delete-longest": longest,
        "shortest-name": replace(GOOD, name="_", version=1),
    }
    return [
        {
            **vector(name, "nothing is wrong", "O-01 O-02 O-04 O-06 O-07", request, expect="ok"),
            "message": encode_owner_request(request).hex(),
        }
        for name, request in requests.items()
    ]


def forms() -> list[dict[str, object]]:
    text = header_of(GOOD)
    owner, model, nonce, last = text.split(", ")
    capital = f"owner={owner[6:].upper()}"
    values = {
        "empty": ("the header is empty", ""),
        "capitals": ("everything is in capitals", text.upper()),
        "capital-digits": (
            "digits of a value are capitals",
            f"{capital}, {model}, {nonce}, {last}",
        ),
        "no-space": ("there is no space behind a comma", text.replace(", ", ",")),
        "two-spaces": ("there are two spaces behind a comma", text.replace(", ", ",  ")),
        "leading-space": ("a space stands before", " " + text),
        "line-end": ("a line end stands behind", text + "\n"),
        "other-order": ("members are in another order", f"{model}, {owner}, {nonce}, {last}"),
        "member-missing": ("a member is missing", f"{owner}, {nonce}, {last}"),
        "member-twice": ("a member occurs twice", f"{owner}, {owner}, {model}, {nonce}, {last}"),
        "extra-member": ("there is a member more", text + ", more=00"),
        "short-value": ("a value is short", f"{owner}, {model}, {nonce[:-2]}, {last}"),
        "long-value": ("a value is long", text + "00"),
        "other-digits": ("digits are not ASCII", text.replace("=", "=\u0661", 1)),
        "two-headers": ("two headers were joined", f"{text}, {text}"),
    }
    return [
        vector(f"form-{name}", cause, "O-07", GOOD, header=value, expect="owner.request")
        for name, (cause, value) in values.items()
    ]


def other_values() -> list[dict[str, object]]:
    """Return requests whose signature is good, for something else than is asked for."""
    others = {
        "action": ("it is signed for another action", replace(GOOD, action=Action.DELETE)),
        "push": ("it is signed for a push", replace(GOOD, action=Action.PUSH)),
        "server": ("it is signed for another server's TLS key",
                   replace(GOOD, server_key_hash=derived("another TLS key hash"))),
        "name": ("it is signed for another name", replace(GOOD, name="resnet152-v2_8.sealed")),
        "case": ("it is signed for a name in other case", replace(GOOD, name=GOOD.name.upper())),
        "version": ("it is signed for another version", replace(GOOD, version=8)),
    }  # fmt: skip
    vectors = [
        vector(f"other-{name}", cause, "O-06", GOOD, header=header_of(signed),
               expect="owner.refused")
        for name, (cause, signed) in others.items()
    ]  # fmt: skip
    other_model = replace(GOOD, model_id=derived("another model id"))
    asked = {
        "name-hidden": ("the name begins with a dot", {"name": ".hidden"}),
        "name-path": ("the name is a path", {"name": "a/b"}),
        "name-empty": ("the name is empty", {"name": ""}),
        "name-long": ("the name has 129 characters", {"name": "N" * 129}),
        "name-letters": ("the name has other letters", {"name": "rësnet"}),
        "version-zero": ("version 0 is no version to unlock", {"version": "0"}),
        "version-large": ("the version is 2^63", {"version": str(1 << 63)}),
    }
    return [
        *vectors,
        vector("other-model", "it is signed for another model", "O-14", GOOD,
               header=header_of(other_model), expect="owner.refused"),
        vector("other-owner", "another owner signed it", "O-08", GOOD,
               header=header_of(GOOD, "stranger"), expect="owner.refused"),
        *(
            vector(name, cause, "O-02", GOOD, header=header_of(GOOD), expect="model.name",
                   asked=given)
            for name, (cause, given) in asked.items()
        ),
    ]  # fmt: skip


def signatures() -> list[dict[str, object]]:
    """Return requests whose signature is none of theirs."""
    text = header_of(GOOD)
    start, digits = text[:-128], text[-128:]
    raw = bytes.fromhex(digits)
    large = int.from_bytes(raw[32:], "little") + ORDER
    file_signature = sign(LABEL_SIGNATURE + GOOD.model_id)
    without_label = sign(encode_owner_request(GOOD).partition(b"\0")[2])
    foreign = header_of(GOOD, "stranger")[-128:]
    values = {
        "flipped": ("a bit of the signature is flipped", "O-06", flipped(raw)),
        "zero": ("the signature is zero", "O-06", bytes(ED25519_SIGNATURE_BYTES)),
        "large-scalar": ("its scalar is not below the group order", "O-06",
                         raw[:32] + large.to_bytes(32, "little")),
        "strangers": ("another key made the signature", "O-06", bytes.fromhex(foreign)),
        "of-a-file": ("it is the signature of the sealed file", "O-05", file_signature),
        "without-label": ("the label was not signed", "O-04 O-05", without_label),
    }  # fmt: skip
    return [
        vector(f"signature-{name}", cause, rules, GOOD, header=start + value.hex(),
               expect="owner.refused")
        for name, (cause, rules, value) in values.items()
    ]  # fmt: skip


def nonces() -> list[dict[str, object]]:
    """Return requests that are signed well, with nonces that are not."""
    oldest = NOW_S - 60
    nonces_of = {
        "other-server": ("another server gave the nonce out", "O-09",
                         issued("good", secret=derived("another nonce secret"))),
        "made-up": ("the nonce was made up", "O-09", derived("nonce", 32)),
        "time-changed": ("the time in the nonce was changed", "O-09",
                         b"\0\0\x04\0" + GOOD.nonce[4:]),
        "random-changed": ("the random bytes of the nonce were changed", "O-09",
                           flipped(GOOD.nonce, 4)),
        "mac-changed": ("the MAC of the nonce was changed", "O-09", flipped(GOOD.nonce, 31)),
        "too-old": ("the nonce is 61 seconds old", "O-10", issued("old", at_s=oldest - 1)),
    }  # fmt: skip
    return [
        vector("nonce-oldest", "nothing is wrong: the nonce is 60 seconds old", "O-10",
               replace(GOOD, nonce=issued("old", at_s=oldest)), expect="ok"),
        *(
            vector(f"nonce-{name}", cause, rules, replace(GOOD, nonce=nonce), expect="owner.nonce")
            for name, (cause, rules, nonce) in nonces_of.items()
        ),
        vector("nonce-used", "the nonce was used before", "O-11", GOOD, expect="owner.nonce",
               used=[GOOD.nonce.hex()]),
        vector("nonce-of-a-bad-signature", "nothing is wrong: the nonce was used with a "
               "signature that did not fit", "O-13", GOOD, expect="ok",
               before=header_of(GOOD)[:-128] + "00" * 64),
    ]  # fmt: skip


def vector(
    name: str,
    cause: str,
    rules: str,
    request: OwnerRequest,
    *,
    expect: str,
    header: str | None = None,
    used: list[str] | None = None,
    before: str = "",
    asked: dict[str, object] | None = None,
) -> dict[str, object]:
    return {
        "name": name,
        "cause": cause,
        "rules": rules.split(),
        "server": {
            "owner": OWNER.public_key.hex(),
            "server_key_hash": GOOD.server_key_hash.hex(),
            "nonce_secret": SECRET.hex(),
            "now_s": NOW_S,
            "used": used or [],
        },
        "asked": {
            "action": request.action.name.lower(),
            "name": request.name,
            "version": str(request.version),
            "model_id": request.model_id.hex(),
            **(asked or {}),
        },
        **({"before": before} if before else {}),
        "header": header_of(request) if header is None else header,
        "expect": expect,
    }


def header_of(request: OwnerRequest, who: str = "owner") -> str:
    return sign_owner_request(
        request, owner=KEYS[who].public_key, sign=lambda message: sign(message, who)
    )


def sign(message: bytes, who: str = "owner") -> bytes:
    return ed25519_sign(KEYS[who].signing_seed, message)


def flipped(data: bytes, place: int = 0) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)
