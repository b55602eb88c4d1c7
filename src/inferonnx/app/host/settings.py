"""What a server's configuration means to its parts: limits, identity, keys, and what it refuses."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from inferonnx.app.host.keys import Key
from inferonnx.crypto import sha256
from inferonnx.errors import UnavailableError
from inferonnx.runtime import process
from inferonnx.runtime.files import FileSource, read_file
from inferonnx.runtime.tee import Tee, find_tee
from inferonnx.sealed import HEADER_BYTES, parse_header, verify_header
from inferonnx.server.identity import Identity, TlsSettings, born_identity, given_identity
from inferonnx.server.limits import ConnectionLimits, HttpLimits
from inferonnx.sizes import KIB, MIB

if TYPE_CHECKING:
    from inferonnx.control import ServerConfig
    from inferonnx.crypto import Secret

DAY_S = 86_400


def connection_limits(config: ServerConfig) -> ConnectionLimits:
    """Return the limits of TLS connections."""
    return ConnectionLimits(
        n_connections=config.max_connections,
        n_per_address=config.max_connections_per_address or 0,
        handshake_s=config.handshake_timeout_s,
    )


def http_limits(config: ServerConfig, requests_bytes: int) -> HttpLimits:
    """Return the limits of requests, which hold `requests_bytes` together."""
    return HttpLimits(
        head_bytes=config.max_header_bytes,
        n_fields=config.max_headers,
        body_bytes=min(config.max_body_bytes, requests_bytes),
        upload_bytes=config.quota_bytes,
        n_chunks=config.max_chunks,
        idle_s=config.idle_timeout_s,
        head_s=config.header_timeout_s,
        reply_s=config.reply_timeout_s,
        bytes_per_s=config.min_body_rate_bytes,
        body_s=config.body_timeout_s,
    )


def make_identity(config: ServerConfig) -> Identity:
    """Return a key that is born now, or the one that is given."""
    settings = TlsSettings(
        is_1_2_allowed=config.tls_min == "1.2",
        client_ca_pem=(
            read_file(config.client_ca, limit_bytes=MIB).decode("ascii", "replace")
            if config.client_ca
            else ""
        ),
    )
    if config.tls_cert is not None and config.tls_key is not None:
        return given_identity(
            read_file(config.tls_cert, limit_bytes=MIB),
            read_file(config.tls_key, limit_bytes=MIB),
            settings=settings,
        )
    return born_identity(
        config.tls_san,
        settings=settings,
        now_s=int(time.time()),
        random=os.urandom(16),
        validity_s=config.certificate_days * DAY_S,
    )


def load_key(config: ServerConfig) -> Key | None:
    """Return the key that models are unlocked with at the start, if there is one."""
    if config.key is None:
        return None
    passphrase = None
    if config.passphrase_file is not None:
        content = read_file(config.passphrase_file, limit_bytes=64 * KIB)
        passphrase = content.decode().split("\n", 1)[0]
    return Key.load(config.key, passphrase=passphrase)


def data_key(path: str, key: Key) -> Secret:
    """Return the data key of one sealed file, unwrapped."""
    source = FileSource(path)
    try:
        header = parse_header(source.read(0, min(HEADER_BYTES, source.size)))
    finally:
        source.close()
    return key.data_key(verify_header(header))


def file_hash(path: str | None) -> bytes | None:
    """Return what the digest of the configuration says of a file."""
    return None if path is None else sha256(read_file(path, limit_bytes=MIB))


def load_grpc() -> None:
    """Load what speaks gRPC: before the floor is measured, and only where it is asked for.

    Raises:
        UnavailableError: It is not installed.
    """
    try:
        import inferonnx.server.grpc  # noqa: F401 - only loaded, and whether it is there
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("inferonnx"):
            raise
        raise UnavailableError(
            f"gRPC needs the packages h2 and protobuf, and {error.name!r} can't be imported",
            hint="Install them: pip install 'inferonnx[grpc]'.",
        ) from error


def refuse_swap() -> None:
    """Refuse to serve inside a confidential VM that swaps: its disk is the host's.

    Raises:
        UnavailableError: There is swap.
    """
    tee = find_tee()
    if tee in (Tee.TDX, Tee.SEV_SNP) and process.has_swap():
        raise UnavailableError(
            f"this is {tee.value} with swap, and swapped pages lie on the host's disk",
            hint="Switch swap off: `swapoff -a`.",
        )
