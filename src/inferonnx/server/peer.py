"""The other end of a connection: who it is, and that it has left."""

from __future__ import annotations

from dataclasses import dataclass


class ClientGoneError(Exception):
    """The client has left, or was cut off; there is nobody to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end.

    Attributes:
        address: IP address as text.
        port: Its TCP port.
        certificate_der: The certificate that the client showed and that was verified.
    """

    address: str
    port: int
    certificate_der: bytes | None = None
