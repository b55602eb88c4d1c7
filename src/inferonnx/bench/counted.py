"""Inferences of plain onnxruntime and nothing else, for who counts from outside.

`python -m inferonnx.bench.counted MODEL SAMPLE.npz N` loads the model on one thread, says
"loaded", and runs it N times once its standard input has ended: who counts can begin there.
The process ends right behind the last inference, without what Python does at its end.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the model as often as was asked, and end the process."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import numpy as np
    import onnxruntime

    model, sample, count = sys.argv[1:]
    inputs = dict(np.load(sample))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1  # a simulator has one core; on one, counts repeat
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    sys.stdout.write("loaded\n")
    sys.stdout.flush()
    sys.stdin.read()
    for _ in range(int(count)):
        session.run(None, inputs)
    os._exit(0)


if __name__ == "__main__":
    main()
