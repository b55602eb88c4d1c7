"""The owner's key: two independent secrets, and the text file that holds them.

One secret wraps data keys, the other signs. The file is text so that it can be
printed and typed in again; lines that begin with `#` are for people. Its public
id is derived from the wrapping secret and stands in each sealed file, so that a
wrong key is told before anything is tried. Nothing here touches a disk: whether
others may read the file is checked where it is opened.
"""

from __future__ import annotations

from dataclasses import dataclass

from inferonnx.crypto import (
    AES_256_GCM,
    ED25519_PUBLIC_BYTES,
    ED25519_SEED_BYTES,
    Secret,
    ed25519_public_key,
    hkdf_sha256,
    scrypt,
)
from inferonnx.errors import AuthenticationError, KeyFileError
from inferonnx.sealed.constants import (
    KEY_FILE_MAGIC,
    KEY_ID_BYTES,
    LABEL_KEY_FILE,
    LABEL_KEY_ID,
    MAX_KEY_FILE_BYTES,
    PASSPHRASE_SALT_BYTES,
    SCRYPT_LOG2_N,
    SCRYPT_P,
    SCRYPT_R,
    WRAP_SECRET_BYTES,
)

_SECRETS_BYTES = WRAP_SECRET_BYTES + ED25519_SEED_BYTES
_PLAIN_FIELDS = {
    "id": KEY_ID_BYTES,
    "public-key": ED25519_PUBLIC_BYTES,
    "wrap-secret": WRAP_SECRET_BYTES,
    "signing-seed": ED25519_SEED_BYTES,
}
_PROTECTED_FIELDS = {
    "id": KEY_ID_BYTES,
    "public-key": ED25519_PUBLIC_BYTES,
    "scrypt-salt": PASSPHRASE_SALT_BYTES,
    "protected": _SECRETS_BYTES + AES_256_GCM.tag_bytes,
}
_PREFACE = """\
# The owner's key of InferONNX models. Keep it secret and keep a copy elsewhere:
# without it the models that it sealed can never be opened again.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerKey:
    """What a model's owner holds.

    Attributes:
        wrap_secret: 32 bytes that wrap data keys.
        signing_seed: 32 bytes, the seed of the Ed25519 key that signs models.
        key_id: 16 public bytes that identify `wrap_secret`.
        public_key: 32 bytes, the Ed25519 public key: the owner, to everybody else.
    """

    wrap_secret: Secret
    signing_seed: Secret
    key_id: bytes
    public_key: bytes

    @classmethod
    def from_secrets(cls, *, wrap_secret: Secret, signing_seed: Secret) -> OwnerKey:
        """Return the key that these two secrets make, 32 random bytes each."""
        if len(wrap_secret) != WRAP_SECRET_BYTES or len(signing_seed) != ED25519_SEED_BYTES:
            raise KeyFileError("an owner's key is made of two secrets of 32 bytes")
        return cls(
            wrap_secret=wrap_secret,
            signing_seed=signing_seed,
            key_id=hkdf_sha256(wrap_secret, info=LABEL_KEY_ID, n_bytes=KEY_ID_BYTES).reveal(),
            public_key=ed25519_public_key(signing_seed),
        )

    @property
    def public_id(self) -> str:
        """`key_id` as people see it: 32 hexadecimal digits."""
        return self.key_id.hex()

    def with_new_wrap_secret(self, wrap_secret: Secret) -> OwnerKey:
        """Return a key with the same signing key and another wrapping secret."""
        return OwnerKey.from_secrets(wrap_secret=wrap_secret, signing_seed=self.signing_seed)


def encode_owner_key(key: OwnerKey) -> bytes:
    """Return the text of a key file that is not protected by a passphrase."""
    return _encode(
        {
            "id": key.key_id,
            "public-key": key.public_key,
            "wrap-secret": key.wrap_secret.reveal(),
            "signing-seed": key.signing_seed.reveal(),
        }
    )


def encode_protected_owner_key(key: OwnerKey, *, passphrase: str, salt: bytes) -> bytes:
    """Return the text of a key file that only `passphrase` opens.

    Args:
        key: The key.
        passphrase: Any text but the empty one; taken as its UTF-8 bytes.
        salt: 16 random bytes, new for each file.

    Raises:
        KeyFileError: The passphrase is empty.
    """
    if len(salt) != PASSPHRASE_SALT_BYTES:
        raise ValueError(f"the salt of a key file has {PASSPHRASE_SALT_BYTES} bytes")
    secrets = bytearray(key.wrap_secret.reveal() + key.signing_seed.reveal())
    aead = AES_256_GCM.aead(_passphrase_key(passphrase, salt))
    # The key is of this salt alone and used once, so the nonce may be fixed.
    aad = LABEL_KEY_FILE + key.key_id + key.public_key
    tag = aead.seal_in_place(AES_256_GCM.nonce(0), aad, memoryview(secrets))
    return _encode(
        {
            "id": key.key_id,
            "public-key": key.public_key,
            "scrypt-salt": salt,
            "protected": bytes(secrets) + tag,
        }
    )


def parse_owner_key(text: bytes, *, passphrase: str | None = None) -> OwnerKey:
    """Return the key in the text of a key file.

    Args:
        text: The whole file.
        passphrase: For a protected file; `is_protected` tells whether one is needed.

    Raises:
        KeyFileError: Not a key file, a damaged one, or another passphrase.
    """
    fields = _parse(text)
    if "protected" not in fields:
        wrap_secret, signing_seed = fields["wrap-secret"], fields["signing-seed"]
    elif passphrase is None:
        raise KeyFileError("the key file is protected by a passphrase, and none was given")
    else:
        secrets = _open_protected(fields, passphrase)
        wrap_secret, signing_seed = secrets[:WRAP_SECRET_BYTES], secrets[WRAP_SECRET_BYTES:]
    key = OwnerKey.from_secrets(wrap_secret=Secret(wrap_secret), signing_seed=Secret(signing_seed))
    # S-39
    if (key.key_id, key.public_key) != (fields["id"], fields["public-key"]):
        raise KeyFileError(
            "the key file is damaged: its secrets are not those of its public id",
            hint="Use your copy of it.",
        )
    return key


def is_protected(text: bytes) -> bool:
    """Return whether a key file needs a passphrase.

    Raises:
        KeyFileError: Not a key file, or a damaged one.
    """
    return "protected" in _parse(text)


def _open_protected(fields: dict[str, bytes], passphrase: str) -> bytes:
    secrets = bytearray(fields["protected"][:_SECRETS_BYTES])
    tag = fields["protected"][_SECRETS_BYTES:]
    aead = AES_256_GCM.aead(_passphrase_key(passphrase, fields["scrypt-salt"]))
    aad = LABEL_KEY_FILE + fields["id"] + fields["public-key"]
    try:
        aead.open_in_place(AES_256_GCM.nonce(0), aad, tag, memoryview(secrets))
    except AuthenticationError as error:
        raise KeyFileError("the passphrase is wrong, or the key file is damaged") from error
    return bytes(secrets)


def _passphrase_key(passphrase: str, salt: bytes) -> Secret:
    if not passphrase:
        raise KeyFileError("the passphrase is empty")
    try:
        text = passphrase.encode()
    except UnicodeEncodeError as error:
        raise KeyFileError("the passphrase is not valid text") from error
    return scrypt(text, salt=LABEL_KEY_FILE + salt, log2_n=SCRYPT_LOG2_N, r=SCRYPT_R, p=SCRYPT_P)


def _encode(fields: dict[str, bytes]) -> bytes:
    lines = [f"{name}: {value.hex()}\n" for name, value in fields.items()]
    return (_PREFACE + KEY_FILE_MAGIC + "\n" + "".join(lines)).encode("ascii")


def _parse(text: bytes) -> dict[str, bytes]:
    """Return the fields of a key file (S-38): exactly those of one kind, in order."""
    if len(text) > MAX_KEY_FILE_BYTES:
        raise KeyFileError("this is not a key file: it is too large")
    try:
        *whole, rest = text.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise KeyFileError("this is not a key file: it is not plain text") from error
    lines = [line for line in whole if not line.startswith("#")]
    if rest or lines[:1] != [KEY_FILE_MAGIC]:
        raise KeyFileError(
            f"this is not a key file, or not a whole one: no line {KEY_FILE_MAGIC!r}, "
            "or no end of the last line"
        )
    pairs = [line.partition(": ") for line in lines[1:]]
    names = [name for name, _, _ in pairs]
    for kind in (_PLAIN_FIELDS, _PROTECTED_FIELDS):
        if names == list(kind):
            return {name: _unhex(name, value, kind[name]) for name, _, value in pairs}
    raise KeyFileError("the key file is damaged: a line is missing, twice or out of place")


def _unhex(name: str, digits: str, n_bytes: int) -> bytes:
    # bytes.fromhex alone would also take spaces and capitals.
    if len(digits) == 2 * n_bytes and not digits.strip("0123456789abcdef"):
        return bytes.fromhex(digits)
    raise KeyFileError(f"the key file is damaged in line {name!r}", hint="Use your copy of it.")
