"""`inferonnx infer`: ask a served model."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from inferonnx.app.host.inputs import find_samples, read_sample
from inferonnx.cli import interrupts
from inferonnx.cli.options import add_files, add_json, check_outputs, positive, verb
from inferonnx.cli.outputs import Outputs
from inferonnx.cli.servers import add_server, connect
from inferonnx.errors import ExitCode
from inferonnx.oip import BadReplyError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from inferonnx.cli.main import Verbs


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `infer`."""
    parser = verb(
        verbs,
        name,
        "Ask a served model for its outputs. The server is verified before anything is sent.\n"
        "Takes a token with the role infer, where the server is not open to everybody.",
        "  inferonnx infer https://models:8443 resnet --input input.npz --ca server.pem\n"
        "  inferonnx infer https://models:8443 resnet --input test_data_set_0 -o output.npz \\\n"
        "      --ca server.pem --token-file client.token",
    )
    add_server(parser)
    parser.add_argument("name", metavar="NAME", help="what the server calls the model")
    add_files(parser)
    parser.add_argument(
        "--version", metavar="V", type=positive, help="default: the newest that is ready"
    )
    parser.add_argument(
        "--repeat", metavar="N", type=positive, default=1, help="ask for each sample N times"
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    samples: Sequence[tuple[str, ...]] = [()]
    if options.input is not None:
        samples = find_samples(options.input)
    outputs = Outputs(options.output, n_samples=len(samples), shows=not options.json)
    read = [file for files in samples for file in files]
    check_outputs([outputs.file], options=options, inputs=read)
    latency_ms: list[float] = []
    with ExitStack() as stack:
        client = stack.enter_context(connect(options))
        version = options.version or ""
        metadata = client.metadata(options.name, version)
        input_names = _names(metadata, "inputs")
        outputs.begin(dict.fromkeys(_names(metadata, "outputs"), "tensor("), stack)
        for number, files in enumerate(samples):
            sample = read_sample(files, input_names)
            for _ in range(options.repeat):
                interrupts.check()
                start = time.perf_counter()
                values = client.infer(options.name, sample, version=version)
                latency_ms.append((time.perf_counter() - start) * 1e3)
            outputs.take(number, values)
    _tell(options, n_samples=len(samples), latency_ms=latency_ms)
    return ExitCode.DONE


def _names(metadata: dict[str, Any], side: str) -> list[str]:
    """Return the names of a model's inputs or outputs, in its order."""
    try:
        names = [entry["name"] for entry in metadata[side]]
    except (KeyError, TypeError) as error:
        raise BadReplyError(f"the server does not say what the model's {side} are") from error
    if not all(isinstance(name, str) for name in names):
        raise BadReplyError(f"the server does not say what the model's {side} are")
    return names


def _tell(options: argparse.Namespace, *, n_samples: int, latency_ms: list[float]) -> None:
    if options.json:
        facts = {
            "schema": "inferonnx.infer/1",
            "model": options.name,
            "samples": n_samples,
            "latency_ms": [round(ms, 3) for ms in latency_ms],
            "first_latency_ms": round(latency_ms[0], 3),
        }
        print(json.dumps(facts))
        return
    middle = sorted(latency_ms)[len(latency_ms) // 2]
    print(f"median {middle:.1f} ms of {len(latency_ms)}", file=sys.stderr)
    if options.output:
        print(f"wrote {options.output}", file=sys.stderr)
