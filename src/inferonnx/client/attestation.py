"""Whether a server may be spoken to: the place where attestation is verified.

TLS tells that the server has the certificate that was asked for. Whether what runs
there is what its clients think, a policy decides, for each new connection, after the
handshake and before a byte of a request is sent. Authentic is not acceptable: the
two have their own errors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from inferonnx.errors import AttestationError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What is known about the other end of a TLS connection after its handshake.

    Attributes:
        host: What was connected to, and what the certificate was checked for.
        port: Its TCP port.
        certificate_der: The server's certificate.
        public_key_hash: SHA-256 of the certificate's SubjectPublicKeyInfo: attestation
            binds this key, and owners sign it into their requests.
        tls_version: "TLSv1.3" or "TLSv1.2".
    """

    host: str
    port: int
    certificate_der: bytes = field(repr=False)
    public_key_hash: bytes
    tls_version: str


class AttestationPolicy(Protocol):
    """Decides about servers.

    It may be asked from several threads at once, and may take its time: it counts
    against the time-out of whoever connects.
    """

    def verify(self, facts: ServerFacts) -> None:
        """Return if the server at the other end may be trusted with requests.

        Raises:
            AttestationError: It may not.
        """


class RefuseUnattested:
    """Refuses every server: no evidence can be verified yet. The default."""

    def verify(self, facts: ServerFacts) -> None:
        """Refuse."""
        raise AttestationError(
            f"nothing proves what runs at {facts.host}:{facts.port}: this release can't verify "
            "attestation",
            hint="To trust its operator, and everybody who controls that machine, instead: "
            "insecure_no_attestation=True, or --insecure-no-attestation.",
        )


class InsecureNoAttestation:
    """Takes every server that TLS takes, so whoever controls the machine can read along."""

    def verify(self, facts: ServerFacts) -> None:
        """Take it."""


def choose_policy(
    policy: AttestationPolicy | None, *, insecure_no_attestation: bool
) -> AttestationPolicy:
    """Return the policy that these two arguments mean; with neither, refusal."""
    if policy is not None and insecure_no_attestation:
        raise ValueError("a policy and insecure_no_attestation exclude each other")
    if insecure_no_attestation:
        return InsecureNoAttestation()
    return policy or RefuseUnattested()
