"""Who the server is: its TLS key, its certificate, and the contexts made of them.

By default the key is born in this process and reaches OpenSSL by a file that lives
in memory; no disk ever holds it. A certificate of a CA can take the place of the
self-signed one while the server runs: connections that are made later get it.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferonnx.crypto import wipe
from inferonnx.errors import CertificateError, UsageError
from inferonnx.runtime.secret_file import secret_file
from inferonnx.runtime.tee import find_tee

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferonnx.crypto.x509 import TlsKey

VALIDITY_S = 90 * 86_400
"""A self-signed certificate's life: the key lives as long as the process, which is less."""

CIPHERS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: a key for each session, and authenticated encryption. TLS 1.3 has no other."""

CONTEXT_USES_1_2 = 256
"""Connections of one context under TLS 1.2.

Without tickets, OpenSSL keeps up to 20,480 sessions of a context for resumption, a KiB
each and with their secrets, and Python has no switch for that: they go with the context.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """What the operator decides about TLS.

    Attributes:
        is_1_2_allowed: Take TLS 1.2 beside 1.3.
        client_ca_pem: Certificates of the CAs whose clients may connect; empty means
            that clients show no certificate.
        scratch_folder: A tmpfs for library OSes without memfd; empty means /dev/shm.
    """

    is_1_2_allowed: bool = False
    client_ca_pem: str = ""
    scratch_folder: str = ""


class Identity:
    """The server's key and certificate.

    Attributes:
        certificate_pem: The certificate, and its chain where a CA signed it.
        public_key_hash: SHA-256 of the key's SubjectPublicKeyInfo in DER.
    """

    def __init__(
        self,
        key: TlsKey | bytes,
        certificate_pem: bytes,
        settings: TlsSettings,
        names: Sequence[str],
    ) -> None:
        """Keep what `born_identity` or `given_identity` made, and try it."""
        from inferonnx.crypto import x509

        self._key = key
        self._settings = settings
        self._names = tuple(names)
        self._contexts: dict[str, _Uses] = {}
        self.certificate_pem = certificate_pem
        self.public_key_hash = x509.certificate_key_hash(x509.parse_chain(certificate_pem)[0])
        self.context("http/1.1")

    def context(self, protocol: str) -> ssl.SSLContext:
        """Return the context for a new connection.

        Args:
            protocol: The one name that is agreed on by ALPN. A client that offers
                others alone goes on without ALPN.
        """
        uses = self._contexts.get(protocol)
        if uses is None or (self._settings.is_1_2_allowed and uses.n >= CONTEXT_USES_1_2):
            uses = self._contexts[protocol] = _Uses(self._new_context(protocol))
        uses.n += 1
        return uses.context

    def csr(self) -> bytes:
        """Return a certificate signing request for the live key, in PEM.

        Raises:
            UsageError: The key came from outside.
        """
        from inferonnx.crypto import x509

        return x509.signing_request(self._own_key(), self._names)

    def install(self, chain_pem: bytes, *, now_s: float | None = None) -> None:
        """Use a CA's certificate for connections from now on.

        Args:
            chain_pem: The certificate for the live key first, then what signed it.
            now_s: The time, in seconds since 1970. Default: the clock's.

        Raises:
            CertificateError: It is for another key, no chain at all, or one that clients refuse.
            UsageError: The key came from outside.
        """
        from inferonnx.crypto import chains, x509

        if not x509.leaf_matches(chain_pem, self._own_key()):
            raise CertificateError(
                "the certificate is for another key than the one that this server has",
                hint="The key lives as long as the server: ask for a new CSR after a restart.",
            )
        # Clients would refuse the rest, and who has to mend it is a client.
        chains.check_for_clients(chain_pem, time.time() if now_s is None else now_s)
        before = self.certificate_pem
        self.certificate_pem = chain_pem
        try:
            context = self._new_context("http/1.1")
        except CertificateError:
            self.certificate_pem = before
            raise
        self._contexts = {"http/1.1": _Uses(context)}

    def _own_key(self) -> TlsKey:
        if isinstance(self._key, bytes):
            raise UsageError(
                "the TLS key came from outside, and so does its certificate",
                hint="Change the files, and start the server again.",
            )
        return self._key

    def _new_context(self, protocol: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = (
            ssl.TLSVersion.TLSv1_2 if self._settings.is_1_2_allowed else ssl.TLSVersion.TLSv1_3
        )
        context.set_ciphers(CIPHERS_1_2)
        # A ticket's key would open the traffic of the past. TLS 1.3 resumes nothing then.
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        # Before 3.11.4 Python took an end without TLS's word for one with it.
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        context.num_tickets = 0
        context.set_alpn_protocols([protocol])
        try:
            if self._settings.client_ca_pem:
                context.load_verify_locations(cadata=self._settings.client_ca_pem)
                context.verify_mode = ssl.CERT_REQUIRED
        except (ssl.SSLError, ValueError) as error:
            raise CertificateError("the client CA's certificates can't be read") from error
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        key = bytearray(self._key) if isinstance(self._key, bytes) else self._key.pem()
        both = bytearray(len(key) + 1 + len(self.certificate_pem))
        both[: len(key)] = key
        both[len(key) :] = b"\n" + self.certificate_pem
        try:
            with secret_file(both, folder=self._settings.scratch_folder) as path:
                # The password keeps OpenSSL from asking on the terminal.
                context.load_cert_chain(path, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            raise CertificateError(
                "the certificate and its key do not fit together, or OpenSSL refuses them",
            ) from error
        finally:
            wipe(memoryview(both))
            wipe(memoryview(key))


class _Uses:
    """A context, and how many connections have used it."""

    __slots__ = ("context", "n")

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.n = 0


def born_identity(
    names: Sequence[str],
    *,
    settings: TlsSettings,
    now_s: int,
    random: bytes,
    validity_s: int = VALIDITY_S,
) -> Identity:
    """Return an identity with a new key and a self-signed certificate.

    Args:
        names: What clients call the server by: host names and IP addresses.
        settings: Of TLS.
        now_s: Seconds since 1970, UTC.
        random: `crypto.x509.SERIAL_RANDOM_BYTES` bytes.
        validity_s: How long the certificate is valid.

    Raises:
        UsageError: A name is none.
    """
    from inferonnx.crypto import x509

    key = x509.TlsKey()
    certificate = x509.self_signed_certificate(
        key, names, now_s=now_s, validity_s=validity_s, random=random
    )
    return Identity(key, certificate, settings, names)


def given_identity(
    certificate_pem: bytes, key_pem: bytes, *, settings: TlsSettings, root: str = "/"
) -> Identity:
    """Return an identity whose key comes from outside, for a host without a TEE.

    Args:
        certificate_pem: The certificate first, then what signed it.
        key_pem: Its private key, not encrypted.
        settings: Of TLS.
        root: Where the signs of a TEE are looked for.

    Raises:
        UsageError: This is a TEE: the host, who gave the key, could read everything.
        CertificateError: Certificate and key do not fit together.
    """
    tee = find_tee(root)
    if tee is not None:
        raise UsageError(
            f"a TLS key from outside is refused inside a TEE ({tee.value}): the host has it too",
            hint="Leave it out: the server makes a key of its own, and `csr` asks a CA.",
        )
    return Identity(key_pem, certificate_pem, settings, ())


def _no_password() -> str:
    raise ValueError("the key is encrypted")
