"""ONNX models of one operator, written out: nothing of the enclave may import onnx."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferonnx.tensors import DType


def empty_sequence_model(dtype: DType) -> bytes:
    """Return an ONNX model of one SequenceEmpty: no inputs, one output of type seq(tensor).

    Field by field (onnx.proto: ModelProto 1 ir_version, 7 graph, 8 opset_import;
    GraphProto 1 node, 2 name, 12 output; NodeProto 2 output, 4 op_type, 5 attribute).
    """

    def field(number: int, content: bytes | int) -> bytes:
        if isinstance(content, int):
            return bytes([number << 3, content])
        return bytes([number << 3 | 2, len(content)]) + content

    attribute = field(1, b"dtype") + field(3, int(dtype)) + b"\xa0\x01\x02"  # type 20: INT
    node = field(2, b"empty") + field(4, b"SequenceEmpty") + field(5, attribute)
    tensor = field(1, field(1, int(dtype)))
    sequence = field(4, field(1, tensor))
    output = field(1, b"empty") + field(2, sequence)
    graph = field(1, node) + field(2, b"g") + field(12, output)
    return field(1, 8) + field(7, graph) + field(8, field(2, 17))
