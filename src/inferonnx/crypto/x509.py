"""The server's TLS key and its certificates: P-256, X.509 (RFC 5280), PKCS #10.

Not behind the room's door: `cryptography.x509` costs 2 to 4 MiB, so whoever needs
this file imports it by name, where it is needed. The key is drawn, and ECDSA signs,
with random bytes of OpenSSL's own generator; everything else is an argument.
"""

from __future__ import annotations

import ctypes
import ipaddress
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from inferonnx.crypto.digest import sha256
from inferonnx.errors import CertificateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

SERIAL_RANDOM_BYTES = 16
"""Random bytes in a serial number: beyond the 64 bits that public CAs must draw."""

BACKDATED_S = 3600
"""How long before `now` a certificate begins: the clocks of clients lag behind ours."""

MAX_CHAIN_BYTES = 1 << 16
"""A chain in PEM: a dozen certificates of the usual 2 KiB, and room for large ones."""

MAX_CHAIN = 16
"""Certificates in a chain; public ones have two to four, OpenSSL verifies few more."""

MAX_NAMES = 100
"""Names in one certificate; public CAs put as many into one."""

MAX_COMMON_NAME = 64
"""Characters of a common name, by RFC 5280's upper bound."""

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)", re.ASCII)


class TlsKey:
    """A P-256 private key that can't be shown; only `pem` lets it out."""

    __slots__ = ("_key",)

    def __init__(self) -> None:
        """Draw a new key."""
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public_key_hash(self) -> bytes:
        """SHA-256 of its SubjectPublicKeyInfo in DER."""
        return sha256(
            self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )

    def pem(self) -> bytearray:
        """Return the key in PKCS #8, PEM; the caller wipes it when it has been used.

        The library's own immutable copy is overwritten here. What OpenSSL and the
        library held meanwhile is freed, not erased: nobody can promise more.
        """
        encoded = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        copy = bytearray(encoded)
        # Bytes never change, but these were made in this function, have no other
        # reference and were never hashed; CPython passes the address of their content.
        ctypes.memset(ctypes.c_char_p(encoded), 0, len(encoded))
        return copy

    def __repr__(self) -> str:
        return f"TlsKey(<P-256, public key hash {self.public_key_hash.hex()}>)"

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("a TlsKey is never pickled or copied")


def self_signed_certificate(
    key: TlsKey, names: Sequence[str], *, now_s: int, validity_s: int, random: bytes
) -> bytes:
    """Return a certificate that `key` signs for itself, in PEM.

    Args:
        key: The server's.
        names: What clients may call the server by: host names and IP addresses.
        now_s: Seconds since 1970, UTC.
        validity_s: Seconds from now until it ends.
        random: `SERIAL_RANDOM_BYTES` for the serial number.

    Raises:
        UsageError: A name is none, or the validity leaves what dates can say.
    """
    if len(random) != SERIAL_RANDOM_BYTES:
        raise ValueError(f"a serial takes {SERIAL_RANDOM_BYTES} random bytes, not {len(random)}")
    public = key._key.public_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "inferonnx")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(int.from_bytes(b"\x01" + random, "big"))  # positive whatever is drawn
        .not_valid_before(_date(now_s - BACKDATED_S))
        .not_valid_after(_date(now_s + validity_s))
        .add_extension(_alternative_names(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_signing_only(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        # Clients that trust several servers' certificates find the right one by these.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    return builder.sign(key._key, SHA256()).public_bytes(Encoding.PEM)


def signing_request(key: TlsKey, names: Sequence[str]) -> bytes:
    """Return a certificate signing request for `key` (PKCS #10) in PEM.

    Raises:
        UsageError: A name is none.
    """
    alternative = _alternative_names(names)
    # CAs that copy the subject want one; the first name is what they would write.
    written = [str(name.value) for name in alternative]
    common = next((name for name in written if len(name) <= MAX_COMMON_NAME), "inferonnx")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(alternative, critical=False)
    )
    return builder.sign(key._key, SHA256()).public_bytes(Encoding.PEM)


def certificate_key_hash(certificate: bytes) -> bytes:
    """Return SHA-256 of the SubjectPublicKeyInfo of a certificate in DER.

    Raises:
        CertificateError: It is no certificate, has a kind of key that is not known here,
            or holds its key in another form than the usual one.
    """
    parsed = _parse(certificate)
    try:
        info = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        held = parsed.tbs_certificate_bytes
    except Exception as error:
        raise not_understood("its public key can't be read") from error
    if info not in held:
        # A point in compressed form, for one: other programs would hash other bytes.
        raise not_understood("its public key is written in an unusual form")
    return sha256(info)


def parse_chain(pem: bytes) -> tuple[bytes, ...]:
    """Return the certificates of a chain in PEM as DER, the leaf first.

    Raises:
        CertificateError: It is no chain of 1 to `MAX_CHAIN` certificates, or a private
            key stands in it.
    """
    if len(pem) > MAX_CHAIN_BYTES:
        raise CertificateError(f"the certificate chain has more than {MAX_CHAIN_BYTES} bytes")
    if b"PRIVATE KEY-----" in pem:
        raise CertificateError(
            "a private key stands among the certificates",
            hint="Leave it out, and keep it to yourself; the server has its own.",
        )
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        chain = tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates)
    except Exception as error:
        raise not_understood("it is not in PEM") from error
    if not 1 <= len(chain) <= MAX_CHAIN:
        raise CertificateError(f"the chain has {len(chain)} certificates, {MAX_CHAIN} are the most")
    return chain


def leaf_matches(pem: bytes, key: TlsKey) -> bool:
    """Tell whether the first certificate of a chain in PEM is one for `key`.

    Raises:
        CertificateError: As `parse_chain` and `certificate_key_hash`.
    """
    return certificate_key_hash(parse_chain(pem)[0]) == key.public_key_hash


def check_server_name(name: str) -> str:
    """Return a host name or IP address as certificates write it.

    Host names may begin with `*.`; those beyond ASCII are written in their `xn--` form.

    Raises:
        UsageError: It is neither.
    """
    return str(_server_name(name).value)


def _server_name(name: str) -> x509.DNSName | x509.IPAddress:
    is_bracketed = name[:1] == "[" and name[-1:] == "]"  # as in URLs
    try:
        if "%" not in name:  # a zone means something on one machine alone
            return x509.IPAddress(ipaddress.ip_address(name[1:-1] if is_bracketed else name))
    except ValueError:
        pass
    host = name.lower().removesuffix(".")
    labels = host.removeprefix("*.").split(".")
    is_host = len(host) <= 253 and all(map(_LABEL.fullmatch, labels))
    if not is_host or labels[-1].isdigit():  # 1.2.3.400 is an address that went wrong
        raise UsageError(
            f"{name!r:.100} is neither a host name nor an IP address",
            hint="Write names like models.example.org (in their xn-- form) or 192.0.2.7.",
        )
    return x509.DNSName(host)


def _alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    if not 1 <= len(names) <= MAX_NAMES:
        raise UsageError(f"a certificate takes 1 to {MAX_NAMES} names, not {len(names)}")
    return x509.SubjectAlternativeName(dict.fromkeys(map(_server_name, names)))


def _signing_only() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _date(seconds: int) -> datetime:
    try:
        date = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError("the certificate would be valid until a year that dates can't say") from (
            error
        )
    if date.year < 1950:  # RFC 5280 writes no earlier ones
        raise UsageError("the certificate would begin before 1950", hint="Set the clock.")
    return date


def _parse(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(certificate)
    except Exception as error:
        # What the library raises depends on where the bytes are wrong.
        raise not_understood("it is not in DER") from error


def not_understood(reason: str) -> CertificateError:
    """Return the error for a certificate that is none, or a strange one."""
    return CertificateError(f"the certificate can't be used: {reason}")
