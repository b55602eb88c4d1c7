import tracemalloc

import onnx
import pytest
from onnx import helper

from inferonnx.runtime.ort import OrtSession
from inferonnx.runtime.ort_values import dump, load, tensor_bytes
from inferonnx.runtime.small_models import empty_sequence_model
from inferonnx.tensors import TEXT_ERRORS, DType, Tensor


def test_strings_sequences_and_maps_come_back_as_they_went_in(environment, floats):
    words = Tensor(dtype=DType.STRING, shape=(2, 1), strings=("zwei Wörter", ""))
    for thing in (words, [floats(1), floats(2, 3)], [words]):
        assert dump(environment, load(environment, thing)) == thing
    counts = {"a": floats(1, shape=(1,)), "b": floats(2, shape=(1,))}
    scalars = {key: Tensor(dtype=DType.FLOAT, shape=(), data=t.data) for key, t in counts.items()}
    assert dump(environment, load(environment, scalars)) == scalars
    by_number = {7: scalars["a"], -1: scalars["b"]}
    assert dump(environment, load(environment, by_number)) == by_number


def test_strings_are_any_bytes(environment):
    every = bytes(range(256))
    raws = [b"", b"\0", b"a\0", b"\0b", every, b"\xff\xfe", "ß".encode(), every[::-1] * 100, b"end"]
    words = Tensor(
        dtype=DType.STRING,
        shape=(3, 3),
        strings=[raw.decode(errors=TEXT_ERRORS) for raw in raws],
    )
    back = dump(environment, load(environment, words))
    assert [text.encode(errors=TEXT_ERRORS) for text in back.strings] == raws
    assert back == words


@pytest.mark.parametrize("text", ["ab", "word" * 50, "\xe4\xe4", "a\U0001f600" * 20, "\udcff" * 9])
def test_strings_take_no_more_than_is_counted(environment, text):
    tensor = Tensor(dtype=DType.STRING, shape=(5000,), strings=[text] * 5000)
    value = load(environment, tensor)
    tracemalloc.start()
    copy = dump(environment, value)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert copy.strings == tensor.strings
    assert 0.3 * tensor_bytes(environment, value) < taken < tensor_bytes(environment, value)


def test_a_model_leaves_strings_as_they_are(environment):
    node = helper.make_node("Identity", ["x"], ["y"])
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.STRING, ["n"]) for n in "xy")
    graph = helper.make_graph([node], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = OrtSession(environment, model.SerializeToString())
    words = Tensor(dtype=DType.STRING, shape=(3,), strings=["a\0b", "\udcff", ""])
    (value,) = session.run([load(environment, words)])
    assert dump(environment, value) == words
    session.close()


@pytest.mark.parametrize("dtype", [DType.FLOAT, DType.DOUBLE, DType.FLOAT16, DType.INT8])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_elements_lie_in_their_places(environment, dtype, kind):
    memory = memoryview(kind(range(64)))
    for start in range(9):
        tensor = Tensor(dtype=dtype, shape=(4,), data=memory[start : start + dtype.n_bytes(4)])
        value = load(environment, tensor)
        address = environment.api.make("GetTensorMutableData", value.pointer)
        assert address % dtype.item_bytes == 0
        assert dump(environment, value) == tensor


def test_scalars_and_empty_tensors(environment, floats):
    for thing in (floats(5, shape=()), Tensor(dtype=DType.FLOAT, shape=(0, 3))):
        assert dump(environment, load(environment, thing)) == thing


def test_an_empty_sequence_needs_its_type(environment):
    value = load(environment, [], "seq(tensor(int64))")
    assert dump(environment, value) == []


def test_the_hand_written_model_is_what_onnx_would_write():
    parsed = onnx.ModelProto.FromString(empty_sequence_model(DType.DOUBLE))
    onnx.checker.check_model(parsed, full_check=True)
    kind = parsed.graph.output[0].type.sequence_type.elem_type.tensor_type
    assert kind.elem_type == DType.DOUBLE
