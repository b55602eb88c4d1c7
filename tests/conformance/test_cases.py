"""What the suite is asked, and what it is asked in addition."""

import numpy as np
import onnx
import pytest

from inferonnx.backend.cases import load_cases, with_constants

A, B = np.ones(2, np.float32), np.full(2, 3, np.float32)


def test_all_inputs_but_the_first_become_initializers(sum_case):
    turned = with_constants(sum_case(A, B, B))
    model = onnx.ModelProto.FromString(turned.model)
    assert [value.name for value in model.graph.input] == ["x0"]
    assert [tensor.name for tensor in model.graph.initializer] == ["x1", "x2"]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(model.graph.initializer[0]), B)
    assert turned.variant == "constants"
    ((inputs, _),) = turned.data_sets
    assert inputs == [A]


def test_old_versions_list_initializers_as_inputs_too(sum_case):
    model = onnx.ModelProto.FromString(with_constants(sum_case(A, B, ir_version=3)).model)
    assert [value.name for value in model.graph.input] == ["x0", "x1"]


def test_what_has_one_tensor_or_none_has_no_variant(sum_case):
    assert with_constants(sum_case(A)) is None
    assert with_constants(sum_case(A, [B])) is None
    assert with_constants(sum_case(A, None)) is None


def test_sequences_stay_inputs_beside_constants(sum_case):
    turned = with_constants(sum_case(A, [B], B))
    model = onnx.ModelProto.FromString(turned.model)
    assert [value.name for value in model.graph.input] == ["x0", "x1"]
    ((inputs, _),) = turned.data_sets
    assert len(inputs) == 2
    assert isinstance(inputs[1], list)


@pytest.mark.parametrize("kind", ["simple", "pytorch-operator", "pytorch-converted", "real"])
def test_cases_have_an_array_for_every_input_and_output(kind):
    for loaded in load_cases([kind]):
        model = onnx.ModelProto.FromString(loaded.model)
        constants = {tensor.name for tensor in model.graph.initializer}
        wanted = [value for value in model.graph.input if value.name not in constants]
        for inputs, outputs in loaded.data_sets:
            assert len(inputs) == len(wanted), loaded.name
            assert len(outputs) == len(model.graph.output), loaded.name
