"""From an ONNX file to a model taken apart, step by step."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from inferonnx.errors import ModelError, UsageError
from inferonnx.model.agree import NODE_TOLERANCE, differing, is_float
from inferonnx.model.layout import layout_of, probe_of
from inferonnx.model.load import load_model
from inferonnx.model.measure import count, seen_shapes, time_nodes
from inferonnx.model.onnxruntime_door import reason
from inferonnx.model.optimise import optimise
from inferonnx.model.prepared import Prepared, Signature, build_graph
from inferonnx.model.rewrite_matmul import rewrite_matmuls
from inferonnx.model.rows import RowsTrial, are_free, try_rows
from inferonnx.model.sample import check_dims, check_sample, synthesised
from inferonnx.model.split_embedding import split_embeddings
from inferonnx.model.subgraphs import all_graphs, bodies, reads
from inferonnx.model.types import dims_of, infer_types, may_be, type_text
from inferonnx.model.values import run_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onnx import ValueInfoProto

    from inferonnx.model.draft import Draft
    from inferonnx.model.load import ModelFile
    from inferonnx.model.walk import Measured

# How long to look for a sample whose answers are finite, once one runs at all.
_TRIALS_S = 5.0

# From this IR version on, an input with an initializer is one with a default.
_OVERRIDABLE_IR = 4

# Kinds of values that may cross a cut; an optional or sparse one may not.
_CARRIED = ("tensor_type", "sequence_type", "map_type")

# Operators that draw random numbers.
_RANDOM = frozenset(
    {
        "Bernoulli",
        "Dropout",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)

LAYOUTS = ("native", "generic", "original")


def prepare(
    path: str | os.PathLike[str],
    *,
    dims: Mapping[str, int] | None = None,
    sample: Mapping[str, Any] | None = None,
    layout: str = "native",
    piece_bytes: int = 9 * 2**20,
    inline_bytes: int = 1024,
    try_batch: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Prepared:
    """Return the ONNX model at `path` taken apart.

    Args:
        path: An ONNX file; its external data lies beside it.
        dims: Sizes of open dims by name, for the sample; others are 1.
        sample: Arrays (lists, dicts for sequences and maps) by input name, to measure
            with; made up from the signature when not given.
        layout: "native": onnxruntime's full optimisation, for this machine's CPU;
            "generic": without operators that only some CPUs have; "original": the
            graph as the file has it.
        piece_bytes: Weights larger than this are split into pieces where that is exact.
        inline_bytes: Weights of at most this many bytes stay inside skeletons.
        try_batch: Find out whether rows of a batch are independent, which takes some runs.
        progress: Told what is being done, a few words at a time.

    Raises:
        ModelError: The file is no valid model, or onnxruntime does not run it.
        UsageError: A dim or layout that does not exist.
        TensorError: The sample does not fit the model.
        UnavailableError: The file can't be read, or there is no room to work in.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"there is no layout {layout!r}", hint=f"Use {', '.join(LAYOUTS)}.")
    say = progress or (lambda _: None)
    say("reading the model")
    model = load_model(os.fspath(path))
    say("optimising")
    draft, plain = optimise(model, layout=layout, inline_bytes=inline_bytes)
    check_dims(draft.inputs, dims or {})
    say("running plain onnxruntime")
    run = partial(run_whole, plain)
    chosen, expected = sample_and_outputs(run, draft.inputs, dims or {}, sample)
    if try_batch:
        say("trying a batch")
    rows = try_rows(draft, plain, chosen) if try_batch else RowsTrial(False)
    metadata = dict(plain.get_modelmeta().custom_metadata_map)
    del plain, run
    notes = [*overridable(model), *open_dims(draft, chosen, given=sample is not None)]
    notes += rewrite(draft, chosen, layout=layout, piece_bytes=piece_bytes)
    infer_types(draft)
    return measured_model(
        draft,
        chosen,
        expected,
        declared=model.outputs,
        rows=rows,
        metadata=metadata,
        notes=notes,
        say=say,
    )


def measured_model(
    draft: Draft,
    sample: dict[str, Any],
    expected: dict[str, Any],
    *,
    declared: Sequence[ValueInfoProto],
    rows: RowsTrial,
    metadata: dict[str, str],
    notes: Sequence[str],
    say: Callable[[str], None],
) -> Prepared:
    """Return a finished draft as a model taken apart: measured on a sample, and checked.

    Args:
        draft: Rewritten, its types known.
        sample: The input to measure with.
        expected: What plain onnxruntime answers to it.
        declared: The outputs as the file has them.
        rows: What came of trying a batch.
        metadata: The model's own.
        notes: What was treated specially so far.
        say: Told what is being done.

    Raises:
        ModelError: Taken apart, the model computes something else.
    """
    found = list(notes)
    uncuttable = uncuttable_cuts(draft)
    say("measuring activations")
    measured = count(draft, sample, uncuttable=uncuttable)
    # Below this, sealing would refuse; some operators are less exact with packed weights
    # and must have them as constants to give the same answer.
    repeatable = not _draws_random_numbers(draft)
    if not repeatable:
        found.append("the model draws random numbers: its answers can't be compared")
    elif differing(measured.outputs, expected, NODE_TOLERANCE):
        measured = _mended(draft, sample, expected, uncuttable, found)
    say("measuring times")
    time_nodes(draft, sample, measured, uncuttable=uncuttable)
    found += _kept_whole(draft, measured, uncuttable)
    found += [rows.note] if rows.note else []
    inputs = tuple(Signature(v.name, type_text(v.type), dims_of(v.type)) for v in draft.inputs)
    outputs = _output_signatures(declared, draft, measured)
    return Prepared(
        graph=build_graph(draft, measured),
        inputs=inputs,
        outputs=outputs,
        rows_independent=rows.independent and are_free([v.shape for v in (*inputs, *outputs)]),
        repeatable=repeatable,
        metadata=metadata,
        notes=tuple(found),
        uncuttable=uncuttable,
        sample=sample,
        layout=layout_of(draft),
        probe=probe_of(draft),
        expected=expected,
        shapes=measured.shapes,
        _draft=draft,
        _measured=measured,
    )


def rewrite(
    draft: Draft, sample: Mapping[str, Any], *, layout: str, piece_bytes: int
) -> tuple[str, ...]:
    """Rewrite and split the draft's operators in place, unless the graph shall stay as it is."""
    if layout == "original" or not draft.nodes:
        return ()
    session = infer_types(draft)
    shapes = seen_shapes(draft, session, sample, uncuttable_cuts(draft))
    notes = rewrite_matmuls(draft, shapes, piece_bytes=piece_bytes)
    return notes + split_embeddings(draft, piece_bytes=piece_bytes)


def uncuttable_cuts(draft: Draft) -> frozenset[int]:
    """Return the cuts that a value crosses which can't be carried from session to session."""
    last_use = {name: i for i, node in enumerate(draft.nodes) for name in reads(node)}
    last_use |= dict.fromkeys(draft.outputs, len(draft.nodes))
    born = {value.name: 0 for value in draft.inputs}
    born |= {name: i + 1 for i, node in enumerate(draft.nodes) for name in node.output if name}
    cuts: set[int] = set()
    for name, first in born.items():
        if draft.types[name].WhichOneof("value") not in _CARRIED:
            cuts.update(range(max(first, 1), min(last_use.get(name, 0), len(draft.nodes) - 1) + 1))
    return frozenset(cuts)


def _mended(
    draft: Draft,
    sample: Mapping[str, Any],
    expected: Mapping[str, Any],
    uncuttable: frozenset[int],
    notes: list[str],
) -> Measured:
    """Find nodes that compute something else with weights as inputs, and pin their weights.

    Raises:
        ModelError: The answers stay different, and no rounding explains it.
    """
    measured = count(draft, sample, uncuttable=uncuttable, distrust=True)
    wrong = differing(measured.outputs, expected)
    if not wrong:
        return measured
    floats = [name for name in wrong if is_float(expected[name])]
    if floats:
        raise ModelError(
            f"taken apart, the model computes another {floats[0]!r} than plain onnxruntime",
            where=floats[0],
            hint="This is a fault of inferonnx, not of the model: please report it.",
        )
    notes.append(
        f"on the sample, output {wrong[0]!r} differs from plain onnxruntime: its values are not "
        "floats and turn on the rounding of some"
    )
    return measured


def _draws_random_numbers(draft: Draft) -> bool:
    """Return whether a node takes its seed from its place in the graph, which cutting changes."""
    nodes = list(draft.nodes)
    nodes += [
        n for node in draft.nodes for b in bodies(node) for g in all_graphs(b) for n in g.node
    ]
    return any(
        node.op_type in _RANDOM and not any(a.name == "seed" for a in node.attribute)
        for node in nodes
    )


def open_dims(draft: Draft, sample: Mapping[str, Any], *, given: bool) -> list[str]:
    """Return a note on the sizes that open dims were measured with."""
    if given:
        return []
    sizes: dict[str, int] = {}
    for value in draft.inputs:
        dims = dims_of(value.type) or ()
        shape = getattr(sample.get(value.name), "shape", ())
        for place, (dim, size) in enumerate(zip(dims, shape, strict=False)):
            if not isinstance(dim, int):
                sizes[dim or f"{value.name}[{place}]"] = size
    if not sizes:
        return []
    listed = ", ".join(f"{name}={size}" for name, size in sizes.items())
    return [f"measured with open dims {listed}; --dim or --input measure with others"]


def overridable(model: ModelFile) -> list[str]:
    """Return a note if the model lets callers replace initializers, which a sealed one does not."""
    if model.ir_version < _OVERRIDABLE_IR:
        return []  # there, every initializer had to be an input
    names = [name for name in model.inputs if name in model.initialized]
    if not names:
        return []
    return [f"{len(names)} inputs that have a default, such as {names[0]!r}, are constants here"]


def _kept_whole(draft: Draft, measured: Measured, uncuttable: frozenset[int]) -> list[str]:
    """Return notes on what can't be cut or streamed."""
    notes = []
    if uncuttable:
        notes.append(
            f"{len(uncuttable)} of {max(len(draft.nodes) - 1, 0)} cuts are not possible: an "
            "optional or sparse value would cross them"
        )
    for name in sorted(measured.pinned):
        readers = [node for node in draft.nodes if name in reads(node)]
        notes.append(
            f"weight {name!r}, {draft.weights[name].n_bytes} bytes, is not streamed: "
            f"{readers[0].op_type} takes it only as a constant"
        )
    return notes


def _output_signatures(
    outputs: Sequence[ValueInfoProto], draft: Draft, measured: Measured
) -> tuple[Signature, ...]:
    """Return the outputs as the file declares them, where that is no lie on the sample."""
    declared = {value.name: value.type for value in outputs}
    signatures = []
    for name in draft.outputs:
        inferred = draft.types[name]
        claimed, dims = dims_of(declared[name]), dims_of(inferred)
        seen = measured.shapes.get(name)
        if claimed is not None and seen is not None and may_be(claimed, seen):
            dims = claimed
        signatures.append(Signature(name, type_text(inferred), dims))
    return tuple(signatures)


def sample_and_outputs(
    run: Callable[[Mapping[str, Any]], dict[str, Any]],
    inputs: list[ValueInfoProto],
    dims: Mapping[str, int],
    sample: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a sample that the model takes, and plain onnxruntime's outputs on it.

    Args:
        run: Plain onnxruntime on the model; its exceptions may pass through.
        inputs: What the caller gives.
        dims: Sizes of open dims by name; others are 1 at first.
        sample: The one to take, or None to make one up.

    Raises:
        ModelError: The model does not run on it.
        TensorError: The sample does not fit the model.
    """
    if sample is not None:
        # numpy's scalars are what its functions return for arrays of rank 0.
        sample = {k: np.asarray(v) if isinstance(v, np.generic) else v for k, v in sample.items()}
        check_sample(inputs, sample)
        try:
            return dict(sample), run(sample)
        except Exception as error:
            raise ModelError(
                f"onnxruntime fails on the given input: {reason(error)}",
                hint="Give an input that the model takes.",
            ) from error
    failure: Exception | None = None
    fallback: tuple[dict[str, Any], dict[str, Any]] | None = None
    deadline = time.monotonic() + _TRIALS_S
    for trial in synthesised(inputs, dims):
        if fallback is not None and time.monotonic() > deadline:
            break
        try:
            results = run(trial)
        except Exception as error:  # onnxruntime's classes have no common base but this
            failure = failure or error
            continue
        if all(np.isfinite(v).all() for v in results.values() if is_float(v)):
            return trial, results
        fallback = fallback or (trial, results)
    if fallback is not None:
        return fallback
    why = "they would be too large" if failure is None else reason(failure)
    raise ModelError(
        f"the model does not run on made-up inputs: {why}",
        hint="Give a sample with --input, or the sizes of its open dims with --dim.",
    ) from failure
