"""Every vector through the package and through the second reader."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from inferonnx.errors import AuthenticationError, InferonnxError
from inferonnx.sealed import ModelPin, ReleasePin, encode_manifest, parse_owner_key
from machine import EACH_SUITE, suites_here

VECTORS = Path(__file__).parents[2] / "vectors"
SEALED = json.loads((VECTORS / "sealed.json").read_text(encoding="ascii"))
KEYS = json.loads((VECTORS / "keys.json").read_text(encoding="ascii"))
MERKLE = json.loads((VECTORS / "merkle.json").read_text(encoding="ascii"))


def each(vectors):
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


BY_NAME = each(SEALED["vectors"])
OPENED_HERE = each([v for v in SEALED["vectors"] if v["suite"] in suites_here()])
OF_AEGIS = each([v for v in SEALED["vectors"] if v["suite"] == "aegis-256x2"])
KEY_FILES = each(KEYS["files"])


def outcome(function, *arguments) -> str:
    failure = None
    try:
        function(*arguments)
    except InferonnxError as error:
        failure = error
    if failure is None:
        return "ok"
    if failure.code == "sealed.auth":  # S-37
        assert str(failure) == AuthenticationError.MESSAGE
    return failure.code


def pin_of(tree):
    match tree:
        case None:
            return None
        case {"model_id": digits}:
            return ModelPin(model_id=bytes.fromhex(digits))
    return ReleasePin(**{**tree, "owner": bytes.fromhex(tree["owner"])})


@BY_NAME
def test_vector_without_a_key_is_checked_as_expected(vector, files, steps):
    assert outcome(steps.check, files[vector["name"]]) == vector["expect"]["check"]


@OPENED_HERE
def test_vector_with_its_key_is_opened_as_expected(vector, files, steps):
    key = parse_owner_key(SEALED["keys"][vector["key"]].encode())
    segments: list[bytes] = []
    got = outcome(steps.open, files[vector["name"]], key, pin_of(vector["pin"]), segments)
    assert (got, len(segments)) == (vector["expect"]["open"], vector["expect"]["opened"])


@OF_AEGIS
def test_vector_of_a_suite_that_is_not_installed_is_never_opened(
    vector, files, steps, without_aegis
):
    key = parse_owner_key(SEALED["keys"][vector["key"]].encode())
    segments: list[bytes] = []
    got = outcome(steps.open, files[vector["name"]], key, pin_of(vector["pin"]), segments)
    refused = {vector["expect"]["open"]} - {"ok"}  # what is wrong may be seen before the suite
    assert got in {"unavailable", *refused}
    assert segments == []


@OPENED_HERE
def test_vector_by_the_second_reader_has_the_same_outcome(vector, files, second_reader):
    data = files[vector["name"]]
    pin = vector["pin"]
    if pin is not None:
        hexadecimal = ("model_id", "owner")
        pin = {k: bytes.fromhex(v) if k in hexadecimal else v for k, v in pin.items()}
    opened = []
    try:
        second_reader.check(data)
        checked = "ok"
    except second_reader.Refused as error:
        checked = error.code
    try:
        key = second_reader.parse_key(SEALED["keys"][vector["key"]].encode())
        file = second_reader.Opened(data, key, pin)
        opened = file.segments
        file.open_all()
        result = "ok"
    except second_reader.Refused as error:
        result = error.code
    assert {"check": checked, "open": result, "opened": len(opened)} == vector["expect"]


@EACH_SUITE
def test_good_vector_opens_to_what_it_says(suite, files, steps, second_reader):
    vector = next(v for v in SEALED["vectors"] if v["name"] == f"good-{suite.name}")
    data = files[vector["name"]]
    key = SEALED["keys"]["owner"].encode()
    segments: list[bytes] = []
    model_id, manifest = steps.open(data, parse_owner_key(key), None, segments)
    text = vector["manifest"].encode()
    plain = len(text).to_bytes(4, "big") + text + bytes.fromhex(vector["blobs"])
    assert model_id.hex() == vector["model_id"]
    assert [segment.hex() for segment in segments] == vector["segments"]
    assert encode_manifest(manifest) == plain

    file = second_reader.Opened(data, second_reader.parse_key(key))
    file.open_all()
    assert (file.model_id, file.segments) == (model_id, segments)
    assert file.manifest == json.loads(text)
    assert b"".join(file.blobs) == bytes.fromhex(vector["blobs"])


def test_second_ciphertext_of_a_data_key_holder_opens_to_other_weights(files, steps):
    # The reason why the root counts: streaming can't notice, the check does.
    key = parse_owner_key(SEALED["keys"]["owner"].encode())
    sealed, changed = [], []
    steps.open(files["good-aes-256-gcm"], key, None, sealed)
    steps.open(files["gcm-second-ciphertext-under-the-tag"], key, None, changed)
    assert sealed[0] != changed[0]
    assert sealed[1:] == changed[1:]


def test_vectors_have_one_name_each_and_cover_both_outcomes():
    names = [vector["name"] for vector in SEALED["vectors"]]
    assert len(set(names)) == len(names)
    outcomes = {v["expect"]["open"] for v in SEALED["vectors"]}
    assert outcomes == {
        "ok",
        "sealed.auth",
        "sealed.format",
        "sealed.key",
        "sealed.pin",
        "sealed.signature",
        "sealed.version",
    }


def test_vectors_are_what_the_generator_makes(generator):
    suites = suites_here()
    made = generator.all_files(suites.values())
    assert set(made) == {path.name for path in VECTORS.glob("*.json")}
    for name, text in made.items():
        kept = (VECTORS / name).read_text(encoding="ascii")
        assert generator.only_of(suites, kept) == text


@KEY_FILES
def test_key_file_vector_parses_as_expected(vector, second_reader):
    text = vector["text"].encode("latin-1")
    passphrase = vector["passphrase"]
    assert outcome(lambda: parse_owner_key(text, passphrase=passphrase)) == vector["expect"]
    try:
        second_reader.parse_key(text, passphrase)
        again = "ok"
    except second_reader.Refused as error:
        again = error.code
    assert again == vector["expect"]


@pytest.mark.parametrize("vector", KEYS["sub_keys"], ids=lambda vector: vector["suite"])
def test_sub_key_vector_agrees_with_the_second_reader(vector, second_reader):
    header = {"version": 1, "suite": {"aes-256-gcm": 1, "aegis-256x2": 2}[vector["suite"]]}
    data_key = bytes.fromhex(vector["data_key"])
    for name in ("commitment", "manifest_key", "segments_key"):
        label = name.replace("_", "-").encode()
        assert second_reader.sub_key(header, data_key, label).hex() == vector[name]


def test_wrapping_vector_agrees_with_the_second_reader(second_reader):
    vector = {name: bytes.fromhex(digits) for name, digits in KEYS["wrapping"].items()}
    key_id = second_reader.hkdf(vector["wrap_secret"], b"", second_reader.label(b"key-id"), 16)
    assert key_id == vector["key_id"]
    key = second_reader.hkdf(vector["wrap_secret"], vector["wrap_salt"], vector["info"], 32)
    data_key = second_reader.aead_open(
        1, key, bytes(12), vector["model_id"], vector["wrapped_key"], vector["wrap_tag"]
    )
    assert data_key == vector["data_key"]


@pytest.mark.parametrize("vector", MERKLE["vectors"], ids=lambda vector: str(vector["n_bytes"]))
def test_merkle_vector_agrees_with_the_second_reader(vector, generator, second_reader):
    assert second_reader.merkle_root(generator.pattern(vector["n_bytes"])).hex() == vector["root"]


def test_splices_are_told_apart_from_whole_files():
    # Guards the loader: a vector that lost its change would test nothing.
    for vector in SEALED["vectors"]:
        file, expect = vector["file"], vector["expect"]
        refused = {expect["check"], expect["open"]} != {"ok"}
        if "whole" not in file and refused and vector["key"] == "owner" and not vector["pin"]:
            assert file["cut"] or base64.b64decode(file["put"]), vector["name"]


def test_second_reader_does_not_know_the_package():
    source = (VECTORS.parent / "reader" / "sealed_reader.py").read_text(encoding="utf-8")
    assert "import inferonnx" not in source
    assert "from inferonnx" not in source
