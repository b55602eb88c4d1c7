"""One engine in a process of its own, driven by lines on its standard input.

`python -m inferonnx.bench.worker CONFIG` where CONFIG is a JSON object. Each line
on stdin is the number of a sample to run; each answer is a line with a JSON
object. The first answer comes when the model is loaded; an error of ours is an
answer too, and the last one. Samples are .npz files. An answer tells more where the
configuration's "tells" is a word of `_TOLD`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from inferonnx.errors import InferonnxError
from inferonnx.runtime import children

if TYPE_CHECKING:
    from collections.abc import Callable

    Feed = Callable[[int], Any]
    Run = Callable[[Any], object]


EVERYTHING_BYTES = 1 << 50
"""A budget that holds any model whole."""


def main() -> int:
    """Load what the configuration names, then run samples until stdin ends."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    config = json.loads(sys.argv[1])
    load = _LOADERS[config["engine"]]
    try:
        feed, run, facts = load(config)
        _answer(facts)
        for line in sys.stdin:
            first, count = (int(word) for word in (*line.split(), "1")[:2])
            ms, results = _timed(run, [feed(first + i) for i in range(count)])
            tells = config.get("tells")
            told = {tells: _TOLD[tells](results[0])} if tells else {}
            del results  # or the outputs would be held through the next run
            _answer({"ms": ms, **told})
    except InferonnxError as error:
        _answer({"error": children.told(error)})
        return error.exit_code
    return 0


def _timed(run: Run, inputs: list[Any]) -> tuple[float, list[object]]:
    """Return the milliseconds of running all inputs at once, and what came of one of them.

    The inputs go before the next are read.
    """
    start = time.perf_counter()
    results = _at_once(run, inputs)
    return (time.perf_counter() - start) * 1e3, results


def largest(results: Any) -> int | None:
    """Return where the first output, of whatever kind, is largest; None if it has no floats."""
    import array

    first = results[0]
    if getattr(getattr(first, "dtype", None), "name", "") not in ("float32", "FLOAT"):
        return None
    floats = array.array("f", bytes(first.data))
    return max(range(len(floats)), key=floats.__getitem__, default=None)


def _load_plain(config: dict[str, object]) -> tuple[Feed, Run, dict[str, object]]:
    """Plain onnxruntime with its defaults, the whole model in memory."""
    import numpy as np
    import onnxruntime

    samples = [dict(np.load(path)) for path in _paths(config)]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    start = time.perf_counter()
    session = onnxruntime.InferenceSession(
        str(config["model"]), options, providers=["CPUExecutionProvider"]
    )
    load_ms = (time.perf_counter() - start) * 1e3
    return (
        lambda i: samples[i % len(samples)],
        lambda inputs: session.run(None, inputs),
        {"load_ms": load_ms},
    )


def _load_stream(config: dict[str, object]) -> tuple[Feed, Run, dict[str, object]]:
    """The sealed file, streamed within a budget; neither numpy nor onnx is loaded."""
    from inferonnx.app.host.keys import Key
    from inferonnx.app.host.opening import open as open_sealed
    from inferonnx.runtime.files import read_file
    from inferonnx.tensors import parse_npz

    key = Key.load(str(config["key"]))
    paths = _paths(config)
    start = time.perf_counter()
    memory = config["memory"]
    session = open_sealed(
        str(config["model"]),
        key=key,
        memory=int(memory) if isinstance(memory, int) else EVERYTHING_BYTES,
        as_numpy=False,
        concurrency=int(str(config.get("calls", 1))),
        page_drop=bool(config.get("page_drop", True)),
        spin=None if config.get("spin") is None else bool(config["spin"]),
    )
    load_ms = (time.perf_counter() - start) * 1e3
    facts = {"load_ms": load_ms, **session.figures._asdict()}
    return (
        lambda i: parse_npz(read_file(paths[i % len(paths)])),  # one in memory, as for `run`
        lambda inputs: session.run(None, inputs),
        facts,
    )


def _load_rate(config: dict[str, object]) -> tuple[Feed, Run, dict[str, object]]:
    """Nothing but reading and opening all segments once, on one core."""
    from inferonnx.app.host.keys import Key
    from inferonnx.app.host.opened_file import open_file
    from inferonnx.engine import BlockLoader
    from inferonnx.runtime.process import PrivateBuffer

    opened = open_file(str(config["model"]), key=Key.load(str(config["key"])))
    blocks = [partition.block_bytes for partition in opened.manifest.partitions]
    buffer = PrivateBuffer(max(blocks, default=0))
    loader = BlockLoader(opened.source, opened.opener, n_threads=1)

    def run(_: Any) -> None:
        for i, n_bytes in enumerate(blocks):
            if n_bytes:
                loader.load(i, buffer.view[:n_bytes])

    return lambda i: i, run, {"n_bytes": sum(blocks)}


def _load_tract(config: dict[str, object]) -> tuple[Feed, Run, dict[str, object]]:
    """tract, whole or in partitions, loaded by a first run, kept or loaded on each one."""
    import numpy as np

    from inferonnx.bench.tract_peer import PeerLink, TractChain
    from inferonnx.crypto import Secret
    from inferonnx.runtime.files import read_file, read_key_file
    from inferonnx.runtime.process import resident_bytes

    described = json.loads(read_file(str(config["links"])))
    chain = TractChain(
        [PeerLink(**link) for link in described["links"]],
        storage=str(config["storage"]),
        key=Secret(read_key_file(str(config["key"]))) if config.get("key") else None,
    )
    outputs = [str(name) for name in described["outputs"]]
    samples = [dict(np.load(path)) for path in _paths(config)]
    floor = resident_bytes()
    start = time.perf_counter()
    chain.run(samples[0], outputs)
    load_ms = (time.perf_counter() - start) * 1e3
    return (
        lambda i: samples[i % len(samples)],
        lambda sample: chain.run(sample, outputs),
        {"load_ms": load_ms, "floor_bytes": floor},
    )


def _load_chain(config: dict[str, object]) -> tuple[Feed, Run, dict[str, object]]:
    """A chain of plain ONNX files on plain onnxruntime, its links timed, on one thread.

    Without arenas: each session would keep one with all that its operator ever gave, and
    a thousand of them would be what is paged. Nor has each a pool of threads.
    """
    import resource

    import numpy as np

    from inferonnx.model.chain import ChainSession, load_chain
    from inferonnx.model.onnxruntime_door import open_session, session_options

    options = session_options(optimise="all", n_threads=1)
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    start = time.perf_counter()
    chain = load_chain(str(config["folder"]))
    sessions = [open_session(chain.path(link), options) for link in chain.links]
    load_ms = (time.perf_counter() - start) * 1e3
    session = ChainSession(chain, sessions=sessions)
    samples = [dict(np.load(path)) for path in _paths(config)]

    def run(sample: Any) -> dict[str, object]:
        counts: list[int] = []

        def count(*_: object) -> None:
            counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_majflt)

        seconds = session.run(sample, watch=count).seconds  # told before each link
        count()
        faults = [after - before for before, after in pairwise(counts)]
        return {"seconds": seconds, "faults": faults}

    return lambda i: samples[i % len(samples)], run, {"load_ms": load_ms}


_LOADERS = {
    "chain": _load_chain,
    "plain": _load_plain,
    "stream": _load_stream,
    "rate": _load_rate,
    "tract": _load_tract,
}

_TOLD: dict[str, Callable[[Any], object]] = {
    "largest": largest,  # where the first output is
    "links": lambda run: run,  # seconds and major faults of each
}


def _at_once(run: Run, inputs: list[Any]) -> list[object]:
    """Run all inputs at once: one on this thread, several on a thread each."""
    if len(inputs) == 1:
        return [run(inputs[0])]
    import threading

    failed: list[BaseException] = []
    results: list[object] = []

    def run_one(one: Any) -> None:
        try:
            results.append(run(one))
        except BaseException as error:  # it is raised again, on the thread that answers
            failed.append(error)

    threads = [threading.Thread(target=run_one, args=(one,)) for one in inputs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return results


def _paths(config: dict[str, object]) -> list[str]:
    paths = config["samples"]
    return [str(path) for path in paths] if isinstance(paths, list) else []


def _answer(facts: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
