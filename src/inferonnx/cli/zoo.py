"""`inferonnx zoo`: list, build and fetch models to try things on."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from inferonnx import zoo
from inferonnx.cli.options import add_json, verb
from inferonnx.cli.progress import Progress
from inferonnx.errors import ExitCode, UsageError
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inferonnx.cli.main import Verbs

SCHEMA = "inferonnx.zoo-list/1"

_DESCRIPTION = """\
Models to try things on.

`build` writes published models (SqueezeNet, ResNet, BERT, ...) with their published
graph, names, input layout and number of weights. The weights are seeded random
numbers, and the file says so in its metadata: right for measuring, useless for
recognising cats. A real, trained file of the same name is recognised and kept.

`fetch` brings small trained models whose right answers are known out of pinned
Python packages. It needs pip and the network, and runs nothing of a package."""

_EXAMPLES = """\
  inferonnx zoo list
  inferonnx zoo build squeezenet1.0-7 resnet152-v2-7
  inferonnx zoo fetch magika
  inferonnx plan models/resnet152-v2-7/resnet152-v2-7.onnx --memory 85MiB"""

_BUILD = """\
Write OUT/NAME/NAME.onnx and a sample input, OUT/NAME/test_data_set_0/input_0.pb.

A file appears whole or not at all. One that is already there is kept if it is
what would be built, or the published file; any other is left alone unless
--force is given."""

_FETCH = """\
Download the pinned package with pip, take its models out, check the SHA-256 of
each and keep the licences beside them. Nothing is installed or executed."""


def add_parser(verbs: Verbs, name: str = "zoo") -> None:
    """Register the verb and its three commands."""
    parser = verb(verbs, name, _DESCRIPTION, _EXAMPLES)
    commands = parser.add_subparsers(dest="zoo_command", metavar="COMMAND", required=True)
    listing = verb(
        commands,
        "list",
        "Say which models can be built and fetched, with sizes and licences.",
        "  inferonnx zoo list\n  inferonnx zoo list --json",
        overview="say which models there are",
    )
    add_json(listing)
    listing.set_defaults(run=_list)
    building = verb(
        commands,
        "build",
        _BUILD,
        "  inferonnx zoo build squeezenet1.0-7\n"
        "  inferonnx zoo build minilm-l6 bert-base -o /data/models\n"
        "  inferonnx zoo build --all",
        overview="write published models with seeded weights",
    )
    _add_names(building, "models", "every model of the zoo, about 3.7 GB")
    building.add_argument(
        "--partitions",
        action="store_true",
        help="cut each into NAME/partitions too, as the paper does",
    )
    building.set_defaults(run=_build)
    fetching = verb(
        commands,
        "fetch",
        _FETCH,
        "  inferonnx zoo fetch magika\n  inferonnx zoo fetch magika ppocr -o /data/trained",
        overview="bring small trained models",
    )
    _add_names(fetching, "models/trained", "every set, the large ones too: about 250 MB")
    fetching.set_defaults(run=_fetch)
    for command in (listing, building, fetching):
        # The verb has --debug too; whoever writes it behind the command means the same.
        command.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


def _add_names(parser: argparse.ArgumentParser, folder: str, all_help: str) -> None:
    parser.add_argument("names", metavar="NAME", nargs="*", help="names, as `zoo list` has them")
    parser.add_argument("--all", action="store_true", help=all_help)
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        default=folder,
        help=f"folder to write to, made if needed (default: {folder})",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace unknown files that stand in the way"
    )


def _names(options: argparse.Namespace, table: Mapping[str, object]) -> Sequence[str]:
    """Return the names that were asked for, each once; the rooms say whether they exist."""
    if options.all == bool(options.names):
        raise UsageError("name the models or say --all, one of the two")
    return list(table) if options.all else list(dict.fromkeys(options.names))


def _list(options: argparse.Namespace) -> int:
    if options.json:
        print(json.dumps(_listing(), indent=2, ensure_ascii=False))
        return ExitCode.DONE
    print("to build (zoo build NAME):")
    for model in zoo.MODELS.values():
        size = format_size(model.size_bytes)
        print(f"  {model.name:24}{size:>11}  opset {model.opset:<3} {model.summary}")
    print("\nto fetch, trained (zoo fetch NAME):")
    for item in zoo.TRAINED.values():
        size = format_size(item.wheel_bytes)
        print(f"  {item.name:24}{size:>11}  {item.licence:13}  {item.summary}")
    return ExitCode.DONE


def _listing() -> dict[str, object]:
    """Return what `zoo list --json` prints; docs/zoo.md describes it."""
    models = [
        {
            "name": model.name,
            "summary": model.summary,
            "opset": model.opset,
            "ir_version": model.ir_version,
            "size_bytes": model.size_bytes,
            "size_difference": model.size_difference,
            "n_floats": model.n_floats,
            "n_nodes": model.n_nodes,
            "operators": dict(model.histogram),
            "inputs": {sample.input: list(sample.shape) for sample in model.samples},
            "outputs": list(model.outputs),
            "published": [
                {"source": real.source, "size_bytes": real.n_bytes, "sha256": real.sha256}
                for real in model.published
            ],
        }
        for model in zoo.MODELS.values()
    ]
    trained = [
        {
            "name": item.name,
            "summary": item.summary,
            "requirement": item.requirement,
            "licence": item.licence,
            "download_bytes": item.wheel_bytes,
            "files": {member.file: member.sha256 for member in item.members},
        }
        for item in zoo.TRAINED.values()
    ]
    return {"schema": SCHEMA, "models": models, "trained": trained}


def _build(options: argparse.Namespace) -> int:
    names = _names(options, zoo.MODELS)
    for name in names:
        zoo.zoo_model(name)  # a misspelt last name should not cost the first ones' minutes
    for name in names:
        done = _build_one(name, options)
        print(f"{done.path}: {_became(done)}, {format_size(done.n_bytes)}", flush=True)
        if options.partitions:
            _partition_one(done)
    return ExitCode.DONE


def _partition_one(done: zoo.Built) -> None:
    from inferonnx.paper.partitions import make_partitions

    line = Progress()
    try:
        made = make_partitions(
            done.name, done.path, progress=lambda text: line(f"{done.name}: {text}")
        )
    finally:
        line.done()
    state = "written" if made.is_new else "unchanged"
    print(f"{made.chain.folder}: {len(made.chain.links)} partitions, {state}", flush=True)


def _build_one(name: str, options: argparse.Namespace) -> zoo.Built:
    line = Progress()

    def draw(done: int, total: int) -> None:
        line(f"{name}: {100 * done // total} %")

    try:
        return zoo.build(name, options.output, force=options.force, progress=draw)
    finally:
        line.done()


def _became(done: zoo.Built) -> str:
    """Return in words what happened to a model's file."""
    match done.outcome:
        case zoo.Outcome.BUILT:
            return "built, synthetic weights"
        case zoo.Outcome.KEPT:
            return "kept, built before"
        case zoo.Outcome.PUBLISHED:
            return f"kept, the published file ({done.source})"


def _fetch(options: argparse.Namespace) -> int:
    names = _names(options, zoo.TRAINED)
    wanted = [zoo.trained_set(name) for name in names]
    for item in wanted:
        print(
            f"{item.name}: {item.requirement}, {item.licence}, {format_size(item.wheel_bytes)}",
            file=sys.stderr,
        )
        got = zoo.fetch(item.name, options.output, force=options.force)
        how = "fetched" if got.is_new else "kept, fetched before"
        for path in got.paths:
            print(f"{path}: {how}", flush=True)
    return ExitCode.DONE
