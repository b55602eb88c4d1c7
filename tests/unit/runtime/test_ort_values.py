import onnx

from inferonnx.runtime.ort_values import dump, load
from inferonnx.runtime.small_models import empty_sequence_model
from inferonnx.tensors import DType, Tensor


def test_strings_sequences_and_maps_come_back_as_they_went_in(environment, floats):
    words = Tensor(dtype=DType.STRING, shape=(2, 1), strings=("zwei Wörter", ""))
    for thing in (words, [floats(1), floats(2, 3)], [words]):
        assert dump(environment, load(environment, thing)) == thing
    counts = {"a": floats(1, shape=(1,)), "b": floats(2, shape=(1,))}
    scalars = {key: Tensor(dtype=DType.FLOAT, shape=(), data=t.data) for key, t in counts.items()}
    assert dump(environment, load(environment, scalars)) == scalars
    by_number = {7: scalars["a"], -1: scalars["b"]}
    assert dump(environment, load(environment, by_number)) == by_number


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
