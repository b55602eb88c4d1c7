from __future__ import annotations

import json

import pytest

from inferonnx.errors import SealedFormatError
from inferonnx.sealed import (
    HEADER_BYTES,
    describe_header,
    describe_manifest,
    parse_header,
    verify_header,
)


def test_header_is_described_in_plain_values(good_file, forge):
    verified = verify_header(parse_header(good_file))
    tree = describe_header(verified, file_bytes=len(good_file))
    assert json.loads(json.dumps(tree)) == tree
    assert tree["model_id"] == verified.model_id.hex()
    assert tree["owner"] == forge.OWNER.public_key.hex()
    assert tree["key_id"] == forge.OWNER.public_id
    assert (tree["suite"], tree["release"], tree["format_version"]) == ("aes-256-gcm", 3, 1)
    assert HEADER_BYTES + tree["segments_bytes"] + tree["manifest_bytes"] == tree["file_bytes"]


def test_header_of_a_file_that_is_cut_short_is_not_described(good_file):
    with pytest.raises(SealedFormatError):
        describe_header(verify_header(parse_header(good_file)), file_bytes=HEADER_BYTES)


def test_manifest_is_described_in_plain_values_without_its_secrets(good_file, forge, steps):
    _, manifest = steps.open(good_file, forge.OWNER, None, [])
    tree = describe_manifest(manifest)
    text = json.dumps(tree)
    assert json.loads(text) == tree
    assert tree["name"] == "tïny"
    assert tree["n_segments"] == 3
    assert tree["weight_bytes"] == 128 + 128 + 192
    assert [p["weight_bytes"] for p in tree["partitions"]] == [128, 0, 128, 192]
    assert tree["memory"]["least_bytes"] == 40 << 20
    assert tree["inputs"] == [{"name": "x", "type": "tensor(float)", "shape": [1, "N", None]}]
    assert (tree["has_probe"], tree["has_check"]) == (True, True)
    assert "skeleton 0" not in text
