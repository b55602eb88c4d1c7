"""Partition a model as the paper does: its original graph as plain ONNX files.

Measure each operator, find the cuts, write the files; skip what is done and unchanged.
And compare the chain of files with the model.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferonnx.app.host.comparing import Difference, check_agreement, compare
from inferonnx.app.host.values import exported
from inferonnx.app.owner.planning import estimates
from inferonnx.errors import DifferenceError, ModelError, UsageError
from inferonnx.graph import Graph, Node
from inferonnx.model.chain import (
    ChainSession,
    check_model,
    choose_sample,
    cut_chain,
    infer_value_types,
    load_chain,
    make_folder,
    measure_operators,
    read_index,
    read_original,
)
from inferonnx.model.draft import domain_of
from inferonnx.model.plain import PlainModel
from inferonnx.model.values import shape_of
from inferonnx.plan import operator_bytes, operator_names, plan_optimal, plan_paper
from inferonnx.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from inferonnx.model.chain import Chain, OperatorFigures, Original

    Progress = Callable[[str], None]

STRATEGIES = ("paper", "optimal", "whole", "operators")

PAPER_LIMIT_BYTES = 85_000_000
"""What a partition's operators may add up to: the artifact counts decimal megabytes."""

OPTIMAL_BUDGET_BYTES = 85 * MIB

FIGURES = "operators.json"
"""Where what was measured of the operators is kept, unless another file is named."""

_HINT = "Cut the model again in another folder; if that differs too, report it with the model."


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator of a model's original graph, measured by itself.

    Attributes:
        index: Its place in the graph's order.
        name: The node's name; may be empty or repeated.
        type: Its operator, "Conv".
        weight_bytes: Initializers and constants that it reads.
        activation_bytes: Its inputs and outputs.
        time_ms: Median of warm runs.
    """

    index: int
    name: str
    type: str
    weight_bytes: int
    activation_bytes: int
    time_ms: float

    @property
    def peak_bytes(self) -> int:
        """What it holds by itself: the paper adds these up."""
        return self.weight_bytes + self.activation_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Partitioned:
    """A model's partitions on disk.

    Attributes:
        chain: The files.
        is_new: Whether they were written now; False where they were there, unchanged.
    """

    chain: Chain
    is_new: bool


def operator_peaks(
    model: str,
    *,
    sample: Mapping[str, Any] | None = None,
    dims: Mapping[str, int] | None = None,
    cache: str | None = None,
    progress: Progress = lambda _: None,
) -> tuple[Operator, ...]:
    """Return every operator of the original graph with its own peak and time.

    Args:
        model: The ONNX file.
        sample: Inputs by name; made up from the signature when not given.
        dims: Sizes of open dims for a sample that is made up; others are 1.
        cache: File that keeps the figures under the model's SHA-256; what was measured
            before an interrupt is gone on with.
        progress: Told what happens.

    Raises:
        ModelError: The model can't be read or run.
        UsageError: The cache is a file of another kind.
    """
    graph = measured_graph(model, sample=sample, dims=dims, cache=cache, progress=progress)
    found = []
    for index, node in enumerate(graph.nodes):
        weights = sum(graph.weight_bytes[name] for name in set(node.weights))
        found.append(
            Operator(
                index=index,
                name=node.name,
                type=node.op_type,
                weight_bytes=weights,
                activation_bytes=operator_bytes(graph, index) - weights,
                time_ms=graph.times_s[index] * 1e3,
            )
        )
    return tuple(found)


def measured_graph(
    model: str,
    *,
    sample: Mapping[str, Any] | None = None,
    dims: Mapping[str, int] | None = None,
    cache: str | None = None,
    progress: Progress = lambda _: None,
) -> Graph:
    """Return the original graph, not optimised, with exact bytes and measured times.

    Arguments and errors are those of `operator_peaks`.
    """
    original = _read(model, progress)
    return _graph(original, _measured(original, sample, dims, cache, progress))


def partition(
    model: str,
    folder: str,
    *,
    strategy: str = "paper",
    limit_bytes: int | None = None,
    memory_intensive: AbstractSet[str | int] = frozenset(),
    sample: Mapping[str, Any] | None = None,
    dims: Mapping[str, int] | None = None,
    cache: str | None = None,
    progress: Progress = lambda _: None,
) -> Partitioned:
    """Cut a model into plain ONNX files, unless the folder has just these already.

    Args:
        model: The ONNX file; external data beside it.
        folder: Where the files go; made if it is not there.
        strategy: "paper": operators' own peaks added up from the last to the first;
            "optimal": least predicted latency within a peak; "whole": one file;
            "operators": a file an operator.
        limit_bytes: For "paper" what the peaks add up to, 85,000,000 by default; for
            "optimal" the peak of the process, 85 MiB by default.
        memory_intensive: For "paper": operators that stand alone, by index or as
            `operator_names` calls them; others are passed over.
        sample: Inputs by name to measure on; made up when not given.
        dims: Sizes of open dims for a sample that is made up.
        cache: As for `operator_peaks`; by default a file in `folder`.
        progress: Told what happens; may raise to interrupt. What is done is kept.

    Raises:
        ModelError: The model can't be read or run.
        UsageError: A strategy that does not exist; a file in the folder that is not ours.
        InfeasibleBudgetError: No optimal plan fits.
        UnavailableError: The disk is full or refuses.
    """
    if strategy not in STRATEGIES:
        raise UsageError(
            f"no strategy is called {strategy!r}", hint=f"There are: {', '.join(STRATEGIES)}."
        )
    defaults = {"paper": PAPER_LIMIT_BYTES, "optimal": OPTIMAL_BUDGET_BYTES}
    limit = limit_bytes if strategy in defaults and limit_bytes else defaults.get(strategy)
    options = _options(strategy, memory_intensive, sample, dims)
    known = _unchanged(model, folder, strategy, limit, options)
    if known is not None:
        return Partitioned(chain=known, is_new=False)
    original = _read(model, progress)
    if strategy in ("whole", "operators"):
        every = range(1, len(original.operators)) if strategy == "operators" else ()
        cuts = tuple(cut for cut in every if cut not in original.uncuttable)
    else:
        make_folder(folder)  # figures are kept there before there are files
        kept = cache or os.path.join(folder, FIGURES)
        graph = _graph(original, _measured(original, sample, dims, kept, progress))
        cuts = _planned_cuts(graph, strategy, limit or 0, memory_intensive, original.uncuttable)
    chain = cut_chain(
        original,
        folder,
        cuts,
        prefix=f"{Path(model).stem}_{'op' if strategy == 'operators' else 'split'}",
        strategy=strategy,
        limit_bytes=limit,
        options=options,
        progress=progress,
    )
    return Partitioned(chain=chain, is_new=True)


def verify_partitions(
    model: str,
    folder: str,
    *,
    samples: Sequence[Mapping[str, Any]] = (),
    dims: Mapping[str, int] | None = None,
    n_samples: int = 3,
    progress: Progress = lambda _: None,
) -> tuple[Chain, Difference]:
    """Compare plain onnxruntime on the whole model with the chain of its partitions.

    Args:
        model: The ONNX file.
        folder: Its partitions.
        samples: Inputs by name; made up from the signature when there are none.
        dims: Sizes of open dims for samples that are made up.
        n_samples: How many to make up.
        progress: Told what happens.

    Returns:
        The chain, and the largest difference over all samples, which
        `check_partitions_agree` judges.

    Raises:
        UsageError: No partitions, or another model's; nothing to compare.
        ModelError: A file is missing or damaged, or onnxruntime refuses it.
    """
    chain = load_chain(folder, model_path=model)
    progress("opening the model")
    plain = PlainModel(model)
    if not samples:
        original = read_original(model)
        first = choose_sample(original, dims=dims, sample=None)
        shapes = {name: shape_of(value) or () for name, value in first.items()}
        more = range(max(n_samples, 1) - 1)
        samples = [first, *(plain.made_up(shapes, seed=seed) for seed in more)]
    progress("opening the partitions")
    session = ChainSession(chain)
    total = Difference()
    for number, sample in enumerate(samples, 1):
        progress(f"sample {number} of {len(samples)}")
        known, mine = plain.run(sample), session.run(sample).outputs
        total = total.joined(
            compare(
                {name: exported(value) for name, value in known.items()},
                {name: exported(value) for name, value in mine.items()},
            )
        )
    if not total.n_values and total.within:
        raise UsageError(
            "nothing was compared: all outputs are empty", hint="Give other inputs with --input."
        )
    return chain, total


def check_partitions_agree(difference: Difference) -> None:
    """Refuse a chain whose category differs from the model's, or a value beyond tolerance.

    Raises:
        DifferenceError: See above.
    """
    if not difference.same_largest:
        raise DifferenceError("the partitions give another category than the model", hint=_HINT)
    try:
        check_agreement(difference)
    except DifferenceError as error:
        raise DifferenceError(error.message, hint=_HINT) from error


def _read(model: str, progress: Progress) -> Original:
    progress("reading the model")
    original = read_original(model)
    infer_value_types(original)
    return original


def _measured(
    original: Original,
    sample: Mapping[str, Any] | None,
    dims: Mapping[str, int] | None,
    cache: str | None,
    progress: Progress,
) -> OperatorFigures:
    progress("running plain onnxruntime")
    chosen = choose_sample(original, dims=dims, sample=sample)
    return measure_operators(original, chosen, cache=cache, progress=progress)


def _graph(original: Original, figures: OperatorFigures) -> Graph:
    """Return the planner's view of an original graph."""
    nodes = []
    for index, proto in enumerate(original.operators):
        names = original.reads[index]
        nodes.append(
            Node(
                name=proto.name,
                op_type=proto.op_type,
                domain=domain_of(proto),
                inputs=tuple(name for name in names if name in original.born),
                outputs=tuple(name for name in proto.output if name),
                weights=original.weights_of(index),
            )
        )
    weights = {name for node in nodes for name in node.weights}
    outputs = [value.name for value in original.outputs]
    return Graph(
        nodes=tuple(nodes),
        inputs=tuple(value.name for value in original.inputs),
        outputs=tuple(name for name in outputs if name not in original.constant_outputs),
        weight_bytes={name: original.weight_bytes(name) for name in sorted(weights)},
        value_bytes=figures.value_bytes,
        times_s=figures.times_s,
        workspace_bytes=(0,) * len(nodes),
    )


def _planned_cuts(
    graph: Graph,
    strategy: str,
    limit: int,
    memory_intensive: AbstractSet[str | int],
    uncuttable: frozenset[int],
) -> tuple[int, ...]:
    memory, rates = estimates()
    if strategy == "optimal":
        return plan_optimal(
            graph,
            budget_bytes=limit,
            memory=memory,
            rates=rates,
            uncuttable=uncuttable,
        ).cuts
    names = operator_names([node.name for node in graph.nodes])
    alone = {i for i, name in enumerate(names) if i in memory_intensive or name in memory_intensive}
    return plan_paper(
        graph,
        memory=memory,
        rates=rates,
        limit_bytes=limit,
        memory_intensive=alone,
        uncuttable=uncuttable,
    ).cuts


def _options(
    strategy: str,
    memory_intensive: AbstractSet[str | int],
    sample: Mapping[str, Any] | None,
    dims: Mapping[str, int] | None,
) -> dict[str, Any]:
    """Return what the cuts depend on beside model, strategy and limit, as JSON has it."""
    if strategy in ("whole", "operators"):
        return {}
    shapes = {name: shape_of(value) for name, value in (sample or {}).items()}
    return {
        "memory_intensive": sorted(map(str, memory_intensive)) if strategy == "paper" else [],
        "sample": {n: None if shape is None else list(shape) for n, shape in shapes.items()},
        "dims": dict(dims or {}),
    }


def _unchanged(
    model: str, folder: str, strategy: str, limit: int | None, options: Mapping[str, Any]
) -> Chain | None:
    """Return the chain that is there if it is what would be made, every file of it."""
    known = read_index(folder)
    if known is None or (known.strategy, known.limit_bytes, known.options) != (
        strategy,
        limit,
        options,
    ):
        return None
    try:
        check_model(known, model)
        return load_chain(folder)
    except (UsageError, ModelError):  # another model's, or not whole any more
        return None
