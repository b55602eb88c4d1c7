"""A chain of operators in a process of its own: the time and the faults of each.

`python -m inferonnx.bench.operator_worker CONFIG` where CONFIG is a JSON object: folder of
the chain, sample (.npz), warm runs, counted runs. Prints one JSON object: of each counted
run, seconds and major faults by link. On one thread: a pool for each of a thousand
sessions would be measured instead.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

from inferonnx.errors import InferonnxError
from inferonnx.runtime import children

if TYPE_CHECKING:
    from typing import Any


def main() -> int:
    """Run the chain as often as was asked."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    config = json.loads(sys.argv[1])
    try:
        answer = _run(config)
    except InferonnxError as error:
        print(json.dumps({"error": children.told(error)}))  # noqa: T201
        return error.exit_code
    print(json.dumps(answer))  # noqa: T201
    return 0


def _run(config: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from inferonnx.model.chain import ChainSession, load_chain

    session = ChainSession(load_chain(config["folder"]), n_threads=1)
    with np.load(config["sample"]) as arrays:
        sample = dict(arrays)
    seconds, faults = [], []
    for i in range(config["warm"] + config["runs"]):
        counts: list[int] = []

        def count(*_: object, counts: list[int] = counts) -> None:
            counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_majflt)

        run = session.run(sample, watch=count)  # told before each link
        count()
        if i >= config["warm"]:
            seconds.append(run.seconds)
            faults.append([after - before for before, after in pairwise(counts)])
    return {"seconds": seconds, "faults": faults}


if __name__ == "__main__":
    sys.exit(main())
