"""`inferonnx bench stream`: measure the sealed stream against plain onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from inferonnx.cli.options import positive, size, verb
from inferonnx.cli.printing import say_error
from inferonnx.cli.progress import Progress
from inferonnx.crypto import SUITES
from inferonnx.errors import ExitCode
from inferonnx.sizes import MIB

if TYPE_CHECKING:
    import argparse

    from inferonnx.bench import StreamBench
    from inferonnx.cli.main import Verbs

NINE = (
    "squeezenet1.0-7",
    "mobilenetv2-7",
    "densenet-7",
    "efficientnet-lite4-11",
    "inception-v3-12",
    "resnet101-v2-7",
    "resnet152-v2-7",
    "efficientnet-v2-l-18",
    "vgg16-7",
)


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `bench`, whose one subject so far is the stream."""
    parser = verb(
        verbs,
        name,
        "Run sealed stream and plain onnxruntime on the same inputs, interleaved in one run,\n"
        "each in its own process; peaks are read from outside. Ratios are medians over rounds.",
        "  inferonnx bench stream\n"
        "  inferonnx bench stream --models resnet152-v2-7 --memory 85MiB all "
        "--suite aegis-256x2",
    )
    subjects = parser.add_subparsers(dest="subject", metavar="SUBJECT", required=True)
    stream = verb(
        subjects,
        "stream",
        "For each model: latency ratio, peak resident memory, bytes streamed, CPU seconds, and\n"
        "beside it the physical limit as measured in the same run.",
        "",
        overview="sealed stream against plain onnxruntime, in memory",
    )
    stream.add_argument(
        "--models", nargs="+", metavar="NAME", default=list(NINE), help="(default: the nine)"
    )
    stream.add_argument(
        "--memory",
        nargs="+",
        metavar="SIZE",
        type=lambda text: None if text == "all" else size(text),
        default=[72 * MIB, 85 * MIB, None],
        help="budgets; `all` keeps everything resident (default: 72MiB 85MiB all)",
    )
    stream.add_argument(
        "--suite",
        nargs="+",
        choices=tuple(SUITES),
        metavar="SUITE",
        default=["aes-256-gcm"],
        help="aes-256-gcm, aegis-256x2, or both (default: aes-256-gcm)",
    )
    stream.add_argument(
        "--rounds",
        metavar="N",
        type=positive,
        default=11,
        help="measured rounds; short models take more (default: 11)",
    )
    stream.add_argument(
        "--calls",
        metavar="N",
        type=positive,
        default=1,
        help="calls of one session at once (default: 1)",
    )
    stream.add_argument(
        "--no-page-drop",
        action="store_true",
        help="measure also without dropping library pages, as in an SGX library OS",
    )
    stream.add_argument("--zoo", default="models", help="folder of the models (default: models)")
    stream.add_argument(
        "-o", "--output", default="results", help="folder for reports (default: results)"
    )
    stream.set_defaults(run=_stream)


def _stream(options: argparse.Namespace) -> int:
    from inferonnx.bench import bench_stream
    from inferonnx.bench.models import bench_cases
    from inferonnx.bench.stream import as_json
    from inferonnx.runtime.whole_files import whole_file

    output = Path(options.output)
    progress = Progress()
    try:
        key, cases, unsealed = bench_cases(
            options.models,
            models=Path(options.zoo),
            work=output / "bench",
            suites=options.suite,
            progress=progress,
        )
        machine, rows, failed = bench_stream(
            cases,
            unsealed,
            key=key,
            memories=options.memory,
            rounds=options.rounds,
            calls=options.calls,
            no_page_drop=options.no_page_drop,
            progress=progress,
        )
    finally:
        progress.done()
    name = "bench-stream"
    name += f"-{options.calls}-calls" if options.calls > 1 else ""
    report = output / f"{name}.json"
    with whole_file(str(report)) as file:
        file.write(as_json(machine, rows).encode())
    print(_table(rows))
    print(f"wrote {report}")
    for name, error in failed.items():
        say_error(f"{name}: {error.message}", where=error.where, hint=error.hint)
    return next((error.exit_code for error in failed.values()), ExitCode.DONE)


def _table(rows: list[StreamBench]) -> str:
    from statistics import median

    from inferonnx.report import markdown_table

    heads = ["model", "engine", "budget MiB", "ms", "ratio", "limit", "peak MiB", "streamed MB"]
    return markdown_table(
        [*heads, "CPU s", "load ms", "load peak MiB"],
        [
            [
                row.model,
                _engine(row),
                "all" if row.memory_bytes is None else f"{row.memory_bytes / MIB:.0f}",
                f"{median(row.latency_ms):.1f}",
                f"{row.ratio:.2f}",
                "" if row.limit_ratio is None else f"{row.limit_ratio:.2f}",
                f"{row.peak_bytes / MIB:.1f}",
                f"{row.streamed_bytes / 1e6:.0f}",
                f"{row.cpu_s:.3f}",
                f"{row.load_ms:.0f}",
                f"{row.open_peak_bytes / MIB:.1f}",
            ]
            for row in rows
        ],
    )


def _engine(row: StreamBench) -> str:
    if not row.suite:
        return "plain onnxruntime"
    return row.suite if row.page_drop else f"{row.suite}, no page drop"
