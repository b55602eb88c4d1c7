"""docs/protocol.md says what the code does: its tables against those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from inferonnx.oip import (
    DATATYPES,
    ERRORS,
    Limits,
    encode_document,
    model_ready,
    server_live,
    server_ready,
)
from inferonnx.oip.classification import MAX_CLASSES
from inferonnx.oip.grpc import METHODS
from inferonnx.oip.json_text import MAX_DEPTH, MAX_ITEMS, MAX_VALUE_BYTES
from inferonnx.tensors import MAX_RANK

TEXT = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its head."""
    section = re.split(r"^#+ ", TEXT.split(f"# {heading}\n", 1)[1], flags=re.MULTILINE)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_errors() -> None:
    found = {name.strip("`"): (int(rest), int(grpc)) for name, rest, grpc, _ in table("Errors")}
    assert found == {cls.__name__: codes for cls, codes in ERRORS.items()}


def test_data_types() -> None:
    found = {row[0].strip("`"): row for row in table("Data types")}
    assert list(found) == list(DATATYPES)
    for name, dtype in DATATYPES.items():
        assert found[name][3] == dtype.onnx_name
        if dtype.item_bytes:
            assert found[name][1].startswith(str(dtype.item_bytes))
        assert (found[name][2] == "not in JSON") == (name in ("FP16", "BF16"))


def test_limits() -> None:
    found = [int(row[1]) for row in table("Limits of the codec")]
    limits = Limits()
    expected = [limits.json_bytes, limits.tensor_bytes, MAX_DEPTH - 1, MAX_VALUE_BYTES]
    assert found == [*expected, MAX_ITEMS, MAX_RANK, MAX_CLASSES]


@pytest.mark.parametrize("path", [p for p in METHODS if "SharedMemory" not in p])
def test_methods_are_named(path: str) -> None:
    assert f"`{path.rpartition('/')[2]}`" in TEXT or f"{path[1:]}`" in TEXT


def test_the_number_of_methods() -> None:
    (count,) = re.findall(r"all (\d+) methods", TEXT)
    assert int(count) == sum(not path.startswith("/grpc.") for path in METHODS)


def test_bodies_of_health() -> None:
    for document in (
        server_live(live=True),
        server_ready(ready=True),
        model_ready("M", ready=True),
    ):
        assert f"`{encode_document(document).decode()}`" in TEXT
