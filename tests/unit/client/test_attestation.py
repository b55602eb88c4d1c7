import pytest

from inferonnx.client.attestation import (
    InsecureNoAttestation,
    RefuseUnattested,
    ServerFacts,
    choose_policy,
)
from inferonnx.errors import AttestationError, ExitCode

FACTS = ServerFacts(
    host="models",
    port=8443,
    certificate_der=b"der",
    public_key_hash=bytes(32),
    tls_version="TLSv1.3",
)


def test_refusal_is_what_nothing_means():
    policy = choose_policy(None, insecure_no_attestation=False)
    with pytest.raises(AttestationError, match="what runs at models:8443") as caught:
        policy.verify(FACTS)
    assert "insecure_no_attestation=True" in caught.value.hint
    assert "--insecure-no-attestation" in caught.value.hint
    assert caught.value.exit_code is ExitCode.REFUSED


def test_loosening_is_spelled_out():
    choose_policy(None, insecure_no_attestation=True).verify(FACTS)
    assert isinstance(choose_policy(None, insecure_no_attestation=True), InsecureNoAttestation)


def test_a_policy_of_the_callers_is_taken_and_contradicts_the_other():
    mine = RefuseUnattested()
    assert choose_policy(mine, insecure_no_attestation=False) is mine
    with pytest.raises(ValueError, match="exclude"):
        choose_policy(mine, insecure_no_attestation=True)
