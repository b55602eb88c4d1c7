"""What happens on connections, told to whoever counts and logs.

The server tells what it knows: addresses, statuses, sizes, times. Nothing of a
body, a token or a key is among it. Every method does nothing here; logs and metrics
override those that they need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferonnx.server.messages import ExchangeFigures, Head
    from inferonnx.server.peer import Peer


class Observer:
    """Hears of connections and exchanges; each call must return at once."""

    def connected(self, peer: Peer) -> None:
        """Hear that a handshake is done."""

    def refused(self, peer: Peer, reason: str) -> None:
        """Hear that a connection was not served: its handshake failed, or it had no place."""

    def closed(self, peer: Peer) -> None:
        """Hear that a connection has ended, served or not."""

    def answered(self, peer: Peer, head: Head | None, figures: ExchangeFigures) -> None:
        """Hear that a request was answered or abandoned; it has no head if that was refused."""

    def failed(self, reference: str, error: BaseException) -> None:
        """Hear of a bug of ours; `reference` is what the client was told about it."""
