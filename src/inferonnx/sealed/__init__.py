"""The sealed file: one encrypted, signed model in one file, format version 1.

Bytes in, bytes out: nothing here opens a file, reads a clock or draws a random
byte. The specification is docs/sealed-format.md.

Open: `parse_header`, `verify_header`, `check_pin`, `unwrap_data_key`, `file_keys`,
`open_manifest`, `check_pinned_name`, `SegmentOpener`; each takes what the one before gives.
"""

from __future__ import annotations

from inferonnx.sealed.constants import (
    DATA_KEY_BYTES,
    FORMAT_VERSION,
    HEADER_BYTES,
    MAGIC,
    PASSPHRASE_SALT_BYTES,
    SEGMENT_BYTES,
    WEIGHT_ALIGNMENT,
    WRAP_SALT_BYTES,
    WRAP_SECRET_BYTES,
)
from inferonnx.sealed.describe import describe_header, describe_manifest
from inferonnx.sealed.header import (
    Header,
    VerifiedHeader,
    WrapSlot,
    encode_header,
    parse_header,
    verify_header,
)
from inferonnx.sealed.keyfile import (
    OwnerKey,
    encode_owner_key,
    encode_protected_owner_key,
    is_protected,
    parse_owner_key,
)
from inferonnx.sealed.keys import FileKeys, file_keys, rewrap, unwrap_data_key
from inferonnx.sealed.manifest import (
    Arena,
    Check,
    Manifest,
    Memory,
    Partition,
    Probe,
    Target,
    ValueInfo,
    check_model_name,
    is_model_name,
)
from inferonnx.sealed.manifest_codec import encode_manifest, parse_manifest
from inferonnx.sealed.merkle import BodyHasher, leaf_hash, root_of_leaves
from inferonnx.sealed.pins import (
    ModelPin,
    Pin,
    ReleasePin,
    check_pin,
    check_pinned_name,
    parse_pin,
)
from inferonnx.sealed.reader import FileCheck, open_manifest
from inferonnx.sealed.segments import SegmentOpener, SegmentTable
from inferonnx.sealed.weights import Weight, lay_out_weights, weight_bytes
from inferonnx.sealed.writer import SealedEnd, SealWriter

__all__ = [
    "DATA_KEY_BYTES",
    "FORMAT_VERSION",
    "HEADER_BYTES",
    "MAGIC",
    "PASSPHRASE_SALT_BYTES",
    "SEGMENT_BYTES",
    "WEIGHT_ALIGNMENT",
    "WRAP_SALT_BYTES",
    "WRAP_SECRET_BYTES",
    "Arena",
    "BodyHasher",
    "Check",
    "FileCheck",
    "FileKeys",
    "Header",
    "Manifest",
    "Memory",
    "ModelPin",
    "OwnerKey",
    "Partition",
    "Pin",
    "Probe",
    "ReleasePin",
    "SealWriter",
    "SealedEnd",
    "SegmentOpener",
    "SegmentTable",
    "Target",
    "ValueInfo",
    "VerifiedHeader",
    "Weight",
    "WrapSlot",
    "check_model_name",
    "check_pin",
    "check_pinned_name",
    "describe_header",
    "describe_manifest",
    "encode_header",
    "encode_manifest",
    "encode_owner_key",
    "encode_protected_owner_key",
    "file_keys",
    "is_model_name",
    "is_protected",
    "lay_out_weights",
    "leaf_hash",
    "open_manifest",
    "parse_header",
    "parse_manifest",
    "parse_owner_key",
    "parse_pin",
    "rewrap",
    "root_of_leaves",
    "unwrap_data_key",
    "verify_header",
    "weight_bytes",
]
