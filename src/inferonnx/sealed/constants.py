"""Every magic number, size, label and limit of the sealed file, format version 1.

The only home of these values. docs/sealed-format.md has the same tables; a test
compares them. Integers in the file are unsigned and big-endian.
"""

from __future__ import annotations

MAGIC = b"inferonnx.sealed"
FORMAT_VERSION = 1

HEADER_FIELDS: tuple[tuple[str, int], ...] = (
    ("magic", 16),
    ("version", 4),
    ("suite", 4),
    ("release", 8),
    ("owner", 32),
    ("commitment", 32),
    ("manifest_bytes", 8),
    ("manifest_sha256", 32),
    ("root", 32),
    ("signature", 64),
    ("key_id", 16),
    ("wrap_salt", 32),
    ("wrapped_key", 32),
    ("wrap_tag", 16),
)
"""Fields of the header in file order, with their sizes in bytes."""

HEADER_BYTES = sum(size for _, size in HEADER_FIELDS)

SEGMENT_BYTES = 1 << 20
"""Plaintext in a segment; only the last one of a block is shorter. Large enough
that a call's fixed cost vanishes, small enough to stay in a core's cache between
being read and being opened."""

PIECE_BYTES = 1 << 20
"""Bytes under one leaf of the Merkle tree; only the last piece is shorter."""

WEIGHT_ALIGNMENT = 64
"""Weights start at multiples of this in their block: a cache line, and the widest vector."""

DATA_KEY_BYTES = 32
WRAP_SECRET_BYTES = 32
WRAP_SALT_BYTES = 32
KEY_ID_BYTES = 16
MODEL_ID_BYTES = 32

# Labels. Each ends in a zero byte, so none is the beginning of another.
LABEL_MODEL_ID = b"inferonnx/sealed/v1/model-id\0"
LABEL_SIGNATURE = b"inferonnx/sealed/v1/signature\0"
LABEL_COMMITMENT = b"inferonnx/sealed/v1/commitment\0"
LABEL_MANIFEST_KEY = b"inferonnx/sealed/v1/manifest-key\0"
LABEL_SEGMENTS_KEY = b"inferonnx/sealed/v1/segments-key\0"
LABEL_MANIFEST = b"inferonnx/sealed/v1/manifest\0"
LABEL_SEGMENT = b"inferonnx/sealed/v1/segment\0"
LABEL_WRAPPING_KEY = b"inferonnx/sealed/v1/wrapping-key\0"
LABEL_KEY_ID = b"inferonnx/sealed/v1/key-id\0"
LABEL_KEY_FILE = b"inferonnx/sealed/v1/key-file\0"
LABEL_LEAF = b"\x00"
LABEL_NODE = b"\x01"

# Limits. A reader checks each before it allocates or derives anything.
MAX_RELEASE = (1 << 53) - 1  # the largest integer that every JSON reader keeps exact
MAX_INTEGER = (1 << 53) - 1  # likewise, for every number in the manifest
MAX_SEGMENTS = 1 << 20  # 1 TiB under one key: far from the bounds of either suite
MAX_MANIFEST_BYTES = 1 << 30  # a skeleton is a protobuf, which ends at 2 GiB; memory holds it whole
MAX_JSON_BYTES = 1 << 26  # names, shapes and metadata of 100,000 nodes take less than a third
MAX_TEXT_BYTES = 1 << 24  # one string; models keep alphabets and label lists in metadata
MAX_NAME_BYTES = 255  # a model's name, which people read and compare
MAX_PARTITIONS = 1 << 16
MAX_LIST = 1 << 20  # names, weights or metadata entries in one list
MAX_RANK = 255  # no operator gives a meaning to more axes

# The owner's key file. 32 MiB of scrypt rather than the usual 128: the key may be
# read by a process whose whole budget is 64 MiB. p = 3 makes up for it.
KEY_FILE_MAGIC = "inferonnx owner key v1"
MAX_KEY_FILE_BYTES = 4096
PASSPHRASE_SALT_BYTES = 16
SCRYPT_LOG2_N = 15
SCRYPT_R = 8
SCRYPT_P = 3

DTYPE_BITS: dict[int, int] = {
    1: 32,
    2: 8,
    3: 8,
    4: 16,
    5: 16,
    6: 32,
    7: 64,
    9: 8,
    10: 16,
    11: 64,
    12: 32,
    13: 64,
    14: 64,
    15: 128,
    16: 16,
    17: 8,
    18: 8,
    19: 8,
    20: 8,
    21: 4,
    22: 4,
    23: 4,
    24: 8,
    25: 2,
    26: 2,
}
"""Bits of an element, by ONNX's number of its type; strings (8) can't be weights."""
