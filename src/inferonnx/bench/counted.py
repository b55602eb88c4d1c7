"""Inferences of plain onnxruntime and nothing else, for who counts from outside.

`python -m inferonnx.bench.counted MODEL SAMPLE.npz N` loads the model on one thread and
runs it N times. What N inferences take is the difference between two such processes:
loading, and the first inference with what it allocates, are in both.
"""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the model as often as was asked."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import numpy as np
    import onnxruntime

    model, sample, count = sys.argv[1:]
    inputs = dict(np.load(sample))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1  # a simulator has one core; on one, counts repeat
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for _ in range(int(count)):
        session.run(None, inputs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
