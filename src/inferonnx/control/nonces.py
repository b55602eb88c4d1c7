"""Nonces that the server gives out and takes back once.

A nonce is the time of issue, random bytes and a MAC over both: nothing is kept of
one that was given out, so asking for a million costs the server nothing. Only used
ones are remembered, until they would be too old anyway. Rules: docs/owner-requests.md.

The clock belongs to the caller (seconds, from any zero; best one that nobody sets). A
host may turn it back all the same, or far ahead: this book stays at the latest time that
it has seen (O-12), and at the last one that a nonce can say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.crypto import equal_bytes, hmac_sha256
from inferonnx.errors import NonceError

if TYPE_CHECKING:
    from inferonnx.crypto import Secret

NONCE_BYTES = 32
TIME_BYTES = 4
LATEST_S = (1 << 8 * TIME_BYTES) - 1
"""The last second that a nonce can say, after 136 years; a clock that says more stands here."""

NONCE_RANDOM_BYTES = 12
"""96 random bits: no two nonces of one second are equal in any server's life."""

MAC_BYTES = NONCE_BYTES - TIME_BYTES - NONCE_RANDOM_BYTES
"""128 bits of HMAC-SHA256."""

SECRET_BYTES = 32

MAX_AGE_S = 60
"""Enough to ask for a nonce, enter a passphrase late and send; too little to hoard one."""

MAX_USED = 4096
"""Used nonces that are remembered. Only the owner's signed requests get here: more in a
minute is no owner's work, and 4,096 take less than a MiB."""

LABEL_NONCE = b"inferonnx/nonce/v1\0"


class NonceBook:
    """Gives out nonces and takes each back once; for one thread."""

    def __init__(self, secret: Secret) -> None:
        """Begin with `secret`, 32 random bytes that nobody else has and no restart keeps."""
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"the secret of nonces has {SECRET_BYTES} bytes, not {len(secret)}")
        self._secret = secret
        self._latest_s = 0
        self._used: dict[bytes, int] = {}

    def issue(self, now_s: int, random: bytes) -> bytes:
        """Return a new nonce.

        Args:
            now_s: The clock, whole seconds.
            random: `NONCE_RANDOM_BYTES` that were never given before.
        """
        if len(random) != NONCE_RANDOM_BYTES:
            raise ValueError(f"a nonce takes {NONCE_RANDOM_BYTES} random bytes, not {len(random)}")
        body = self._tick(now_s).to_bytes(TIME_BYTES, "big") + random
        return body + self._mac(body)

    def use(self, nonce: bytes, now_s: int) -> None:
        """Take a nonce back, for ever.

        (1) It is this book's. (2) It is at most `MAX_AGE_S` old. (3) It was not used
        before. (4) There is room to remember it.

        Raises:
            NonceError: One of these does not hold.
        """
        latest_s = self._tick(now_s)
        body, mac = nonce[:-MAC_BYTES], nonce[-MAC_BYTES:]
        if len(nonce) != NONCE_BYTES or not equal_bytes(mac, self._mac(body)):  # (1) O-09
            raise NonceError("the nonce is not one of this server, or from before it was restarted")
        issued_s = int.from_bytes(body[:TIME_BYTES], "big")
        if latest_s - issued_s > MAX_AGE_S:  # (2) O-10
            raise NonceError(f"the nonce is older than {MAX_AGE_S} seconds")
        if nonce in self._used:  # (3) O-11
            raise NonceError("the nonce was used before")
        self._forget(latest_s)
        if len(self._used) >= MAX_USED:  # (4) O-13
            raise NonceError(
                "the owner sent too many requests within a minute", hint="Try again in a minute."
            )
        self._used[nonce] = issued_s

    def _tick(self, now_s: int) -> int:
        self._latest_s = max(self._latest_s, min(now_s, LATEST_S))
        return self._latest_s

    def _mac(self, body: bytes) -> bytes:
        return hmac_sha256(self._secret, LABEL_NONCE, body)[:MAC_BYTES]

    def _forget(self, latest_s: int) -> None:
        """Drop used nonces that are too old to be accepted."""
        self._used = {
            nonce: issued_s
            for nonce, issued_s in self._used.items()
            if latest_s - issued_s <= MAX_AGE_S
        }
