"""Pins: is this authentic model the one that I accept?

A file that passes every other check may still be an older release, or another
model of the same owner. A pin says which one is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferonnx.crypto import ED25519_PUBLIC_BYTES
from inferonnx.errors import PinError, UsageError
from inferonnx.sealed.constants import MAX_RELEASE, MODEL_ID_BYTES
from inferonnx.sealed.manifest import check_model_name

if TYPE_CHECKING:
    from inferonnx.sealed.header import VerifiedHeader
    from inferonnx.sealed.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPin:
    """Exactly one sealed model.

    Attributes:
        model_id: Its 32-byte model id.
    """

    model_id: bytes

    def __post_init__(self) -> None:
        if len(self.model_id) != MODEL_ID_BYTES:
            raise UsageError(f"a model id has {MODEL_ID_BYTES} bytes")

    def __str__(self) -> str:
        return self.model_id.hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePin:
    """A named model of one owner, of a release no older than this.

    Attributes:
        owner: The owner's 32-byte public key.
        name: The model's name.
        least_release: Least release that is accepted.
    """

    owner: bytes
    name: str
    least_release: int

    def __post_init__(self) -> None:
        if len(self.owner) != ED25519_PUBLIC_BYTES:
            raise UsageError(f"an owner's public key has {ED25519_PUBLIC_BYTES} bytes")
        if not 0 <= self.least_release <= MAX_RELEASE:
            raise UsageError(f"a release is a number from 0 to {MAX_RELEASE}")
        check_model_name(self.name)

    def __str__(self) -> str:
        return f"owner={self.owner.hex()},release={self.least_release},name={self.name}"


Pin = ModelPin | ReleasePin


def parse_pin(text: str) -> Pin:
    """Return the pin that `text` writes.

    Args:
        text: A model id of 64 hexadecimal digits, or
            "owner=<64 digits>,release=<least release>,name=<name>"; the name comes
            last and may hold commas.

    Raises:
        UsageError: Neither.
    """
    if "=" not in text:
        return ModelPin(model_id=_unhex("model id", text, MODEL_ID_BYTES))
    pairs = [part.partition("=") for part in text.split(",", 2)]
    release = pairs[1][2] if len(pairs) == 3 else ""
    if [key for key, _, _ in pairs] != ["owner", "release", "name"] or not (
        release.isascii() and release.isdigit() and len(release) <= len(str(MAX_RELEASE))
    ):
        raise UsageError(
            f"{text[:200]!r} is not a pin",
            hint="Write a model id, or owner=PUBLIC_KEY,release=NUMBER,name=NAME.",
        )
    return ReleasePin(
        owner=_unhex("owner's public key", pairs[0][2], ED25519_PUBLIC_BYTES),
        least_release=int(release),
        name=pairs[2][2],
    )


def check_pin(pin: Pin, verified: VerifiedHeader) -> None:
    """Raise PinError where the header shows that the file is not the pinned one (S-13).

    A `ReleasePin` is checked only in part here: the name is in the manifest, and
    `check_pinned_name` comes once it is open.
    """
    header = verified.header
    if isinstance(pin, ModelPin):
        if verified.model_id != pin.model_id:
            raise PinError(f"the model id is {verified.model_id.hex()}, pinned is {pin}")
    elif header.owner != pin.owner:
        raise PinError(f"the owner is {header.owner.hex()}, pinned is {pin.owner.hex()}")
    elif header.release < pin.least_release:
        raise PinError(f"the release is {header.release}, pinned is at least {pin.least_release}")


def check_pinned_name(pin: Pin, manifest: Manifest) -> None:
    """Raise PinError where the opened manifest has another name than the pinned one."""
    # A model id covers the name.
    if isinstance(pin, ReleasePin) and manifest.name != pin.name:
        raise PinError(f"the model has another name than the pinned one, {pin.name!r}")


def _unhex(what: str, digits: str, n_bytes: int) -> bytes:
    if len(digits) == 2 * n_bytes and not digits.strip("0123456789abcdefABCDEF"):
        return bytes.fromhex(digits)
    raise UsageError(f"{digits[:80]!r} is not a {what}: {2 * n_bytes} hexadecimal digits")
