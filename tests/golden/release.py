"""Make the sealed files that a release leaves behind, for every later one to read.

python tests/golden/release.py        # writes releases/<version>/ beside it

One small model for any processor, sealed twice: `optimal.sealed` in one partition,
`paper.sealed` cut in two. `test.key` opens both. A folder is never made anew once
its version is released.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import inferonnx

RELEASES = Path(__file__).parent / "releases"
WARNING = "# TEST KEY: it is public. Never seal anything else with it.\n"


def model() -> onnx.ModelProto:
    """Return a model with weights to stream, dynamic sizes, metadata, two inputs and outputs."""
    rng = np.random.default_rng(20)

    def weight(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(rng.standard_normal(shape, np.float32) / 4, name)

    nodes = [
        helper.make_node("Conv", ["image", "w0", "b0"], ["c"], pads=[1, 1, 1, 1], name="first"),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "w1"], ["d"], name="second"),
        helper.make_node("GlobalAveragePool", ["d"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense", "bias"], ["logits"], name="head"),
        helper.make_node("Mul", ["logits", "scale"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "release",
        [
            helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8]),
            helper.make_tensor_value_info("scale", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10]),
            helper.make_tensor_value_info("best", TensorProto.INT64, ["batch"]),
        ],
        [
            weight("w0", 16, 3, 3, 3),
            weight("b0", 16),
            weight("w1", 16, 16, 3, 3),
            weight("dense", 16, 10),
            weight("bias", 10),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    made.metadata_props.add(key="alphabet", value="äöü 😀")
    onnx.checker.check_model(made)
    return made


def write_release(folder: Path) -> None:
    """Seal the model into a new `folder`, with the key that opens it."""
    folder.mkdir(parents=True)
    key = inferonnx.Key.generate()
    with tempfile.TemporaryDirectory() as scratch:
        onnx.save(model(), Path(scratch) / "model.onnx")
        key.save(Path(scratch) / "key")
        (folder / "test.key").write_text(WARNING + (Path(scratch) / "key").read_text())
        for strategy in ("optimal", "paper"):
            inferonnx.seal(
                Path(scratch) / "model.onnx",
                folder / f"{strategy}.sealed",
                key=key,
                memory="85MiB",
                name="release",
                release=7,
                target="generic",
                strategy=strategy,
            )


if __name__ == "__main__":
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    write_release(RELEASES / inferonnx.__version__)
    sys.stdout.write(f"wrote {RELEASES / inferonnx.__version__}\n")
