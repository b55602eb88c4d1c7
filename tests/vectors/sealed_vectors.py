"""Vectors of sealed files: header, identity, segments, pins."""

from __future__ import annotations

from dataclasses import replace

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from vector_collect import Vectors, flip
from vector_forge import KEYS, OWNER, RELEASE, derived, finish, root_of, seal, tiny_manifest

from inferonnx.crypto import AEGIS_256X2, AES_256_GCM, Suite, ed25519_sign, sha256
from inferonnx.sealed import ModelPin, ReleasePin
from inferonnx.sealed.constants import (
    HEADER_BYTES,
    HEADER_FIELDS,
    MAX_MANIFEST_BYTES,
    MAX_RELEASE,
)
from inferonnx.sealed.header import sign_header
from inferonnx.sealed.keys import sub_keys, wrap_data_key

ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493


def good(vectors: Vectors, suite: Suite) -> None:
    parts = seal(suite)
    n_text = int.from_bytes(parts.plain_manifest[:4], "big")
    vectors.add(
        f"good-{suite.name}",
        "nothing is wrong",
        "S-01 S-07 S-09 S-11 S-15 S-17 S-23 S-24 S-27 S-32 S-33",
        parts.file,
        suite=suite,
        opened=3,
        model_id=parts.header.model_id.hex(),
        data_key=parts.data_key.reveal().hex(),
        segments=[text.hex() for text in parts.plain],
        manifest=parts.plain_manifest[4 : 4 + n_text].decode(),
        blobs=parts.plain_manifest[4 + n_text :].hex(),
    )
    no_weights = replace(
        tiny_manifest(), partitions=(), outputs=tiny_manifest().inputs, probe=None, check=None
    )
    vectors.add(
        f"good-without-segments-{suite.name}",
        "a model without partitions, whose output is its input",
        "S-23 S-30 S-34",
        seal(suite, manifest=no_weights).file,
        suite=suite,
    )
    twice = replace(no_weights, outputs=no_weights.outputs * 2)
    vectors.add(
        f"good-output-listed-twice-{suite.name}",
        "nothing is wrong: the model lists an output twice",
        "S-34",
        seal(suite, manifest=twice).file,
        suite=suite,
    )


def flipped(vectors: Vectors, suite: Suite) -> None:
    """Flip one bit in each thing that is read."""
    parts = seal(suite)
    signed = {"check": "sealed.signature", "open": "sealed.signature"}
    expected = {
        "magic": {"check": "sealed.format", "open": "sealed.format"},
        "version": {"check": "sealed.version", "open": "sealed.version"},
        "suite": {"check": "sealed.version", "open": "sealed.version"},
        "key_id": {"open": "sealed.key"},
        "wrap_salt": {"open": "sealed.auth"},
        "wrapped_key": {"open": "sealed.auth"},
        "wrap_tag": {"open": "sealed.auth"},
    }
    rules = {
        "magic": "S-04",
        "version": "S-05",
        "suite": "S-06",
        "key_id": "S-19",
        "wrap_salt": "S-21",
        "wrapped_key": "S-21",
        "wrap_tag": "S-21",
    }
    place = 0
    for name, size in HEADER_FIELDS:
        # The last byte of an integer is its lowest; bit 3 makes suite 9 or 10 of it.
        vectors.add(
            f"flipped-{name}-{suite.name}",
            f"a bit of header field {name} is flipped",
            rules.get(name, "S-10"),
            flip(parts.file, place + size - 1, 3),
            suite=suite,
            **expected.get(name, signed),
        )
        place += size
    for i, segment in enumerate(parts.segments):
        for end, at in (("first", 0), ("last", len(segment) - 1)):
            vectors.add(
                f"flipped-{end}-byte-of-segment-{i}-{suite.name}",
                f"a bit in the {end} byte of segment {i} is flipped",
                "S-12 S-25",
                flip(parts.file, place + at, 7),
                suite=suite,
                check="sealed.auth",
                open="sealed.auth",
                opened=i,
            )
        place += len(segment)
    for end, at in (("first-byte", 0), ("tag", parts.header.manifest_bytes - 1)):
        vectors.add(
            f"flipped-{end}-of-manifest-{suite.name}",
            f"a bit in the {end} of the sealed manifest is flipped",
            "S-12 S-26",
            flip(parts.file, place + at, 7),
            suite=suite,
            check="sealed.auth",
            open="sealed.auth",
        )
    # Signed by the owner, so that only the AEAD can notice.
    parts.manifest = flip(parts.manifest, 0)
    parts.header = replace(
        parts.header, manifest_sha256=sha256(parts.manifest), root=root_of(parts)
    )
    finish(parts)
    vectors.add(
        f"signed-manifest-that-does-not-open-{suite.name}",
        "the manifest is changed, and the owner signed it",
        "S-27 S-37",
        parts.file,
        suite=suite,
        open="sealed.auth",
    )


def moved(vectors: Vectors, suite: Suite) -> None:
    """Truncation, extension, and segments in the wrong place."""
    parts = seal(suite)
    file, both = parts.file, {"check": "sealed.auth", "open": "sealed.auth"}
    too_short = {"check": "sealed.format", "open": "sealed.format"}
    end = len(file) - parts.header.manifest_bytes
    for name, data, rules, expected in (
        ("empty", b"", "S-04", too_short),
        ("cut-in-header", file[: HEADER_BYTES - 1], "S-04", too_short),
        ("cut-after-header", file[:HEADER_BYTES], "S-02", too_short),
        ("cut-by-a-byte", file[:-1], "S-12 S-26", both),
        ("cut-to-the-segments", file[:end], "S-02", too_short),
        ("extended-by-a-byte", file + b"\0", "S-01 S-12 S-26", both),
        ("byte-before-manifest", file[:end] + b"\0" + file[end:], "S-12 S-35", both),
        ("segments-cut-by-a-byte", file[: end - 1] + file[end:], "S-12 S-35", both),
        ("byte-before-segments", file[:HEADER_BYTES] + b"\0" + file[HEADER_BYTES:], "S-35", both),
    ):
        cause = f"the file is damaged: {name.replace('-', ' ')}"
        vectors.add(f"{name}-{suite.name}", cause, rules, data, suite=suite, **expected)

    def arrange(name: str, cause: str, segments: list[bytes], rules: str, opened: int) -> None:
        changed = replace(parts, segments=segments)
        vectors.add(
            f"{name}-{suite.name}", cause, rules, changed.file, suite=suite, opened=opened, **both
        )

    first, second, third = parts.segments
    other = seal(suite, what="other")
    arrange("swapped-segments", "two segments of one length are swapped",
            [second, first, third], "S-24 S-25", 0)  # fmt: skip
    arrange("reordered-segments", "the segments are re-ordered",
            [third, first, second], "S-24 S-25", 0)  # fmt: skip
    arrange("repeated-segment", "a segment stands in the place of the next one",
            [first, first, third], "S-24 S-25", 1)  # fmt: skip
    arrange("segment-of-another-model", "a segment is that of another model of this owner",
            [first, other.segments[1], third], "S-24 S-25", 1)  # fmt: skip
    arrange("segment-missing", "a segment is missing", [first, third], "S-35", 0)
    arrange("segment-added", "a segment is added", [first, second, third, first], "S-35", 0)
    vectors.add(
        f"manifest-of-another-model-{suite.name}",
        "the manifest is that of another model of this owner",
        "S-26",
        replace(parts, manifest=other.manifest).file,
        suite=suite,
        **both,
    )


def identities(vectors: Vectors, suite: Suite) -> None:
    """Owner, signature, slot, suite and commitment."""
    parts = seal(suite)
    stranger = KEYS["stranger"]

    header = replace(sign_header(replace(parts.header, owner=stranger.public_key),
                                 stranger.signing_seed).header, slot=parts.header.slot)  # fmt: skip
    vectors.add(f"re-signed-{suite.name}",
                "somebody else signed the file again, under his own key",
                "S-20", replace(parts, header=header).file, suite=suite,
                open="sealed.signature")  # fmt: skip
    vectors.add(f"re-signed-opened-by-an-accomplice-{suite.name}",
                "the same, opened with a key that has the owner's wrap secret and his signing key",
                "S-21", replace(parts, header=header).file, suite=suite, key="re-signer",
                open="sealed.auth")  # fmt: skip
    header = replace(parts.header, owner=stranger.public_key)
    vectors.add(f"another-owner-{suite.name}", "the owner's public key is replaced",
                "S-09 S-10", replace(parts, header=header).file, suite=suite,
                check="sealed.signature", open="sealed.signature")  # fmt: skip
    header = replace(
        parts.header, signature=ed25519_sign(OWNER.signing_seed, parts.header.model_id)
    )
    vectors.add(f"signature-without-label-{suite.name}", "the bare model id is signed",
                "S-10", replace(parts, header=header).file, suite=suite,
                check="sealed.signature", open="sealed.signature")  # fmt: skip
    scalar = int.from_bytes(parts.header.signature[32:], "little") + ED25519_ORDER
    signature = parts.header.signature[:32] + scalar.to_bytes(32, "little")
    vectors.add(f"signature-with-large-scalar-{suite.name}",
                "the scalar of the signature is not below the group order",
                "S-10", replace(parts, header=replace(parts.header, signature=signature)).file,
                suite=suite, check="sealed.signature", open="sealed.signature")  # fmt: skip
    header = replace(parts.header, signature=seal(suite, what="other").header.signature)
    vectors.add(f"signature-of-another-model-{suite.name}",
                "the signature is that of another model of this owner",
                "S-10", replace(parts, header=header).file, suite=suite,
                check="sealed.signature", open="sealed.signature")  # fmt: skip

    other = seal(suite, what="other")
    header = replace(parts.header, slot=other.header.slot)
    vectors.add(f"slot-of-another-model-{suite.name}",
                "the slot is that of another model of this owner",
                "S-21", replace(parts, header=header).file, suite=suite,
                open="sealed.auth")  # fmt: skip
    vectors.add(f"slot-with-another-data-key-{suite.name}",
                "the owner wrapped another data key for this model",
                "S-16 S-37", seal(suite, slot_key=other.data_key).file, suite=suite,
                open="sealed.auth")  # fmt: skip
    swapped = AEGIS_256X2 if suite is AES_256_GCM else AES_256_GCM
    vectors.add(f"suite-swapped-{suite.name}", "the header names the other suite",
                "S-09 S-10", replace(parts, header=replace(parts.header, suite=swapped)).file,
                suite=suite, check="sealed.signature", open="sealed.signature")  # fmt: skip
    signed = seal(suite, change_header=lambda header: replace(header, suite=swapped))
    vectors.add(f"suite-swapped-and-signed-{suite.name}",
                "the header names the other suite, and the owner signed it",
                "S-15 S-16", signed.file, suite=suite, open="sealed.auth")  # fmt: skip

    vectors.add(f"wrong-key-{suite.name}", "the file is opened with another owner's key",
                "S-19", parts.file, suite=suite, key="stranger",
                open="sealed.key")  # fmt: skip
    rewrapped = replace(parts)
    rewrapped.header = replace(
        parts.header,
        slot=wrap_data_key(KEYS["rewrapped"], parts.data_key, model_id=parts.header.model_id,
                           salt=derived("rewrap salt")),
    )  # fmt: skip
    vectors.add(f"rewrapped-{suite.name}", "nothing is wrong: the file was rewrapped",
                "S-22", rewrapped.file, suite=suite, key="rewrapped", opened=3,
                model_id=parts.header.model_id.hex())  # fmt: skip
    vectors.add(f"rewrapped-opened-with-the-old-key-{suite.name}",
                "the file was rewrapped and is opened with the old key",
                "S-19", rewrapped.file, suite=suite, open="sealed.key")  # fmt: skip


def headers(vectors: Vectors) -> None:
    """Headers that the owner signed and that break a rule all the same."""
    parts = seal(AES_256_GCM)
    both = {"check": "sealed.format", "open": "sealed.format"}

    def changed(**fields: object) -> bytes:
        return seal(
            AES_256_GCM,
            change_header=lambda header: replace(header, **fields),  # type: ignore[arg-type]
        ).file

    vectors.add("release-beyond-limit", "the release is 2^53", "S-08",
                changed(release=MAX_RELEASE + 1), **both)  # fmt: skip
    vectors.add("release-at-limit", "nothing is wrong: the release is 2^53 - 1", "S-08",
                changed(release=MAX_RELEASE), opened=3)  # fmt: skip
    vectors.add("manifest-shorter-than-a-tag", "manifest_bytes is 15", "S-08",
                changed(manifest_bytes=15), **both)  # fmt: skip
    vectors.add("manifest-beyond-limit", "manifest_bytes is 2^30 + 1", "S-08",
                changed(manifest_bytes=MAX_MANIFEST_BYTES + 1), **both)  # fmt: skip
    vectors.add("manifest-longer-than-the-file", "manifest_bytes is 2^30", "S-02",
                changed(manifest_bytes=MAX_MANIFEST_BYTES), **both)  # fmt: skip
    vectors.add("signed-wrong-root", "the root is another, and the owner signed it", "S-12",
                changed(root=derived("root")), check="sealed.auth", opened=3)  # fmt: skip
    vectors.add("signed-wrong-manifest-hash",
                "the hash of the manifest is another, and the owner signed it",
                "S-26", changed(manifest_sha256=derived("hash")), open="sealed.auth")  # fmt: skip
    vectors.add("signed-wrong-commitment",
                "the commitment is another, and the owner signed it",
                "S-16", changed(commitment=derived("commitment")), open="sealed.auth")  # fmt: skip
    for number in (0, 3, 1 << 31):
        raw = parts.file[:20] + number.to_bytes(4, "big") + parts.file[24:]
        vectors.add(f"suite-{number}", f"the suite is {number}", "S-06", raw,
                    check="sealed.version", open="sealed.version")  # fmt: skip
    for number in (0, 2, 1 << 24):
        raw = parts.file[:16] + number.to_bytes(4, "big") + parts.file[20:]
        vectors.add(f"version-{number}", f"the format version is {number}", "S-05", raw,
                    check="sealed.version", open="sealed.version")  # fmt: skip


def pins(vectors: Vectors) -> None:
    """Pins that fit and that don't."""
    parts = seal(AES_256_GCM)
    model = ModelPin(model_id=parts.header.model_id)
    release = ReleasePin(owner=OWNER.public_key, name="tïny", least_release=RELEASE)
    for name, pin, fits, opened in (
        ("model-id", model, True, 3),
        ("other-model-id", ModelPin(model_id=derived("model id")), False, 0),
        ("release", release, True, 3),
        ("newer-release", replace(release, least_release=RELEASE + 1), False, 0),
        ("older-release", replace(release, least_release=0), True, 3),
        ("other-owner", replace(release, owner=KEYS["stranger"].public_key), False, 0),
        ("other-name", replace(release, name="tïn"), False, 0),
        ("name-in-another-form", replace(release, name="ti\u0308ny"), False, 0),
    ):
        vectors.add(f"pin-{name}", f"pinned: {name.replace('-', ' ')}", "S-13", parts.file,
                    pin=pin, open="ok" if fits else "sealed.pin", opened=opened)  # fmt: skip


def second_ciphertext(vectors: Vectors) -> None:
    """Who holds the data key makes another ciphertext under the same GCM tag."""
    parts = seal(AES_256_GCM)
    _, segments_key = sub_keys(parts.data_key, AES_256_GCM)
    encryptor = Cipher(AES(segments_key.reveal()), ECB()).encryptor()
    hash_key = int.from_bytes(encryptor.update(bytes(16)), "big")
    difference = int.from_bytes(b"changed weights!", "big")
    # GHASH is linear: a change of block 1 by d is undone by one of block 2 by d * H.
    undoing = gf128_multiply(difference, hash_key)
    change = difference.to_bytes(16, "big") + undoing.to_bytes(16, "big")
    first = bytes(a ^ b for a, b in zip(parts.segments[0][:32], change, strict=True))
    changed = replace(parts, segments=[first + parts.segments[0][32:], *parts.segments[1:]])
    vectors.add(
        "gcm-second-ciphertext-under-the-tag",
        "a holder of the data key changed segment 0 under the same tag; only the root tells",
        "S-12",
        changed.file,
        check="sealed.auth",
        opened=3,
    )


def gf128_multiply(x: int, y: int) -> int:
    """Multiply in GF(2^128) as GCM does (SP 800-38D, 6.3)."""
    product, value = 0, y
    for i in range(127, -1, -1):
        if x >> i & 1:
            product ^= value
        value = value >> 1 ^ (0xE1 << 120 if value & 1 else 0)
    return product
