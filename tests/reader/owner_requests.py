"""A second verifier of owners' requests, written from docs/owner-requests.md alone.

It shares no code with the package.
"""

import hashlib
import hmac
import string

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ACTIONS = {"push": 1, "unlock": 2, "delete": 3}
LETTERS = set(string.ascii_letters + string.digits + "._-")


class Refused(Exception):
    """The request is refused; `code` is the specification's."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


def parse_header(text):
    values = {}
    parts = text.split(", ")
    names = ["owner", "model-id", "nonce", "signature"]
    if len(parts) != 4:
        raise Refused("owner.request")
    for part, name in zip(parts, names, strict=True):
        key, _, digits = part.partition("=")
        n_digits = 128 if name == "signature" else 64
        if key != name or len(digits) != n_digits or set(digits) - set("0123456789abcdef"):
            raise Refused("owner.request")
        values[name] = bytes.fromhex(digits)
    return values


def message(action, server_key_hash, nonce, model_id, version, name):
    return (
        b"inferonnx/owner-request/v1\0"
        + ACTIONS[action].to_bytes(4, "big")
        + server_key_hash
        + nonce
        + model_id
        + version.to_bytes(8, "big")
        + len(name).to_bytes(4, "big")
        + name.encode("ascii")
    )


class Server:
    """What a server knows: its owner, its TLS key, its nonces."""

    def __init__(self, *, owner, server_key_hash, nonce_secret, used):
        self.owner = owner
        self.server_key_hash = server_key_hash
        self.nonce_secret = nonce_secret
        self.used = set(used)

    def verify(self, header, now_s, *, action, name, version, model_id):
        """Raise unless the six steps of section 6 pass."""
        values = parse_header(header)
        least = 0 if action == "push" else 1
        if (
            not 1 <= len(name) <= 128
            or set(name) - LETTERS
            or name.startswith(".")
            or not least <= version < 1 << 63
        ):
            raise Refused("model.name")
        if values["owner"] != self.owner:
            raise Refused("owner.refused")
        signed = message(
            action, self.server_key_hash, values["nonce"], values["model-id"], version, name
        )
        try:
            Ed25519PublicKey.from_public_bytes(self.owner).verify(values["signature"], signed)
        except InvalidSignature:
            raise Refused("owner.refused") from None
        self.use(values["nonce"], now_s)
        if values["model-id"] != model_id:
            raise Refused("owner.refused")

    def use(self, nonce, now_s):
        mac = hmac.digest(self.nonce_secret, b"inferonnx/nonce/v1\0" + nonce[:16], hashlib.sha256)
        if not hmac.compare_digest(mac[:16], nonce[16:]):
            raise Refused("owner.nonce")
        if now_s - int.from_bytes(nonce[:4], "big") > 60 or nonce in self.used:
            raise Refused("owner.nonce")
        self.used.add(nonce)
