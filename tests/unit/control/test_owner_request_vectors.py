"""The vectors through the package and the second verifier; every rule has one or a test."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from inferonnx.control import (
    Action,
    NonceBook,
    OwnerRequest,
    encode_owner_request,
    parse_owner_header,
    verify_owner_request,
)
from inferonnx.control import nonces as nonces_module
from inferonnx.control.names import MAX_NAME_CHARS
from inferonnx.control.nonces import LABEL_NONCE, MAX_AGE_S, MAX_USED
from inferonnx.control.owner_requests import HEADER_NAME, LABEL_OWNER_REQUEST
from inferonnx.crypto import Secret
from inferonnx.errors import InferonnxError
from reader import owner_requests as second

ROOT = Path(__file__).parents[3]
FILE = json.loads((ROOT / "tests/vectors/owner-requests.json").read_text(encoding="ascii"))
SPECIFICATION = (ROOT / "docs" / "owner-requests.md").read_text(encoding="utf-8")
RULE = re.compile(r"O-\d\d")
VECTORS = pytest.mark.parametrize("vector", FILE["vectors"], ids=lambda vector: vector["name"])


def raw(digits):
    return bytes.fromhex(digits)


def asked_of(vector):
    asked = vector["asked"]
    return {
        **asked,
        "version": int(asked["version"]),
        "model_id": raw(asked["model_id"]),
    }


@VECTORS
def test_vector_is_verified_as_expected(vector):
    server, asked = vector["server"], asked_of(vector)
    nonces = NonceBook(Secret(raw(server["nonce_secret"])))
    for nonce in server["used"]:
        nonces.use(raw(nonce), server["now_s"])

    def verify(text):
        verify_owner_request(
            parse_owner_header(text),
            **{**asked, "action": Action[asked["action"].upper()]},
            server_key_hash=raw(server["server_key_hash"]),
            owner=raw(server["owner"]),
            nonces=nonces,
            now_s=server["now_s"],
        )

    assert outcomes(verify, vector, InferonnxError) == expected(vector)


@VECTORS
def test_vector_has_the_same_outcome_by_the_second_verifier(vector):
    server, asked = vector["server"], asked_of(vector)
    known = second.Server(
        owner=raw(server["owner"]),
        server_key_hash=raw(server["server_key_hash"]),
        nonce_secret=raw(server["nonce_secret"]),
        used=map(raw, server["used"]),
    )
    verify = lambda text: known.verify(text, server["now_s"], **asked)  # noqa: E731
    assert outcomes(verify, vector, second.Refused) == expected(vector)


def outcomes(verify, vector, error_class):
    """Return the codes for the header that is sent before, if there is one, and the header."""
    codes = []
    for text in [vector[name] for name in ("before", "header") if name in vector]:
        try:
            verify(text)
            codes.append("ok")
        except error_class as error:
            codes.append(error.code)
    return codes


def expected(vector):
    return ["owner.refused"] * ("before" in vector) + [vector["expect"]]


@VECTORS
def test_message_is_that_of_both(vector):
    if "message" not in vector:
        assert vector["cause"] != "nothing is wrong"
        return
    asked = asked_of(vector)
    header = parse_owner_header(vector["header"])
    key_hash = raw(vector["server"]["server_key_hash"])
    request = OwnerRequest(
        **{**asked, "action": Action[asked["action"].upper()]},
        server_key_hash=key_hash,
        nonce=header.nonce,
    )
    message = second.message(
        asked["action"], key_hash, header.nonce, asked["model_id"], asked["version"], asked["name"]
    )
    assert encode_owner_request(request).hex() == vector["message"] == message.hex()


def test_vectors_have_one_name_each_and_cover_all_outcomes():
    names = [vector["name"] for vector in FILE["vectors"]]
    assert len(set(names)) == len(names)
    assert {vector["expect"] for vector in FILE["vectors"]} == {
        "ok",
        "model.name",
        "owner.nonce",
        "owner.refused",
        "owner.request",
    }
    assert "TEST KEYS" in FILE["warning"]


def test_second_verifier_does_not_know_the_package():
    source = (ROOT / "tests" / "reader" / "owner_requests.py").read_text(encoding="utf-8")
    assert "import inferonnx" not in source
    assert "from inferonnx" not in source


def rules_of_the_specification():
    return re.findall(r"^\*\*(O-\d\d)\*\*", SPECIFICATION, re.MULTILINE)


def test_rules_are_numbered_without_gaps():
    rules = rules_of_the_specification()
    assert rules == [f"O-{i:02}" for i in range(1, len(rules) + 1)]


def test_every_paragraph_that_binds_is_a_rule():
    body = SPECIFICATION.split("## 2. What is asked for")[1].split("## 8. Security")[0]
    for paragraph in re.split(r"\n\n", body):
        if re.search(r"\bMUST\b", paragraph):
            assert RULE.search(paragraph) or paragraph.startswith("in this order, with lower-case")


def test_every_rule_has_a_vector_or_a_test():
    cited = {rule for vector in FILE["vectors"] for rule in vector["rules"]}
    for path in (ROOT / "tests" / "unit").glob("*/test_*.py"):
        if path != Path(__file__):
            cited |= set(RULE.findall(path.read_text(encoding="utf-8")))
    rules = set(rules_of_the_specification())
    assert sorted(rules - cited) == []
    assert sorted(cited - rules) == []


def test_every_rule_that_the_code_cites_exists():
    cited = set()
    for path in (ROOT / "src" / "inferonnx").rglob("*.py"):
        cited |= set(RULE.findall(path.read_text(encoding="utf-8")))
    assert cited
    assert sorted(cited - set(rules_of_the_specification())) == []


def test_table_of_actions_is_the_code_s():
    rows = re.findall(r"^\| (\d) \| `(\w+)` \|", SPECIFICATION, re.MULTILINE)
    assert rows == [(str(action.value), action.name.lower()) for action in Action]


def test_names_and_numbers_are_the_code_s():
    for label in (LABEL_OWNER_REQUEST, LABEL_NONCE):
        assert f'"{label[:-1].decode()}\\0"' in SPECIFICATION
    assert f"`{HEADER_NAME}`" in SPECIFICATION
    assert f"more than {MAX_AGE_S} seconds ago" in SPECIFICATION
    assert f"here: {MAX_USED:,} used nonces" in SPECIFICATION
    assert f"1 to {MAX_NAME_CHARS} ASCII letters" in SPECIFICATION
    assert f"{nonces_module.NONCE_RANDOM_BYTES} random bytes ||" in SPECIFICATION
    assert f"the first {nonces_module.MAC_BYTES} bytes of" in SPECIFICATION


def test_error_codes_are_those_of_the_table_of_steps():
    codes = set(re.findall(r"`((?:owner|model)\.[a-z]+)`", SPECIFICATION))
    assert codes == {vector["expect"] for vector in FILE["vectors"]} - {"ok"}
