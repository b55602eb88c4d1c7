"""From an ONNX file to a model taken apart, step by step."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from inferonnx.errors import InferonnxError, ModelError, UsageError
from inferonnx.model.draft import NCHWC_DOMAIN
from inferonnx.model.load import load_model
from inferonnx.model.measure import measure, seen_shapes
from inferonnx.model.onnxruntime_door import reason
from inferonnx.model.optimise import optimise
from inferonnx.model.prepared import Prepared, Signature, build_graph
from inferonnx.model.rewrite_matmul import rewrite_matmuls
from inferonnx.model.sample import check_dims, check_sample, synthesised
from inferonnx.model.split_gather import split_gathers
from inferonnx.model.subgraphs import reads
from inferonnx.model.types import dims_of, infer_types, type_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onnx import ValueInfoProto

    from inferonnx.model.draft import Draft

# Kinds of values that may cross a cut; an optional or sparse one may not.
_CARRIED = ("tensor_type", "sequence_type", "map_type")

LAYOUTS = ("native", "generic", "original")


def prepare(
    path: str | os.PathLike[str],
    *,
    dims: Mapping[str, int] | None = None,
    sample: Mapping[str, Any] | None = None,
    layout: str = "native",
    piece_bytes: int = 10 * 2**20,
    inline_bytes: int = 1024,
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
    chosen, expected = _run_plain(plain, draft.inputs, dims or {}, sample)
    metadata = dict(plain.get_modelmeta().custom_metadata_map)
    outputs = _signatures(plain.get_outputs())
    del plain
    notes = _rewrite(draft, chosen, layout=layout, piece_bytes=piece_bytes)
    infer_types(draft)
    uncuttable = _uncuttable(draft)
    measured = measure(draft, chosen, uncuttable=uncuttable, progress=say)
    return Prepared(
        graph=build_graph(draft, measured),
        inputs=tuple(
            Signature(value.name, type_text(value.type), dims_of(value.type))
            for value in draft.inputs
        ),
        outputs=outputs,
        metadata=metadata,
        notes=notes,
        uncuttable=uncuttable,
        sample=chosen,
        layout="generic",
        probe=None,
        expected=expected,
        shapes=measured.shapes,
        _draft=draft,
        _measured=measured,
    )


def _rewrite(
    draft: Draft, sample: Mapping[str, Any], *, layout: str, piece_bytes: int
) -> tuple[str, ...]:
    """Rewrite and split the draft's operators in place, unless the graph shall stay as it is."""
    if layout == "original":
        return ()
    session = infer_types(draft)
    shapes = seen_shapes(draft, session, sample, _uncuttable(draft))
    notes = rewrite_matmuls(draft, shapes, piece_bytes=piece_bytes)
    return notes + split_gathers(draft, piece_bytes=piece_bytes)


def _uncuttable(draft: Draft) -> frozenset[int]:
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


def _run_plain(
    plain: Any,
    inputs: list[ValueInfoProto],
    dims: Mapping[str, int],
    sample: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a sample that the model takes, and plain onnxruntime's outputs on it."""
    names = [value.name for value in plain.get_outputs()]
    if sample is not None:
        check_sample(inputs, sample)
        try:
            return dict(sample), dict(zip(names, plain.run(None, dict(sample)), strict=True))
        except Exception as error:
            raise ModelError(
                f"onnxruntime fails on the given input: {reason(error)}",
                hint="Give an input that the model takes.",
            ) from error
    failure: Exception | None = None
    for trial in synthesised(inputs, dims):
        try:
            return trial, dict(zip(names, plain.run(None, trial), strict=True))
        except Exception as error:  # onnxruntime's classes have no common base but this
            failure = failure or error
    raise ModelError(
        "the model does not run on a made-up input: " + reason(failure or Exception("none")),
        hint="Give a sample with --input, or the sizes of its open dims with --dim.",
    ) from failure


def _signatures(args: Any) -> tuple[Signature, ...]:
    return tuple(Signature(arg.name, arg.type, tuple(arg.shape)) for arg in args)
