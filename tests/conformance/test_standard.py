"""The backend as the standard describes backends."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import inferonnx.backend
from inferonnx.errors import ModelError, TensorError, UsageError

X = np.array([[1, 2], [3, 4]], np.float32)


def model(nodes, inputs, outputs, constants=(), opset=17):
    infos = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
        for names in (inputs, outputs)
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in dict(constants).items()]
    return helper.make_model(
        helper.make_graph(nodes, "g", *infos, tensors),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )


@pytest.fixture
def chain():
    """Three nodes that can't be fused, each with a weight of its own."""
    nodes = [
        helper.make_node("Sub", ["x", "a"], ["p"]),
        helper.make_node("Cos", ["p"], ["q"]),
        helper.make_node("Mul", ["q", "b"], ["y"]),
    ]
    return model(nodes, ["x"], ["y"], {"a": X, "b": X * 2})


def test_the_room_is_a_backend_of_the_standard():
    assert issubclass(inferonnx.backend.SealedBackend, onnx.backend.base.Backend)
    assert issubclass(inferonnx.backend.SealedRep, onnx.backend.base.BackendRep)
    assert inferonnx.backend.supports_device("CPU")
    assert not inferonnx.backend.supports_device("CUDA")


def test_every_node_is_a_partition_and_every_weight_is_streamed(chain):
    with inferonnx.backend.prepare(chain) as rep:
        assert (rep.n_partitions, rep.n_streamed) == (0, 0)
        for x in (X, X + 1):
            (y,) = rep.run([x])
            np.testing.assert_allclose(y, np.cos(x - X) * X * 2, rtol=1e-6)
            assert (rep.n_partitions, rep.n_streamed) == (3, 2)


def test_small_initializers_stay_inside_when_asked(chain):
    with inferonnx.backend.prepare(chain, inline_bytes=X.nbytes) as rep:
        rep.run([X])
        assert (rep.n_partitions, rep.n_streamed) == (3, 0)


@pytest.mark.parametrize("inputs", [[X], (X,), X, {"x": X}])
def test_inputs_come_as_list_by_name_or_alone(chain, inputs):
    (y,) = inferonnx.backend.run_model(chain, inputs)
    np.testing.assert_allclose(y, X * 2, rtol=1e-6)


def test_numpy_scalars_are_tensors_of_rank_0():
    node = helper.make_node("Add", ["a", "b"], ["c"])
    (c,) = inferonnx.backend.run_node(node, [np.float32(1), np.float32(2)])
    assert c.shape == ()
    assert c == 3


def test_a_node_runs_by_itself():
    node = helper.make_node("TopK", ["x", "k"], ["values", "places"])
    values, places = inferonnx.backend.run_node(node, [X, np.array([1])], opset_version=11)
    np.testing.assert_array_equal(values, [[2], [4]])
    np.testing.assert_array_equal(places, [[1], [1]])


def test_sequences_come_back_as_lists():
    node = helper.make_node("SplitToSequence", ["x"], ["parts"], axis=0)
    (parts,) = inferonnx.backend.run_node(node, [X], opset_version=11)
    assert isinstance(parts, list)
    np.testing.assert_array_equal(parts[1], X[1:])


def test_what_does_not_fit_is_refused_in_a_sentence(chain):
    with pytest.raises(UsageError, match="no device 'CUDA'"):
        inferonnx.backend.prepare(chain, "CUDA")
    with pytest.raises(UsageError, match="has 1 inputs, not 2"):
        inferonnx.backend.run_model(chain, [X, X])
    with pytest.raises(TensorError, match="float64"):
        inferonnx.backend.run_model(chain, [X.astype(np.float64)])
    with pytest.raises(ModelError, match="no operator"):
        inferonnx.backend.run_model(
            model([helper.make_node("No", ["x"], ["y"])], ["x"], ["y"]), [X]
        )


def test_a_model_can_be_closed_and_run_again(chain):
    rep = inferonnx.backend.prepare(chain)
    first = rep.run([X])
    rep.close()
    rep.close()
    np.testing.assert_array_equal(rep.run([X]), first)
    rep.close()
