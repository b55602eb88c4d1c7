"""Known answers of RFC 8032, section 7.1, and what must not verify."""

from __future__ import annotations

import pytest

from inferonnx.crypto import Secret, ed25519_public_key, ed25519_sign, ed25519_verify
from inferonnx.errors import AuthenticationError, SignatureError

ORDER = 2**252 + 27742317777372353535851937790883648493
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
]
RFC = pytest.mark.parametrize(
    ("seed", "public", "message", "signature"),
    [tuple(map(bytes.fromhex, row)) for row in VECTORS],
    ids=["test-1", "test-2"],
)


@RFC
def test_signature_has_its_known_answer(seed, public, message, signature):
    assert ed25519_public_key(Secret(seed)) == public
    assert ed25519_sign(Secret(seed), message) == signature
    ed25519_verify(public, signature, message)


@RFC
def test_changed_signature_message_or_key_is_refused(seed, public, message, signature):
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    large = int.from_bytes(signature[32:], "little") + ORDER
    for key, candidate, text in (
        (public, flipped, message),
        (public, signature[:32] + large.to_bytes(32, "little"), message),
        (public, signature, message + b"x"),
        (public, signature[:-1], message),
        (public, b"", message),
        (ed25519_public_key(Secret(bytes(32))), signature, message),
        (b"\xff" * 32, signature, message),
        (public[:-1], signature, message),
    ):
        with pytest.raises(SignatureError) as caught:
            ed25519_verify(key, candidate, text)
        assert str(caught.value) == AuthenticationError.MESSAGE
