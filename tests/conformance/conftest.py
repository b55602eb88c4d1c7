"""Small cases of our own, for what the standard's suite does not try."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from inferonnx.backend.cases import Case


@pytest.fixture(scope="session")
def sum_case():
    """Return a maker of cases: the sum of the given inputs, expected to be `answer`."""

    def make(*inputs, answer=None, ir_version=8):
        names = [f"x{i}" for i in range(len(inputs))]
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
        graph = helper.make_graph(
            [helper.make_node("Sum", names, ["y"])],
            "sum",
            infos,
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        )
        opset = helper.make_opsetid("", 8)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=ir_version)
        return Case(
            name="test_sum",
            kind="node",
            variant="as it is",
            model=model.SerializeToString(),
            data_sets=((list(inputs), [np.zeros(2, np.float32) if answer is None else answer]),),
            rtol=1e-3,
            atol=1e-7,
        )

    return make
