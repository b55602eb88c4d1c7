"""Key material that does not show itself.

Python can't promise to erase a value: copies may stay in memory until the
process ends. What this class prevents is the accident: a key in a log line, a
traceback, a pickle, or a comparison whose time tells how far it agreed.
"""

from __future__ import annotations

# hmac.compare_digest is this function, but importing hmac loads a second
# OpenSSL (4 MiB of the enclave's memory) beside the one in `cryptography`.
from _operator import _compare_digest
from typing import NoReturn, final


@final
class Secret:
    """Bytes that are redacted when shown, compared in constant time and never pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes | bytearray) -> None:
        """Hold a copy of `value`."""
        self._value = bytearray(value)

    def reveal(self) -> bytes:
        """Return the bytes themselves; a copy that nobody wipes."""
        return bytes(self._value)

    def copy(self) -> Secret:
        """Return another secret of the same bytes, which is wiped by itself."""
        return Secret(self._value)

    @property
    def memory(self) -> bytearray:
        """The bytes where they are held: nothing is copied, and `wipe` overwrites them."""
        return self._value

    def wipe(self) -> None:
        """Overwrite what is held with zeros."""
        self._value[:] = bytes(len(self._value))

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return _compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # a hash would leak equality

    def __repr__(self) -> str:
        return f"Secret(<{len(self._value)} bytes>)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is never pickled or copied")


def equal_bytes(left: bytes, right: bytes) -> bool:
    """Return whether both are equal, in a time that depends on their lengths alone."""
    return _compare_digest(left, right)
