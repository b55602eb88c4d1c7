"""The files of a chain, each optimised on its own, as one model taken apart.

Every file becomes a draft of its own and is rewritten by itself; then the drafts are put
one behind the other. Values that cross from file to file keep their names, all others
get one of their own. The edges of the files are known as cuts, so that exactly those
partitions can be sealed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from inferonnx.errors import ModelError
from inferonnx.model.chain.running import ChainSession
from inferonnx.model.draft import Draft
from inferonnx.model.load import load_model
from inferonnx.model.optimise import optimise
from inferonnx.model.prepare import (
    measured_model,
    open_dims,
    overridable,
    rewrite,
    sample_and_outputs,
)
from inferonnx.model.rows import RowsTrial
from inferonnx.model.sample import check_dims
from inferonnx.model.subgraphs import rename_reads
from inferonnx.model.types import infer_types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from onnx import ValueInfoProto

    from inferonnx.model.chain.index import Chain
    from inferonnx.model.prepared import Prepared

# Nothing is cut further: what a partition holds is read together however it is split.
_NO_PIECES = 2**62


class PreparedChain(NamedTuple):
    """A chain taken apart.

    Attributes:
        prepared: All files as one model; close it.
        cuts: First node of each file but the first; a file without nodes has none.
    """

    prepared: Prepared
    cuts: tuple[int, ...]


def prepare_chain(
    chain: Chain,
    *,
    dims: Mapping[str, int] | None = None,
    sample: Mapping[str, Any] | None = None,
    layout: str = "native",
    inline_bytes: int = 1024,
    progress: Callable[[str], None] = lambda _: None,
) -> PreparedChain:
    """Return the chain as one model taken apart, whose cuts are its files' edges.

    Args:
        chain: Its files are there.
        dims: Sizes of open dims by name, for the sample; others are 1.
        sample: Inputs by name to measure with; made up when not given.
        layout: As `prepare` has it, for every file.
        inline_bytes: Weights of at most this many bytes stay inside skeletons.
        progress: Told what is being done.

    Raises:
        ModelError: onnxruntime refuses a file, or the files are not of one model.
        UsageError: A dim that does not exist.
        TensorError: The sample does not fit the model.
        UnavailableError: There is no room to work in.
    """
    drafts: list[Draft] = []
    sessions: list[Any] = []
    declared: dict[str, ValueInfoProto] = {}
    notes: list[str] = []
    for number, link in enumerate(chain.links, 1):
        progress(f"optimising file {number} of {len(chain.links)}")
        file = load_model(chain.path(link))
        draft, session = optimise(file, layout=layout, inline_bytes=inline_bytes)
        drafts.append(draft)
        sessions.append(session)
        declared.update((value.name, value) for value in (*draft.inputs, *file.outputs))
        notes += overridable(file)
    _check_declared(chain, declared)
    inputs = [declared[name] for name in chain.inputs]
    check_dims(inputs, dims or {})
    progress("running plain onnxruntime")
    whole = ChainSession(chain, sessions=sessions)
    chosen, expected = sample_and_outputs(
        lambda s: whole.run(s).outputs, inputs, dims or {}, sample
    )
    seen: list[Mapping[str, Any]] = []
    whole.run(chosen, watch=lambda _link, values: seen.append(values))
    metadata = dict(sessions[0].get_modelmeta().custom_metadata_map) if sessions else {}
    sessions.clear()
    for number, (draft, values) in enumerate(zip(drafts, seen, strict=True), 1):
        progress(f"rewriting file {number} of {len(drafts)}")
        notes += rewrite(draft, values, layout=layout, piece_bytes=_NO_PIECES)
        infer_types(draft)
    joined = _joined(chain, drafts, inputs)
    notes += open_dims(joined, chosen, given=sample is not None)
    prepared = measured_model(
        joined,
        chosen,
        expected,
        declared=[declared[name] for name in chain.outputs],
        rows=RowsTrial(False),
        metadata=metadata,
        notes=list(dict.fromkeys(notes)),
        say=progress,
    )
    return PreparedChain(prepared, _edges(drafts))


def _check_declared(chain: Chain, declared: Mapping[str, ValueInfoProto]) -> None:
    missing = [name for name in (*chain.inputs, *chain.outputs) if name not in declared]
    if missing:
        raise ModelError(f"no file of {chain.folder!r} has {missing[0]!r}", where=chain.folder)


def _edges(drafts: Iterable[Draft]) -> tuple[int, ...]:
    """Return the node before which each file but the first begins."""
    cuts: list[int] = []
    n_nodes = 0
    for draft in drafts:
        if draft.nodes:
            cuts.append(n_nodes)
        n_nodes += len(draft.nodes)
    return tuple(cuts[1:])


def _joined(chain: Chain, drafts: list[Draft], inputs: list[ValueInfoProto]) -> Draft:
    """Return the drafts one behind the other; they are used up.

    Raises:
        ModelError: They have different versions of an operator set.
    """
    joined = Draft(
        ir_version=max((draft.ir_version for draft in drafts), default=4),
        opsets={},
        nodes=[],
        inputs=inputs,
        outputs=list(chain.outputs),
        names=set(chain.inputs).union(*(link.outputs for link in chain.links)),
    )
    joined.types = {value.name: value.type for value in inputs}
    for draft in drafts:
        for domain, version in draft.opsets.items():
            if joined.opsets.setdefault(domain, version) != version:
                raise ModelError(
                    f"files of {chain.folder!r} have versions {joined.opsets[domain]} and "
                    f"{version} of operator set {domain or 'ai.onnx'!r}",
                    hint="They are not of one model.",
                )
        _append(joined, draft)
    return joined


def _append(joined: Draft, draft: Draft) -> None:
    """Put a draft behind what is there, its inner names made unique."""
    edge = {*draft.outputs, *(value.name for value in draft.inputs)}
    made = {name for node in draft.nodes for name in node.output if name}
    inner = (made | draft.constants.keys() | draft.weights.keys() | draft.sparse.keys()) - edge
    new: dict[str, str] = {}
    for name in sorted(inner & joined.names):
        wanted, number = name, 1
        while wanted in joined.names or wanted in draft.names:
            wanted, number = f"{name}.{number}", number + 1
        new[name] = wanted
        draft.names.add(wanted)
    for node in draft.nodes if new else ():
        rename_reads(node, new)
        for place, name in enumerate(node.output):
            node.output[place] = new.get(name, name)
    for tensor in draft.constants.values():
        tensor.name = new.get(tensor.name, tensor.name)
    for sparse in draft.sparse.values():
        sparse.values.name = new.get(sparse.values.name, sparse.values.name)
    joined.nodes += draft.nodes
    joined.constants |= {new.get(name, name): tensor for name, tensor in draft.constants.items()}
    joined.sparse |= {new.get(name, name): tensor for name, tensor in draft.sparse.items()}
    joined.weights |= {new.get(name, name): weight for name, weight in draft.weights.items()}
    for name, kind in draft.types.items():
        joined.types.setdefault(new.get(name, name), kind)
    joined.names |= draft.names
