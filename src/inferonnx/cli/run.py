"""`inferonnx run`: run a sealed model inside a memory budget.

This verb promises a peak of memory, so it imports no more than it needs: neither
numpy nor onnx.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from inferonnx.app.host.inputs import find_samples, read_sample
from inferonnx.app.host.opening import open as open_sealed
from inferonnx.cli import interrupts
from inferonnx.cli.keys import load_key
from inferonnx.cli.options import (
    add_files,
    add_json,
    add_key,
    add_memory,
    check_outputs,
    positive,
    verb,
)
from inferonnx.cli.outputs import Outputs
from inferonnx.cli.printing import say_error
from inferonnx.errors import ExitCode, UsageError
from inferonnx.runtime.process import peak_resident_bytes
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from inferonnx.app.host.session import Session
    from inferonnx.cli.main import Verbs

COUNTED = (
    "note: this system does not tell what is resident: the peak is counted, not measured "
    "(the floor of sealing, buffers, resident weights, activations)"
)


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `run`."""
    parser = verb(
        verbs,
        name,
        "Run a sealed model straight from its encrypted file, partition by partition, and\n"
        "never hold more memory than --memory, the interpreter and libraries included.",
        "  inferonnx run resnet.sealed --key owner.key --input input.npz -o output.npz\n"
        "  inferonnx run resnet.sealed --key owner.key --input test_data_set_0 --json --repeat 9\n"
        "  inferonnx run resnet.sealed --key owner.key --input x.npy --trace trace.json",
    )
    parser.add_argument("model", metavar="MODEL.sealed")
    add_key(parser)
    add_files(parser)
    add_memory(parser, None, "default: the budget of seal; more keeps more resident")
    parser.add_argument(
        "--repeat", metavar="N", type=positive, default=1, help="run each sample N times"
    )
    parser.add_argument(
        "--threads", metavar="N", type=positive, help="threads (default: all cores)"
    )
    parser.add_argument(
        "--pin",
        metavar="PIN",
        help="run this model only: a model id, or owner=HEX,release=N,name=NAME "
        "(that release or a newer one)",
    )
    parser.add_argument(
        "--trace", metavar="FILE", help="write a Chrome trace: read, open and compute"
    )
    parser.add_argument(
        "--no-page-drop",
        action="store_true",
        help="keep clean pages of libraries resident, as inside an SGX library OS",
    )
    parser.add_argument(
        "--no-resident",
        action="store_true",
        help="keep nothing decrypted between passes: each reads all weights again (measurements)",
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    samples = [()] if options.input is None else find_samples(options.input)
    outputs = Outputs(options.output, n_samples=len(samples), shows=not options.json)
    read = [options.model, *(file for files in samples for file in files)]
    check_outputs([outputs.file, options.trace], options=options, inputs=read)
    pin = None
    if options.pin is not None:
        from inferonnx.sealed import parse_pin

        pin = parse_pin(options.pin)
    key = load_key(options)
    peak_before = peak_resident_bytes()
    with ExitStack() as stack:
        session = stack.enter_context(
            open_sealed(
                options.model,
                key=key,
                memory=options.memory,
                pin=pin,
                threads=options.threads,
                as_numpy=False,
                page_drop=not options.no_page_drop,
                resident=not options.no_resident,
            )
        )
        if options.input is None:
            _check_needs_none(session)
        if not session.figures.measured:
            print(COUNTED, file=sys.stderr)
        outputs.begin({value.name: value.type for value in session.get_outputs()}, stack)
        if options.trace:
            from inferonnx.cli.trace import trace_file

            session.trace(stack.enter_context(trace_file(options.trace)))
        latency_ms: list[float] = []
        for number, files in enumerate(samples):
            values, times_ms = _run_sample(session, files, options.repeat)
            outputs.take(number, values)
            latency_ms += times_ms
            del values  # no part of the next pass
        facts = _facts(session, latency_ms, n_samples=len(samples))
    if options.json:
        print(json.dumps(facts))
    else:
        _show(facts, wrote=options.output)
    return _kept(facts, peak_before)


def _check_needs_none(session: Session) -> None:
    names = [repr(value.name) for value in session.get_inputs()]
    if names:
        raise UsageError(
            f"the model has inputs and none was given: {', '.join(names)}",
            hint="Give them with --input.",
        )


def _run_sample(
    session: Session, files: Sequence[str], repeat: int
) -> tuple[dict[str, Any], list[float]]:
    """Return the outputs of a sample by name, and the milliseconds of each time it was run."""
    sample = read_sample(files, [value.name for value in session.get_inputs()])
    results: list[Any] = []
    times_ms = []
    for _ in range(repeat):
        interrupts.check()
        results = []  # the last results are no part of the next pass
        start = time.perf_counter()
        results = session.run(None, sample)
        times_ms.append((time.perf_counter() - start) * 1e3)
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, results, strict=True)), times_ms


def _kept(facts: dict[str, Any], peak_before: int | None) -> ExitCode:
    """Say so when the promise was broken by what this command did."""
    peak, budget = facts["peak_rss_bytes"], facts["budget_bytes"]
    if peak is None or peak <= budget or (peak_before or 0) > budget:
        return ExitCode.DONE
    say_error(
        f"a bug of ours: the peak was {format_size(peak)}, {format_size(peak - budget)} above "
        "the budget",
        hint="Give it more --memory, and report this with the shapes of inputs and outputs.",
    )
    return ExitCode.BUG


def _facts(session: Session, latency_ms: list[float], *, n_samples: int) -> dict[str, Any]:
    figures = session.figures
    return {
        "schema": "inferonnx.run/1",
        "model_id": session.model_id,
        "name": session.name,
        "samples": n_samples,
        "latency_ms": [round(ms, 3) for ms in latency_ms],
        "first_latency_ms": round(latency_ms[0], 3),
        "open_ms": round(figures.open_ms, 3),
        "probe_ms": None if figures.probe_ms is None else round(figures.probe_ms, 3),
        "peak_rss_bytes": peak_resident_bytes(),
        "peak_measured": figures.measured,
        "predicted_peak_bytes": figures.peak_bytes,
        "floor_bytes": figures.floor_bytes,
        "budget_bytes": figures.budget_bytes,
        "partitions": figures.n_partitions,
        "resident_partitions": figures.n_resident,
        "resident_bytes": figures.resident_bytes,
        "streamed_bytes": figures.streamed_bytes,
    }


def _show(facts: dict[str, Any], *, wrote: str | None) -> None:
    latency = sorted(facts["latency_ms"])
    peak = facts["peak_rss_bytes"]
    peak_text = format_size(peak or facts["predicted_peak_bytes"])
    print(
        f"median {latency[len(latency) // 2]:.1f} ms of {len(latency)}, opened in "
        f"{facts['open_ms']:.0f} ms; peak {peak_text}{'' if peak else ' (counted)'} of "
        f"{format_size(facts['budget_bytes'])}; {facts['resident_partitions']} of "
        f"{facts['partitions']} partitions resident, {format_size(facts['streamed_bytes'])} "
        "streamed a pass",
        file=sys.stderr,
    )
    if wrote:
        print(f"wrote {wrote}", file=sys.stderr)
