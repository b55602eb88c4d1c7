"""What clients of TLS 1.3 ask of a certificate and its chain, whichever CA they trust.

Not behind the room's door, for the reason that `crypto.x509` has.
"""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.oid import SignatureAlgorithmOID

from inferonnx.crypto.x509 import not_understood, parse_chain
from inferonnx.errors import CertificateError

MIN_RSA_BITS = 2048
"""Of who signs; OpenSSL's security level 2 and browsers refuse less."""

_RSA = {
    SignatureAlgorithmOID.RSA_WITH_SHA256,
    SignatureAlgorithmOID.RSA_WITH_SHA384,
    SignatureAlgorithmOID.RSA_WITH_SHA512,
    SignatureAlgorithmOID.RSASSA_PSS,
}
_OTHERS = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256,
    SignatureAlgorithmOID.ECDSA_WITH_SHA384,
    SignatureAlgorithmOID.ECDSA_WITH_SHA512,
    SignatureAlgorithmOID.ED25519,
    SignatureAlgorithmOID.ED448,
}


def check_for_clients(pem: bytes, now_s: float) -> None:
    """Refuse a chain in PEM that clients refuse, whichever CA they trust.

    (1) Its first certificate is valid at `now_s`, in seconds since 1970. (2) It names a
    host or address. (3) TLS 1.3 has a name for how each is signed (RFC 8446, 4.2.3), and
    RSA keys that sign have 2,048 bits; how a root signs itself is nobody's concern.

    Raises:
        CertificateError: One of these does not hold, or as `parse_chain`.
    """
    chain = parse_chain(pem)
    try:
        leaf, *others = map(x509.load_der_x509_certificate, chain)
        now = datetime.fromtimestamp(now_s, UTC)
        is_valid = leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc
        names = [e for e in leaf.extensions if isinstance(e.value, x509.SubjectAlternativeName)]
        signed = [leaf, *(one for one in others if one.issuer != one.subject)]
    except Exception as error:
        # What the library raises depends on where the bytes are wrong.
        raise not_understood("its fields can't be read") from error
    if not is_valid:  # (1)
        raise CertificateError(
            "the certificate has expired, or is not valid yet",
            hint="Have one signed that is valid now, and look at this machine's clock.",
        )
    if not names:  # (2)
        raise CertificateError(
            "the certificate names no host in subjectAltName, and clients take none from elsewhere",
            hint="Have the CA copy the extensions of the CSR.",
        )
    for certificate in signed:
        _check_signature(certificate)  # (3)


def _check_signature(certificate: x509.Certificate) -> None:
    kind, n_bits = certificate.signature_algorithm_oid, 8 * len(certificate.signature)
    if kind not in _RSA | _OTHERS:
        raise CertificateError(
            f"the chain is signed in a way that TLS 1.3 refuses (OID {kind.dotted_string})",
            hint="Ask for a signature with SHA-256 or better.",
        )
    if kind in _RSA and n_bits < MIN_RSA_BITS:
        raise CertificateError(
            f"the chain is signed with an RSA key of {n_bits} bits, and clients refuse that",
            hint=f"Ask a CA whose key has {MIN_RSA_BITS} bits or more.",
        )
