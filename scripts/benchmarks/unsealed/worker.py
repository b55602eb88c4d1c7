"""The unencrypted engine in a process of its own: worker.py CONFIG, a JSON object.

Driven by lines, as `inferonnx.bench.worker`: each line on standard input is the number of
a sample to run, each answer a JSON object; the first comes when the model is open.
CONFIG: `model` (of unseal.py), `samples` (.npz files), `resident`, `cold` (the file's
pages are dropped from the page cache before each run), `steps` (tell each partition's
time), `spin` (whether idle workers do).
"""

from __future__ import annotations

import json
import os
import sys
import time

from plain_file import open_plain
from steps import Steps

from inferonnx.runtime.files import read_file
from inferonnx.tensors import parse_npz


def main() -> int:
    """Open the model, then run samples until standard input ends."""
    config = json.loads(sys.argv[1])
    samples = config["samples"]
    start = time.perf_counter()
    with open_plain(
        config["model"], resident=config["resident"], spin=config.get("spin")
    ) as session:
        load_ms = (time.perf_counter() - start) * 1e3
        _answer({"load_ms": load_ms, **session.figures._asdict()})
        steps = Steps()
        session.trace(steps if config.get("steps") else None)
        for line in sys.stdin:
            sample = parse_npz(read_file(samples[int(line) % len(samples)]))
            if config.get("cold"):
                forget(config["model"])
            start = time.perf_counter()
            session.run(None, sample)
            ms = (time.perf_counter() - start) * 1e3
            _answer({"ms": ms, "partition_ms": steps.taken_ms()})
    return 0


def forget(path: str) -> None:
    """Drop a file's pages from the page cache: the next read comes from the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(fd)  # dirty pages stay
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def _answer(facts: dict[str, object]) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    sys.exit(main())
