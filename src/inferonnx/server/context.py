"""What all endpoints of one server share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.errors import OwnerRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inferonnx.control import Caller, NonceBook, ServerConfig
    from inferonnx.server.exchange import Exchange
    from inferonnx.server.identity import Identity
    from inferonnx.server.ledger import Ledger
    from inferonnx.server.models import Models
    from inferonnx.server.pool import Pool
    from inferonnx.server.repository import Repository
    from inferonnx.server.uploads import Uploads


class Page(NamedTuple):
    """What is shown to who looks at the server with a browser.

    Attributes:
        content: HTML, in UTF-8.
        policy: What a browser may do with it: its Content-Security-Policy.
    """

    content: bytes
    policy: str


@dataclass(slots=True, kw_only=True)
class Context:
    """The parts of a running server.

    Attributes:
        config: Effective configuration.
        config_digest: Of it, for who attests the server.
        identity: TLS key and certificate.
        nonces: For owners' requests.
        repository: Models on disk.
        uploads: Models under way.
        pool: Which models are open.
        models: Which models there are.
        ledger: Memory of requests.
        page: The status page; None where there is none.
        owner: Whom the server obeys; None where nobody was named and nobody came yet.
        n_connections: Tells how many are open.
        clock_s: Seconds since 1970; whoever sets the machine's clock turns it.
        ticks_s: Seconds from any zero, by a clock that nobody sets.
        started_s: When the server began, by the latter.
        is_draining: The server is about to end.
    """

    config: ServerConfig
    config_digest: bytes
    identity: Identity
    nonces: NonceBook
    repository: Repository
    uploads: Uploads
    pool: Pool
    models: Models
    ledger: Ledger
    clock_s: Callable[[], float]
    ticks_s: Callable[[], float]
    version: str
    page: Page | None = None
    owner: bytes | None = None
    n_connections: Callable[[], int] = field(default=lambda: 0)
    started_s: float = 0
    is_draining: bool = False

    def obey(self, owner: bytes) -> None:
        """Have who signed a request that came to something be the owner, where there is none yet.

        Raises:
            OwnerRefusedError: Another has come first.
        """
        if self.owner not in (None, owner):
            raise OwnerRefusedError("another owner has come first")
        self.owner = owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, routed and with its caller known."""

    exchange: Exchange
    segments: Mapping[str, str]
    caller: Caller
