"""The server's configuration as a value; `control.settings` reads it from text and flags.

The host writes it, so it protects nothing against the host; `control.config_digest`
lets others see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferonnx.control import limits
from inferonnx.control.kinds import Address
from inferonnx.errors import ConfigError

if TYPE_CHECKING:
    from inferonnx.control.roles import Role
    from inferonnx.control.tokens import TokenEntry

DEFAULT_LISTEN = Address("127.0.0.1", limits.DEFAULT_PORT)
DEFAULT_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Everything that `serve` takes; docs/serve-config.md says what each field means.

    A field that is None is a thing that is left out: no gRPC, no owner (push and
    unlock are refused), no client certificates.
    """

    # Serving.
    models: str
    listen: Address = DEFAULT_LISTEN
    grpc: Address | None = None
    memory_bytes: int = limits.DEFAULT_MEMORY_BYTES
    threads: int | None = None
    page_drop: bool = True
    resident: bool = True
    drain_timeout_s: int = limits.DEFAULT_DRAIN_TIMEOUT_S
    log_format: str = "text"

    # Who may do what.
    owner: bytes | None = None
    owner_first_come: bool = False
    allow_anonymous_infer: bool = False
    tokens: tuple[TokenEntry, ...] = ()
    client_ca: str | None = None
    client_roles: frozenset[Role] = frozenset()
    key: str | None = None
    passphrase_file: str | None = None

    # TLS.
    tls_san: tuple[str, ...] = DEFAULT_NAMES
    tls_min: str = "1.3"
    cert_out: str | None = None
    certificate_days: int = limits.DEFAULT_CERTIFICATE_DAYS
    tls_cert: str | None = None
    tls_key: str | None = None

    # Connections.
    max_connections: int = limits.DEFAULT_CONNECTIONS
    max_connections_per_address: int | None = None
    handshake_timeout_s: int = limits.DEFAULT_HANDSHAKE_TIMEOUT_S
    header_timeout_s: int = limits.DEFAULT_HEADER_TIMEOUT_S
    body_timeout_s: int = limits.DEFAULT_BODY_TIMEOUT_S
    min_body_rate_bytes: int = limits.DEFAULT_BODY_RATE_BYTES
    idle_timeout_s: int = limits.DEFAULT_IDLE_TIMEOUT_S
    reply_timeout_s: int = limits.DEFAULT_REPLY_TIMEOUT_S
    max_header_bytes: int = limits.DEFAULT_HEADER_BYTES
    max_headers: int = limits.DEFAULT_HEADERS
    max_body_bytes: int = limits.DEFAULT_BODY_BYTES
    max_chunks: int = limits.DEFAULT_CHUNKS

    # Work.
    concurrency: int = limits.DEFAULT_CONCURRENCY
    max_batch: int = limits.DEFAULT_BATCH
    batch_delay_us: int = limits.DEFAULT_BATCH_DELAY_US
    max_queue: int = limits.DEFAULT_QUEUE
    request_timeout_s: int = limits.DEFAULT_REQUEST_TIMEOUT_S

    # Models on disk.
    quota_bytes: int = limits.DEFAULT_QUOTA_BYTES
    max_uploads: int = limits.DEFAULT_UPLOADS
    upload_expiry_s: int = limits.DEFAULT_UPLOAD_EXPIRY_S

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            ConfigError: They do.
        """
        has_cert = self.tls_cert is not None
        if self.owner is not None and self.owner_first_come:
            raise ConfigError("owner and owner_first_come exclude each other")
        if has_cert != (self.tls_key is not None):
            raise ConfigError("tls_cert and tls_key go together")
        if has_cert and self.cert_out is not None:
            raise ConfigError("cert_out is for the certificate that the server makes, not tls_cert")
        if has_cert and self.tls_san != DEFAULT_NAMES:
            raise ConfigError("tls_san is for the certificate that the server makes, not tls_cert")
        if self.client_roles and self.client_ca is None:
            raise ConfigError("client_roles needs client_ca, which says whose certificates count")
        if self.passphrase_file is not None and self.key is None:
            raise ConfigError("passphrase_file needs the key that it opens")
        if self.grpc == self.listen and self.listen.port:
            raise ConfigError("grpc and listen can't be the same address")
