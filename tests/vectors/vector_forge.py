"""A tiny model and its sealing, step by step, so that each step can go wrong.

The keys are test keys. They are derived from public text, everybody has them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from inferonnx.crypto import Secret, Suite, sha256
from inferonnx.sealed import (
    Arena,
    Check,
    Manifest,
    Memory,
    OwnerKey,
    Partition,
    Probe,
    SegmentTable,
    Target,
    ValueInfo,
    WrapSlot,
    encode_header,
    encode_manifest,
    lay_out_weights,
    root_of_leaves,
)
from inferonnx.sealed.binding import manifest_aad, segment_aad
from inferonnx.sealed.constants import PIECE_BYTES
from inferonnx.sealed.header import Header, sign_header
from inferonnx.sealed.keys import commitment, sub_keys, wrap_data_key
from inferonnx.sealed.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Callable

RELEASE = 3


def derived(what: str, n_bytes: int = 32) -> bytes:
    """Return bytes that look random and are the same everywhere."""
    blocks = (
        sha256(f"inferonnx test vectors: {what} {i}".encode()) for i in range(n_bytes // 32 + 1)
    )
    return b"".join(blocks)[:n_bytes]


def owner(what: str, signer: str) -> OwnerKey:
    return OwnerKey.from_secrets(
        wrap_secret=Secret(derived(f"{what} wrap secret")),
        signing_seed=Secret(derived(f"{signer} signing seed")),
    )


KEYS = {
    "owner": owner("owner", "owner"),
    "rewrapped": owner("rewrapped", "owner"),  # keygen --from
    "stranger": owner("stranger", "stranger"),
    "re-signer": owner("owner", "stranger"),  # the owner's wrap secret, another signer
}
OWNER = KEYS["owner"]


def tiny_manifest() -> Manifest:
    """Return a manifest with an empty block and three segments, two of one length."""
    shapes = [(("w", 1, (16,)), ("b", 1, (3,))), (), (("w", 10, (5, 7)),), (("w", 1, (40,)),)]
    values = ["x", "h0", "h1", "h2", "y"]
    partitions = tuple(
        Partition(
            inputs=(values[i],),
            outputs=(values[i + 1],),
            weights=lay_out_weights(weights),
            skeleton=f"skeleton {i}".encode(),
            n_nodes=i + 1,
            activation_bytes=64 * i,
            time_us=10 + i,
        )
        for i, weights in enumerate(shapes)
    )
    return Manifest(
        name="tïny",
        producer="inferonnx test vectors",
        strategy="optimal",
        metadata={"labels": 'a "b"\\\n\u2028', "alphabet": "äöü😀"},
        inputs=(ValueInfo(name="x", type="tensor(float)", shape=(1, "N", None)),),
        outputs=(ValueInfo(name="y", type="seq(tensor(int64))", shape=None),),
        partitions=partitions,
        target=Target(onnxruntime="1.32.0", layout="generic", arch="x86_64"),
        arena=Arena(strategy=1, initial_bytes=0, peak_bytes=4096),
        memory=Memory(
            budget_bytes=64 << 20,
            least_bytes=40 << 20,
            floor_bytes=30 << 20,
            session_bytes=1 << 20,
            call_bytes=256,
        ),
        planned_shapes={"x": (1, 8, 2)},
        rows_independent=True,
        notes=("nothing",),
        probe=Probe(skeleton=b"probe", inputs=(b"in",), outputs=(b"out0", b"out1")),
        check=Check(inputs={"x": b"X"}, outputs={"y": b"Y"}),
    )


def plaintexts(manifest: Manifest, what: str) -> list[bytes]:
    table = SegmentTable.of_manifest(manifest)
    return [derived(f"{what} segment {i}", table.length(i)) for i in range(table.n_segments)]


@dataclass(kw_only=True)
class Parts:
    """A sealed file in pieces that can be changed one by one."""

    header: Header
    segments: list[bytes]
    manifest: bytes
    data_key: Secret
    plain: list[bytes] = field(default_factory=list)
    plain_manifest: bytes = b""

    @property
    def file(self) -> bytes:
        return encode_header(self.header) + b"".join(self.segments) + self.manifest


def seal(
    suite: Suite,
    *,
    what: str = "tiny",
    manifest: Manifest | None = None,
    change_plain: Callable[[bytes], bytes] = lambda plain: plain,
    change_header: Callable[[Header], Header] = lambda header: header,
    key: OwnerKey = OWNER,
    slot_key: Secret | None = None,
) -> Parts:
    """Seal the tiny model; `change_plain` and `change_header` act before sealing and signing."""
    manifest = manifest or tiny_manifest()
    data_key = Secret(derived(f"{what} {suite.name} data key"))
    fixed = commitment(data_key, suite)
    manifest_key, segments_key = sub_keys(data_key, suite)
    plain = plaintexts(manifest, what)
    segments, tags = [], []
    for i, text in enumerate(plain):
        buffer = bytearray(text)
        aad = segment_aad(suite, fixed, index=i, n_segments=len(plain), n_bytes=len(text))
        aead = suite.aead(segments_key)
        tags.append(aead.seal_in_place(suite.nonce(i), aad, memoryview(buffer)))
        segments.append(bytes(buffer))
    plain_manifest = change_plain(encode_manifest(replace(manifest, tags=b"".join(tags))))
    sealed = bytearray(plain_manifest)
    aad = manifest_aad(suite, fixed, n_bytes=len(sealed) + suite.tag_bytes)
    sealed += suite.aead(manifest_key).seal_in_place(suite.nonce(0), aad, memoryview(sealed)[:])
    parts = Parts(
        header=Header(
            suite=suite,
            release=RELEASE,
            owner=key.public_key,
            commitment=fixed,
            manifest_bytes=len(sealed),
            manifest_sha256=sha256(sealed),
            root=bytes(32),
            signature=bytes(64),
            slot=WrapSlot(
                key_id=bytes(16), wrap_salt=bytes(32), wrapped_key=bytes(32), wrap_tag=bytes(16)
            ),
        ),
        segments=segments,
        manifest=bytes(sealed),
        data_key=data_key,
        plain=plain,
        plain_manifest=plain_manifest,
    )
    parts.header = change_header(replace(parts.header, root=root_of(parts)))
    finish(parts, key=key, slot_key=slot_key, what=what)
    return parts


def root_of(parts: Parts) -> bytes:
    body = b"".join(parts.segments) + parts.manifest
    return root_of_leaves(
        leaf_hash(body[i : i + PIECE_BYTES]) for i in range(0, len(body), PIECE_BYTES)
    )


def finish(
    parts: Parts, *, key: OwnerKey = OWNER, slot_key: Secret | None = None, what: str = "tiny"
) -> None:
    """Sign the header and fill the slot."""
    verified = sign_header(parts.header, key.signing_seed)
    slot = wrap_data_key(
        key,
        slot_key or parts.data_key,
        model_id=verified.model_id,
        salt=derived(f"{what} wrap salt"),
    )
    parts.header = replace(verified.header, slot=slot)
