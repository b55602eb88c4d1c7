"""`inferonnx bench peers`: tract and plain onnxruntime beside the sealed stream."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from inferonnx.cli.options import positive, size, verb
from inferonnx.cli.printing import say, say_error
from inferonnx.cli.progress import Progress
from inferonnx.errors import ExitCode
from inferonnx.paper.artifact import EIGHT
from inferonnx.sizes import MIB, format_size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from inferonnx.bench.peers import PeerRow
    from inferonnx.cli.main import Verbs
    from inferonnx.epc import Limit

REPORT = "peers.json"


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Add what every subject of `bench` has: where models are, and where reports go."""
    parser.add_argument("--zoo", default="models", help="folder of the models (default: models)")
    parser.add_argument(
        "-o", "--output", default="results", help="folder for reports (default: results)"
    )


def add_peers(subjects: Verbs) -> None:
    """Add `peers` to the subjects of `bench`."""
    parser = verb(
        subjects,
        "peers",
        "tract (the paper's engine) whole and in partitions, in memory, loaded from disk on each\n"
        "inference as the paper's system does, and from encrypted files; plain onnxruntime in\n"
        "memory; and the sealed stream. Each alone in a process, answers checked by category.",
        "  inferonnx bench peers --models resnet152-v2-7\n"
        "  inferonnx bench peers --epc 85MiB --allow-system-changes",
        overview="the paper's engine and plain onnxruntime beside the sealed stream",
    )
    parser.add_argument(
        "--models", nargs="+", metavar="NAME", default=list(EIGHT), help="(default: the eight)"
    )
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        type=size,
        help="budget of the sealed stream (default: 5 MiB below --epc, or else 85MiB)",
    )
    parser.add_argument(
        "--epc", metavar="SIZE", type=size, help="run every engine within this enforced limit"
    )
    parser.add_argument(
        "--allow-system-changes",
        action="store_true",
        help="let --epc add swap and change settings of the machine, which are restored",
    )
    parser.add_argument(
        "--partitions",
        metavar="FOLDER",
        default="partitions",
        help="within a model's folder; made where missing (default: partitions)",
    )
    parser.add_argument(
        "--runs", metavar="N", type=positive, default=5, help="inferences of each (default: 5)"
    )
    add_folders(parser)
    parser.set_defaults(run=_peers)


def _peers(options: argparse.Namespace) -> int:
    from inferonnx.bench.limiting import limited
    from inferonnx.bench.peer_subjects import peer_subjects
    from inferonnx.bench.peers import as_json, bench_peers
    from inferonnx.bench.tract_peer import tract_module
    from inferonnx.paper.partitions import folder_name, make_partitions
    from inferonnx.runtime.whole_files import whole_file

    tract_module()
    output = Path(options.output)
    memory = options.memory or _budget(options.epc)
    progress = Progress()
    try:
        key, subjects, failed = peer_subjects(
            options.models,
            models=Path(options.zoo),
            partitions=folder_name(options.partitions),
            work=output / "bench",
            cut=lambda name, path, folder, tell: make_partitions(name, path, folder, progress=tell),
            progress=progress,
        )
        with limited(
            options.epc,
            allow_system_changes=options.allow_system_changes,
            progress=progress,
            say=say,
        ) as limit:
            facts = _facts(limit, memory)
            rows = _earlier(output / REPORT, facts, options.models)
            for subject in subjects:
                for row in bench_peers(
                    subject,
                    key=key,
                    memory=memory,
                    runs=options.runs,
                    work=output / "bench",
                    spawn=limit.spawn,
                    progress=progress,
                ):
                    rows.append(row)
                    # Kept one by one: an interrupt may come in the next, which may take minutes.
                    with whole_file(str(output / REPORT)) as file:
                        file.write(as_json(facts, rows).encode())
    finally:
        progress.done()
    print(f"{limit.label.value}; budget of the sealed stream {format_size(memory)}")
    print(_table(rows))
    for row in rows:
        if row.error:
            print(f"{row.model}, {row.engine}, {row.form}, {row.storage}: {row.error}")
    print(f"wrote {output / REPORT}")
    for name, error in failed.items():
        say_error(f"{name}: {error.message}", where=error.where, hint=error.hint)
    return next((error.exit_code for error in failed.values()), ExitCode.DONE)


def _budget(epc: int | None) -> int:
    from inferonnx.bench.limiting import BESIDE_BYTES

    return 85 * MIB if epc is None else max(epc - BESIDE_BYTES, MIB)


def _facts(limit: Limit, memory: int) -> dict[str, object]:
    from inferonnx.bench.machine import machine_facts

    return {
        "machine": machine_facts() | {"tract": version("tract")},
        "label": limit.label.value,
        "limit_bytes": limit.limit_bytes,
        "memory_bytes": memory,
    }


def _earlier(path: Path, facts: dict[str, object], models: Sequence[str]) -> list[PeerRow]:
    """Return what an earlier run under the same conditions measured of other models."""
    from inferonnx.bench.peers import kept_rows

    if not path.exists():
        return []
    return kept_rows(path.read_text("utf-8", "replace"), facts, models)


def _table(rows: Sequence[PeerRow]) -> str:
    from inferonnx.bench.peers import ratios
    from inferonnx.report import markdown_table

    heads = ["model", "engine", "form", "storage", "files", "ms", "to us", "peak MiB", "faults"]
    return markdown_table(
        heads,
        [
            [
                *(row.model, row.engine, row.form, row.storage, row.n_files),
                f"{median(row.latency_ms):.1f}" if row.latency_ms else "-",
                "-" if ratio is None else f"{ratio:.2f}",
                f"{row.peak_bytes / MIB:.1f}" if row.peak_bytes else "-",
                f"{median(row.major_faults):.0f}" if row.major_faults else "-",
            ]
            for row, ratio in zip(rows, ratios(rows), strict=True)
        ],
    )
