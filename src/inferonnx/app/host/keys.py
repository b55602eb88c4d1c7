"""The owner's key: made, saved, loaded."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inferonnx.crypto import Secret
from inferonnx.errors import UsageError
from inferonnx.runtime.files import read_key_file
from inferonnx.runtime.whole_files import whole_file
from inferonnx.sealed import (
    OwnerKey,
    encode_owner_key,
    encode_protected_owner_key,
    is_protected,
    parse_owner_key,
    unwrap_data_key,
)
from inferonnx.sealed.constants import PASSPHRASE_SALT_BYTES, WRAP_SECRET_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from inferonnx.sealed import VerifiedHeader


class Key:
    """The owner's key: what seals, opens and signs. Keep it secret and keep a copy.

    Attributes:
        owner: The two secrets; not for printing.
    """

    def __init__(self, owner: OwnerKey) -> None:
        """Wrap a key; `Key.load`, `Key.generate` and `Key.renewed` make one."""
        self.owner = owner

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, passphrase: str | Callable[[], str] | None = None
    ) -> Key:
        """Read a key file.

        Args:
            path: A file that nobody but its owner can read.
            passphrase: Of a protected file, or what asks for it when it is needed.

        Raises:
            KeyFileError: Others can read it, it is damaged, the passphrase is wrong.
            UsageError: It is not there.
        """
        text = read_key_file(os.fspath(path))
        if callable(passphrase):
            passphrase = passphrase() if is_protected(text) else None
        return cls(parse_owner_key(text, passphrase=passphrase))

    @classmethod
    def generate(cls) -> Key:
        """Return a new key, drawn from the system's random source."""
        return cls(
            OwnerKey.from_secrets(
                wrap_secret=Secret(os.urandom(WRAP_SECRET_BYTES)),
                signing_seed=Secret(os.urandom(32)),
            )
        )

    def renewed(self) -> Key:
        """Return a key with the same signing key and a new wrapping secret."""
        return Key(self.owner.with_new_wrap_secret(Secret(os.urandom(WRAP_SECRET_BYTES))))

    def save(self, path: str | os.PathLike[str], *, passphrase: str | None = None) -> None:
        """Write a new key file, readable by its owner alone; never replaces a file.

        Raises:
            UsageError: Something is there already.
        """
        if passphrase is None:
            text = encode_owner_key(self.owner)
        else:
            text = encode_protected_owner_key(
                self.owner, passphrase=passphrase, salt=os.urandom(PASSPHRASE_SALT_BYTES)
            )
        if os.path.lexists(path):
            raise UsageError(
                f"{os.fspath(path)!r} exists already, and a key is never overwritten",
                hint="Choose another name.",
            )
        with whole_file(os.fspath(path), mode=0o600, replace=False) as file:
            file.write(text)

    def data_key(self, verified: VerifiedHeader) -> Secret:
        """Return the data key of a sealed file whose header is verified.

        Raises:
            KeyMismatchError, SignatureError, AuthenticationError: This key does not open it.
        """
        return unwrap_data_key(verified, self.owner)

    @property
    def public_key(self) -> str:
        """The owner, to everybody else: 64 hexadecimal digits."""
        return self.owner.public_key.hex()

    @property
    def public_id(self) -> str:
        """Which wrapping secret this is: 32 hexadecimal digits."""
        return self.owner.public_id

    def __repr__(self) -> str:
        return f"Key(public_key={self.public_key!r}, public_id={self.public_id!r})"


class DataKey:
    """The key of one sealed model, which its owner has handed over; it opens no other."""

    def __init__(self, secret: Secret) -> None:
        """Hold the secret; it is not copied, so that who wipes it wipes this."""
        self._secret = secret

    def data_key(self, _verified: VerifiedHeader) -> Secret:
        """Return a copy of it; whether it is this file's, the header's commitment tells."""
        return self._secret.copy()
