"""`inferonnx run`: run a sealed model inside a memory budget.

This verb promises a peak of memory, so it imports no more than it needs: neither
numpy nor onnx.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from inferonnx.app.inputs import iter_samples, save_outputs
from inferonnx.app.opening import open as open_sealed
from inferonnx.cli.keys import load_key
from inferonnx.cli.options import add_json, add_key, add_memory, verb
from inferonnx.errors import ExitCode, UsageError
from inferonnx.runtime.process import peak_resident_bytes
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    import argparse

    from inferonnx.app.session import Session
    from inferonnx.cli.main import Verbs
    from inferonnx.engine import PassEvent


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `run`."""
    parser = verb(
        verbs,
        name,
        "run a sealed model inside a memory budget",
        "Run a sealed model straight from its encrypted file, partition by partition, and\n"
        "never hold more memory than --memory, the interpreter and libraries included.",
        "  inferonnx run resnet.sealed --key owner.key --input input.npz -o output.npz\n"
        "  inferonnx run resnet.sealed --key owner.key --input test_data_set_0 --json --repeat 9\n"
        "  inferonnx run resnet.sealed --key owner.key --input x.npy --trace trace.json",
    )
    parser.add_argument("model", metavar="MODEL.sealed")
    add_key(parser)
    parser.add_argument(
        "--input",
        metavar="FILE",
        required=True,
        help="inputs: .npz, .npy, TensorProto .pb, or a folder with input_0.pb, ... or with "
        "several samples",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write outputs: .npz or .npy")
    add_memory(parser, None, "default: the budget of seal; more keeps more resident")
    parser.add_argument(
        "--repeat", metavar="N", type=int, default=1, help="run each sample N times"
    )
    parser.add_argument("--threads", metavar="N", type=int, help="threads (default: all cores)")
    parser.add_argument(
        "--pin",
        metavar="PIN",
        help="run this model only: a model id, or owner=HEX,release=N,name=NAME "
        "(that release or a newer one)",
    )
    parser.add_argument(
        "--trace", metavar="FILE", help="write a Chrome trace: open and compute, by partition"
    )
    parser.add_argument(
        "--no-page-drop",
        action="store_true",
        help="keep clean pages of libraries resident, as inside an SGX library OS",
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.repeat < 1:
        raise UsageError(f"--repeat {options.repeat} is not a positive number")
    pin = None
    if options.pin:
        from inferonnx.sealed import parse_pin

        pin = parse_pin(options.pin)
    key = load_key(options)
    with open_sealed(
        options.model,
        key=key,
        memory=options.memory,
        pin=pin,
        threads=options.threads,
        as_numpy=False,
        page_drop=not options.no_page_drop,
    ) as session:
        events: list[PassEvent] = []
        if options.trace:
            session.trace(events.append)
        latency_ms = []
        inputs = [value.name for value in session.get_inputs()]
        for sample in iter_samples(options.input, inputs):
            for _ in range(options.repeat):
                start = time.perf_counter()
                outputs = session.run(None, sample)
                latency_ms.append((time.perf_counter() - start) * 1e3)
        names = [value.name for value in session.get_outputs()]
        if options.output:
            save_outputs(options.output, _tensors(names, outputs))
        if options.trace:
            _write_trace(options.trace, events)
        facts = _facts(session, latency_ms)
        if options.json:
            print(json.dumps(facts))
        else:
            _show(facts, dict(zip(names, outputs, strict=True)), wrote=options.output)
    return ExitCode.DONE


def _tensors(names: list[str], outputs: list[Any]) -> dict[str, Any]:
    from inferonnx.tensors import Tensor

    for name, value in zip(names, outputs, strict=True):
        if not isinstance(value, Tensor):
            raise UsageError(
                f"output {name!r} is a sequence or map, which .npz files can't hold",
                hint="Use the Python API for this model.",
            )
    return dict(zip(names, outputs, strict=True))


def _facts(session: Session, latency_ms: list[float]) -> dict[str, object]:
    figures = session.figures
    return {
        "schema": "inferonnx.run/1",
        "model_id": session.model_id,
        "name": session.name,
        "latency_ms": [round(ms, 3) for ms in latency_ms],
        "first_latency_ms": round(latency_ms[0], 3),
        "open_ms": round(figures.open_ms, 3),
        "peak_rss_bytes": peak_resident_bytes(),
        "predicted_peak_bytes": figures.peak_bytes,
        "budget_bytes": figures.budget_bytes,
        "partitions": figures.n_partitions,
        "resident_partitions": figures.n_resident,
        "resident_bytes": figures.resident_bytes,
        "streamed_bytes": figures.streamed_bytes,
    }


def _show(facts: dict[str, Any], outputs: dict[str, Any], *, wrote: str | None) -> None:
    latency = sorted(facts["latency_ms"])
    for name, value in outputs.items():
        print(f"{name}: {_summary(value)}")
    peak = facts["peak_rss_bytes"]
    print(
        f"median {latency[len(latency) // 2]:.1f} ms of {len(latency)}, opened in "
        f"{facts['open_ms']:.0f} ms; peak {format_size(peak) if peak else 'unknown'} of "
        f"{format_size(facts['budget_bytes'])}; {facts['resident_partitions']} of "
        f"{facts['partitions']} partitions resident, {format_size(facts['streamed_bytes'])} "
        "streamed a pass",
        file=sys.stderr,
    )
    if wrote:
        print(f"wrote {wrote}", file=sys.stderr)


def _summary(value: Any) -> str:
    from inferonnx.tensors import DType, Tensor

    if not isinstance(value, Tensor):
        return f"{type(value).__name__} of {len(value)}"
    text = f"{value.dtype.onnx_name} {list(value.shape)}"
    if value.dtype is DType.FLOAT and value.n_elements:
        numbers = value.data.cast("f")
        largest = max(range(len(numbers)), key=numbers.__getitem__)
        return f"{text}, largest {numbers[largest]:.6g} at {largest}"
    if value.n_elements <= 8:
        return f"{text} {value.tolist()}"
    return text


def _write_trace(path: str, events: list[PassEvent]) -> None:
    """Write the events in Chrome's trace format: microseconds, one row for each kind."""
    from inferonnx.runtime.files import whole_file

    rows = [
        {
            "name": f"{event.what} {event.partition}",
            "cat": event.what,
            "ph": "X",
            "ts": event.start_ns / 1e3,
            "dur": (event.stop_ns - event.start_ns) / 1e3,
            "pid": 1,
            "tid": 1 if event.what == "compute" else 2,
            "args": {"partition": event.partition},
        }
        for event in events
    ]
    with whole_file(path) as file:
        file.write(json.dumps({"traceEvents": rows}).encode())
