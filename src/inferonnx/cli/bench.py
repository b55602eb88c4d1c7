"""`inferonnx bench`: measure the sealed stream and the server against plain onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from inferonnx.cli.bench_peers import add_folders, add_peers
from inferonnx.cli.options import positive, size, verb
from inferonnx.cli.printing import say_error
from inferonnx.cli.progress import Progress
from inferonnx.crypto import SUITES
from inferonnx.errors import ExitCode
from inferonnx.paper.artifact import EIGHT
from inferonnx.sizes import MIB, format_size

if TYPE_CHECKING:
    import argparse

    from inferonnx.bench import StreamBench
    from inferonnx.bench.serve import ServeBench
    from inferonnx.cli.main import Verbs

SMALL = "squeezenet1.0-7"
"""A 224 x 224 image in, a thousand classes out: what a server adds shows most on it."""

LARGE = "resnet152-v2-7"

NINE = (*EIGHT, "vgg16-7")


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `bench` and its subjects: stream, serve, soak, peers."""
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
    _add_stream(subjects)
    _add_serve(subjects)
    _add_soak(subjects)
    add_peers(subjects)


def _add_stream(subjects: Verbs) -> None:
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
    add_folders(stream)
    stream.set_defaults(run=_stream)


def _add_serve(subjects: Verbs) -> None:
    serve = verb(
        subjects,
        "serve",
        "A server in a process of its own, asked over TLS by clients at once: its peak of\n"
        "memory, answers a second against plain onnxruntime in memory, what the server adds to\n"
        "the engine's time, and the least budget in which it serves.",
        "",
        overview="the server against plain onnxruntime, under load",
    )
    serve.add_argument("--model", metavar="NAME", default=LARGE, help="(default: %(default)s)")
    serve.add_argument(
        "--memory", metavar="SIZE", type=size, default=96 * MIB, help="budget (default: 96MiB)"
    )
    serve.add_argument("--clients", metavar="N", type=positive, default=8, help="(default: 8)")
    serve.add_argument("--rounds", metavar="N", type=positive, default=7, help="(default: 7)")
    serve.add_argument(
        "--suite", choices=tuple(SUITES), metavar="SUITE", default="aes-256-gcm", help="of the file"
    )
    add_folders(serve)
    serve.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    from inferonnx.bench.models import bench_cases
    from inferonnx.bench.serve import as_json, bench_serve
    from inferonnx.runtime.whole_files import whole_file

    output = Path(options.output)
    progress = Progress()
    try:
        key, cases, failed = bench_cases(
            [options.model, SMALL],
            models=Path(options.zoo),
            work=output / "bench",
            suites=[options.suite],
            progress=progress,
        )
        for error in failed.values():
            raise error
        machine, figures = bench_serve(
            cases[0],
            cases[1],
            key=key,
            suite=options.suite,
            memory=options.memory,
            clients=options.clients,
            rounds=options.rounds,
            work=output / "bench" / "serve",
            progress=progress,
        )
    finally:
        progress.done()
    report = output / "bench-serve.json"
    with whole_file(str(report)) as file:
        file.write(as_json(machine, figures).encode())
    print(_serve_table(figures))
    print(f"wrote {report}")
    return ExitCode.DONE


def _serve_table(figures: ServeBench) -> str:
    from statistics import median

    from inferonnx.report import markdown_table

    least = figures.least_bytes
    rows = [
        ["budget, MiB", f"{figures.memory_bytes / MIB:.0f}"],
        [f"peak with {figures.clients} clients, MiB", f"{figures.peak_bytes / MIB:.1f}"],
        ["after start, MiB", f"{figures.idle_bytes / MIB:.1f}"],
        ["least budget that serves them, MiB", f"{least / MIB:.0f}" if least else "none"],
        ["peak there, MiB", f"{figures.least_peak_bytes / MIB:.1f}"],
        ["plain onnxruntime, a second", f"{median(figures.plain_per_s):.2f}"],
        [f"{figures.clients} clients, a second", f"{median(figures.served_per_s):.2f}"],
        ["of plain", f"{figures.ratio:.2f}"],
        ["one client, a second", f"{median(figures.single_per_s):.2f}"],
        [f"{figures.small}: added by the server, ms", f"{median(figures.overhead_ms):.2f}"],
        [f"{figures.small}: engine, ms", f"{median(figures.engine_ms):.2f}"],
        [f"{figures.small}: client in all, ms", f"{median(figures.client_ms):.2f}"],
    ]
    return markdown_table([figures.model, "median"], rows)


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
    print("\n".join(["", *_ratios(rows), ""]))
    print(f"wrote {report}")
    for name, error in failed.items():
        say_error(f"{name}: {error.message}", where=error.where, hint=error.hint)
    return next((error.exit_code for error in failed.values()), ExitCode.DONE)


def _table(rows: list[StreamBench]) -> str:
    from statistics import median

    from inferonnx.report import markdown_table

    heads = ["model", "engine", "budget MiB", "ms", "ratio", "idle", "limit", "peak MiB"]
    return markdown_table(
        [*heads, "streamed MB", "CPU s", "load ms", "load peak MiB"],
        [
            [
                row.model,
                _engine(row),
                "all" if row.memory_bytes is None else f"{row.memory_bytes / MIB:.0f}",
                f"{median(row.latency_ms):.1f}",
                f"{row.ratio:.2f}",
                f"{row.idle_ratio:.2f}",
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


def _ratios(rows: list[StreamBench]) -> list[str]:
    """Return a line an engine and budget: the median over the models, and the worst."""
    from statistics import median

    engines: dict[tuple[str, int | None], list[StreamBench]] = {}
    for row in rows:
        if row.suite and row.model != "vgg16-7":  # the paper's models, where all were measured
            engines.setdefault((_engine(row), row.memory_bytes), []).append(row)
    lines = []
    for (engine, memory), group in engines.items():
        worst = max(group, key=lambda row: row.ratio)
        lines.append(
            f"- {engine}, {'all' if memory is None else format_size(memory)}: median ratio "
            f"{median(row.ratio for row in group):.2f} "
            f"({median(row.idle_ratio for row in group):.2f} after a pause), "
            f"worst {worst.ratio:.2f} ({worst.model}), {len(group)} models without vgg16-7"
        )
    return lines


def _engine(row: StreamBench) -> str:
    if not row.suite:
        return "plain onnxruntime"
    return row.suite if row.page_drop else f"{row.suite}, no page drop"


def _add_soak(subjects: Verbs) -> None:
    soak = verb(
        subjects,
        "soak",
        "A server that lives through uploads, deletes and loads in a row, then through mixed\n"
        "load with clients that vanish: its memory at the end against after warm-up, and every\n"
        "error that nobody asked for. Ends with 4 unless all of it is as it should be.",
        "",
        overview="a server under turnover and mixed load, for a long time",
    )
    soak.add_argument(
        "--rounds", metavar="N", type=positive, default=1000, help="turnovers (default: 1000)"
    )
    soak.add_argument(
        "--minutes", metavar="N", type=positive, default=10, help="of mixed load (default: 10)"
    )
    soak.add_argument(
        "--memory", metavar="SIZE", type=size, default=128 * MIB, help="budget (default: 128MiB)"
    )
    add_folders(soak)
    soak.set_defaults(run=_soak)


def _soak(options: argparse.Namespace) -> int:
    from inferonnx.bench.models import bench_cases
    from inferonnx.bench.soak import as_json, soak
    from inferonnx.report import markdown_table
    from inferonnx.runtime.whole_files import whole_file

    output = Path(options.output)
    progress = Progress()
    try:
        key, cases, failed = bench_cases(
            [SMALL, LARGE],
            models=Path(options.zoo),
            work=output / "bench",
            suites=["aes-256-gcm"],
            progress=progress,
        )
        for error in failed.values():
            raise error
        machine, found = soak(
            *cases,
            key=key,
            suite="aes-256-gcm",
            memory=options.memory,
            rounds=options.rounds,
            seconds=60.0 * options.minutes,
            work=output / "bench",
            progress=progress,
        )
    finally:
        progress.done()
    report = output / "soak.json"
    with whole_file(str(report)) as file:
        file.write(as_json(machine, found).encode())
    rows = [
        [what, f"{start / MIB:.1f}", f"{stop / MIB:.1f}"]
        for what, (start, stop) in (
            (f"{found.n_rounds} turnovers", found.turnover_bytes),
            (f"{found.n_answers} answers, {found.n_vanished} vanished", found.load_bytes),
        )
    ]
    print(markdown_table(["", "MiB after warm-up", "MiB at the end"], rows))
    print(f"peak {found.peak_bytes / MIB:.1f} MiB of {found.memory_bytes / MIB:.0f}")
    print(f"wrote {report}")
    for text in found.errors:
        say_error(text)
    return ExitCode.DONE if found.is_sound else ExitCode.REFUSED
