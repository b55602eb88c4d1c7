"""Which servers TLS takes, and what it says about the one at the other end."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferonnx.client.attestation import ServerFacts
from inferonnx.errors import (
    CertificateError,
    InferonnxError,
    ServerIdentityError,
    UnavailableError,
    UsageError,
)
from inferonnx.runtime.files import translate

if TYPE_CHECKING:
    from inferonnx.client.address import ServerAddress

PROTOCOL = "http/1.1"
"""What is spoken, as ALPN names it."""

CIPHERS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: a key for each session, and authenticated encryption. TLS 1.3 has no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """What the caller decides about TLS.

    Attributes:
        ca: Certificates in PEM, a file or a folder as OpenSSL hashes it: a server must show
            one of them, or one that they sign. Empty means the system's CAs.
        certificate: Our own certificate in PEM, for servers that ask for one.
        key: Its private key; empty where it stands in the same file.
        is_1_2_allowed: Speak TLS 1.2 with servers that have no better.
    """

    ca: str = ""
    certificate: str = ""
    key: str = ""
    is_1_2_allowed: bool = False


def make_context(settings: TlsSettings) -> ssl.SSLContext:
    """Return what connections are made with. Name and certificate are always checked.

    Raises:
        UsageError: A file is not there.
        CertificateError: A file does not hold what it should.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks name and certificate
    context.minimum_version = (
        ssl.TLSVersion.TLSv1_2 if settings.is_1_2_allowed else ssl.TLSVersion.TLSv1_3
    )
    context.set_ciphers(CIPHERS_1_2)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    # Before 3.11.4 Python took an end without TLS's word for one with it: a cut as the whole.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.set_alpn_protocols([PROTOCOL])
    # What is given is trusted as it stands: a server's own certificate, or any of a chain.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if settings.ca:
        _load_ca(context, settings.ca)
    else:
        context.load_default_certs()
    if settings.certificate:
        _load_own(context, settings.certificate, settings.key)
    elif settings.key:
        raise UsageError("a client's key needs the certificate that it belongs to")
    return context


def _load_ca(context: ssl.SSLContext, path: str) -> None:
    try:
        if os.path.isdir(path):
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise CertificateError(
            f"{path!r} holds no certificate in PEM", hint="Is it the file of serve --cert-out?"
        ) from error
    except OSError as error:
        raise translate(error, path, "reading") from error


def _load_own(context: ssl.SSLContext, certificate: str, key: str) -> None:
    try:
        # The password keeps OpenSSL from asking on the terminal.
        context.load_cert_chain(certificate, key or None, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise CertificateError(
            f"certificate and key of the client ({certificate!r}) can't be used",
            hint="Both in PEM, the key not encrypted and of that certificate.",
        ) from error
    except OSError as error:
        raise translate(error, key or certificate, "reading") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def server_facts(tls: ssl.SSLObject, address: ServerAddress) -> ServerFacts:
    """Return what the finished handshake says about the server.

    Raises:
        CertificateError: Its key is of a kind, or in a form, that can't be bound to.
    """
    # cryptography.x509 is loaded by who connects, not by who imports the package.
    from inferonnx.crypto.x509 import certificate_key_hash

    certificate = tls.getpeercert(binary_form=True) or b""
    return ServerFacts(
        host=address.host,
        port=address.port,
        certificate_der=certificate,
        public_key_hash=certificate_key_hash(certificate),
        tls_version=tls.version() or "",
    )


def is_cut(error: ssl.SSLError) -> bool:
    """Return whether the server left without TLS's word for the end.

    Before 3.11.4 Python has no class of its own for it.
    """
    return isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING"


def explain(error: ssl.SSLError, address: ServerAddress) -> InferonnxError:
    """Return the error of ours that says what TLS found wrong."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return ServerIdentityError(
            f"the certificate of {address.authority} is not trusted: {error.verify_message}",
            hint="Give --ca the certificate that the server wrote with --cert-out, and call it "
            "by a name that stands in it.",
        )
    reason = (error.reason or "failed").replace("_", " ").lower()
    hint = "Is it a server of InferONNX, and the right port?"
    if "certificate required" in reason or "unknown ca" in reason or "bad certificate" in reason:
        hint = "The server takes only clients with a certificate: give yours."
    elif "version" in reason:
        hint = "The server has no TLS 1.3. If it may be 1.2, allow it."
    return UnavailableError(f"no TLS with {address.authority}: {reason}", hint=hint)
