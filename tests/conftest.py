"""Before anything else: no telemetry of a dependency, in no test."""

import os
import sys
import tempfile
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import pytest
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper

# How long an example takes depends on who else uses the machine.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def small_cnn(path, *, channels=32, classes=10):
    """Write a convolutional model of a few hundred kB: streams in several partitions."""
    rng = np.random.default_rng(7)

    def weight(name, *shape):
        scale = (2 / np.prod(shape[1:])) ** 0.5
        return numpy_helper.from_array(
            (rng.standard_normal(shape) * scale).astype(np.float32), name
        )

    nodes, weights, last, width = [], [], "image", 3
    for i in range(4):
        weights += [weight(f"w{i}", channels, width, 3, 3), weight(f"b{i}", channels)]
        nodes += [
            helper.make_node(
                "Conv", [last, f"w{i}", f"b{i}"], [f"c{i}"], pads=[1, 1, 1, 1], name=f"conv{i}"
            ),
            helper.make_node("Relu", [f"c{i}"], [f"r{i}"], name=f"relu{i}"),
        ]
        last, width = f"r{i}", channels
    weights.append(weight("dense", channels, classes))
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("MatMul", ["flat", "dense"], ["scores"], name="secret_head"),
    ]
    graph = helper.make_graph(
        nodes,
        "secret_graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", classes])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.metadata_props.add(key="author", value="the tests")
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def cnn(tmp_path_factory):
    """A small convolutional model on disk."""
    return small_cnn(tmp_path_factory.mktemp("cnn") / "cnn.onnx")


@pytest.fixture(scope="session")
def key_path(tmp_path_factory):
    """An owner's key file."""
    from inferonnx.app.host.keys import Key

    path = tmp_path_factory.mktemp("key") / "owner.key"
    Key.generate().save(path)
    return path


@pytest.fixture(scope="session")
def sealed_cnn(cnn, key_path, tmp_path_factory):
    """The small model, sealed for 85 MiB."""
    import inferonnx

    path = tmp_path_factory.mktemp("sealed") / "cnn.sealed"
    inferonnx.seal(cnn, path, key=inferonnx.Key.load(key_path), memory="85MiB", release=3)
    return path


@pytest.fixture(scope="session")
def sealed_deep(cnn, key_path, tmp_path_factory):
    """The small model, sealed for a batch of 512: its passes take more than all weights."""
    import inferonnx

    path = tmp_path_factory.mktemp("deep") / "deep.sealed"
    key = inferonnx.Key.load(key_path)
    inferonnx.seal(cnn, path, key=key, memory="400MiB", dims={"batch": 512})
    return path


@pytest.fixture(scope="session")
def unnumbered_cnn(cnn, key_path, tmp_path_factory):
    """The small model, sealed without a release."""
    import inferonnx

    path = tmp_path_factory.mktemp("unnumbered") / "cnn.sealed"
    inferonnx.seal(cnn, path, key=inferonnx.Key.load(key_path), memory="8GiB")
    return path


@pytest.fixture(scope="session")
def scratch(tmp_path_factory):
    """Where enforced limits have copies of all libraries: they are made once for all tests."""
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture
def memory_path(tmp_path):
    """A folder in memory where there is one: for tests that sync hundreds of files.

    What is killed there leaves what it would have left on a disk: the kernel lives on.
    """
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def without_aegis(monkeypatch):
    """A process in which libaegis is not installed, whether it is or not."""
    from inferonnx.crypto import aegis

    monkeypatch.setitem(sys.modules, "pyaegis", None)  # to the import system: there is none
    aegis._library.cache_clear()
    yield
    aegis._library.cache_clear()


@pytest.fixture
def image():
    """A sample of the small model: float32 (1, 3, 16, 16)."""
    return np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32)
