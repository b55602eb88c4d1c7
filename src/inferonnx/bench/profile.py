"""Where a model's memory and time go, operator by operator: outside the limit and inside.

Memory is counted from the original graph. Time is measured on the chain of its operators
in one process, so that inside the limit paging is charged to the operator that faults.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferonnx.app.owner.partitioning import measured_graph, partition
from inferonnx.bench.accounting import alive_bytes, operator_needs, part_need
from inferonnx.bench.machine import machine_facts
from inferonnx.bench.operators import RUNS, WARM_RUNS, Spent, time_operators
from inferonnx.epc import unlimited
from inferonnx.errors import ModelError
from inferonnx.model.chain import choose_sample, read_original
from inferonnx.model.scratch import place_for
from inferonnx.report import PROFILE_SCHEMA
from inferonnx.runtime.files import translate
from inferonnx.runtime.whole_files import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inferonnx.bench.accounting import Need
    from inferonnx.epc import Limit
    from inferonnx.graph import Graph
    from inferonnx.model.chain import Chain

    Progress = Callable[[str], None]


def profile_model(
    model: str,
    *,
    epc_bytes: int,
    limit: Limit | None = None,
    sample: Mapping[str, Any] | None = None,
    dims: Mapping[str, int] | None = None,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Return a profile, an object of schema `inferonnx.profile/1`.

    Args:
        model: The ONNX file.
        epc_bytes: The enclave page cache to compare with.
        limit: Where "inside" is; None measures outside alone.
        sample: Inputs by name; made up from the signature when not given.
        dims: Sizes of open dims for a sample that is made up.
        progress: Told what happens.

    Raises:
        ModelError: The model can't be read, or onnxruntime refuses it or one operator; with
            a limit, an input is no tensor.
        UnavailableError: The process inside the limit is killed again and again; no room.
    """
    limit = limit or unlimited()
    with scratch_folder(_place(model)) as scratch:
        cache = os.path.join(scratch, "operators.json")
        graph = measured_graph(model, sample=sample, dims=dims, cache=cache, progress=progress)
        outside = [Spent(seconds * 1e3, None) for seconds in graph.times_s]
        inside: list[Spent] | None = None
        if limit.limit_bytes is not None:
            arrays = os.path.join(scratch, "sample.npz")
            _save_sample(model, arrays, sample, dims)
            folder = os.path.join(scratch, "operators")
            chain = partition(model, folder, strategy="operators", progress=progress).chain
            progress("running the operators outside")
            outside = _spent(chain, arrays, unlimited(), len(graph.nodes))
            progress("running the operators inside the limit")
            inside = _spent(chain, arrays, limit, len(graph.nodes))
    entire = part_need(graph, 0, len(graph.nodes))
    return {
        "schema": PROFILE_SCHEMA,
        "model": Path(model).name,
        "machine": machine_facts(),
        "epc_bytes": epc_bytes,
        "limit_bytes": limit.limit_bytes,
        "label": limit.label.value,
        "weights_bytes": entire.weights_bytes,
        "activation_bytes": entire.activation_bytes,
        "entire_peak_bytes": entire.n_bytes,
        "notes": _notes(inside is not None),
        "operators": _operators(graph, outside, inside),
    }


def _place(model: str) -> str:
    """Return a folder with room for the model's operators as files."""
    try:
        return place_for(2 * os.path.getsize(model))
    except OSError as error:
        raise translate(error, model, "reading") from error


def _notes(is_inside: bool) -> list[str]:
    how = "memory is counted from the original graph: weights, and values that are alive at once"
    times = "times: each operator by itself, onnxruntime's default threads, median of warm runs"
    if is_inside:
        times = (
            f"times: the chain of operators in one process, on one thread, median of {RUNS} runs "
            f"after {WARM_RUNS} that are not counted"
        )
    return [how, times]


def _operators(
    graph: Graph, outside: list[Spent], inside: list[Spent] | None
) -> list[dict[str, Any]]:
    needs: list[Need] = operator_needs(graph)
    alive = alive_bytes(graph)
    return [
        {
            "index": i,
            "name": node.name,
            "type": node.op_type,
            "weights_bytes": needs[i].weights_bytes,
            "activation_bytes": needs[i].activation_bytes,
            "peak_bytes": needs[i].n_bytes,
            "alive_bytes": alive[i],
            "outside_ms": round(outside[i].ms, 6),
            "inside_ms": round(inside[i].ms, 6) if inside else None,
            "faults": inside[i].faults if inside else None,
        }
        for i, node in enumerate(graph.nodes)
    ]


def _save_sample(
    model: str, path: str, sample: Mapping[str, Any] | None, dims: Mapping[str, int] | None
) -> None:
    import numpy as np

    chosen = choose_sample(read_original(model), dims=dims, sample=sample)
    other = [name for name, value in chosen.items() if not isinstance(value, np.ndarray)]
    if other:
        raise ModelError(
            f"input {other[0]!r} is no tensor, so this model is not measured inside a limit",
            where=other[0],
            hint="Profile it without --epc.",
        )
    np.savez(path, **chosen)


def _spent(chain: Chain, sample: str, limit: Limit, n_operators: int) -> list[Spent]:
    """Return what each operator took; those that can't be parted count for the first of them."""
    found = time_operators(chain, sample, limit)
    return [found.get(i, Spent(0.0, 0.0)) for i in range(n_operators)]
