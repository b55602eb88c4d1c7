"""The digest of the effective configuration, for attestation.

docs/serve-config.md specifies it: canonical JSON of every setting, defaults included,
and of the files whose content decides who is trusted. A relying party gets the text,
checks that it has the digest that is attested, and then reads what it says.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from inferonnx.control.settings import SETTINGS
from inferonnx.crypto import SHA256_BYTES, sha256

if TYPE_CHECKING:
    from inferonnx.control.config import ServerConfig

LABEL_CONFIG = b"inferonnx/config/v1\0"
SCHEMA = "inferonnx.config/1"


def encode_config(
    config: ServerConfig,
    *,
    client_ca_sha256: bytes | None = None,
    tls_cert_sha256: bytes | None = None,
) -> bytes:
    """Return the effective configuration in its one canonical form.

    Args:
        config: As it is served by.
        client_ca_sha256: SHA-256 of the file that `client_ca` names, as it was read.
        tls_cert_sha256: Likewise of `tls_cert`.
    """
    contents = {"client_ca_sha256": client_ca_sha256, "tls_cert_sha256": tls_cert_sha256}
    for path, digest in zip((config.client_ca, config.tls_cert), contents.values(), strict=True):
        if (path is None) != (digest is None) or (digest and len(digest) != SHA256_BYTES):
            raise ValueError("there is one SHA-256 for each file that is named, and no other")
    tree: dict[str, object] = {"schema": SCHEMA}
    for setting in SETTINGS:
        value = getattr(config, setting.field)
        tree[setting.key] = None if value is None else setting.kind.plain(value)
    for name, digest in contents.items():
        tree[name] = None if digest is None else digest.hex()
    # RFC 8785: keys are ASCII, numbers whole and below 2**53, so this is all of it.
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def config_digest(encoded: bytes) -> bytes:
    """Return the 32 bytes that stand for a configuration of `encode_config`."""
    return sha256(LABEL_CONFIG, encoded)
