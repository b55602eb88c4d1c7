"""The optimised graph while it is worked on: nodes, constants, weights, types.

A draft starts as onnxruntime saved it and is then changed in place by hoisting,
rewriting and splitting, each in its own module. `Prepared` reads the result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnx import helper, numpy_helper

from inferonnx.model.subgraphs import reads

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from onnx import NodeProto, SparseTensorProto, TensorProto, TypeProto, ValueInfoProto

    from inferonnx.model.weights import Weight

ONNX_DOMAIN = ""
MICROSOFT_DOMAIN = "com.microsoft"
NCHWC_DOMAIN = "com.microsoft.nchwc"


def domain_of(node: NodeProto) -> str:
    """Return the node's operator set, the default one by its short name."""
    return "" if node.domain == "ai.onnx" else str(node.domain)


@dataclass(slots=True, kw_only=True)
class Draft:
    """A graph under work.

    Attributes:
        ir_version: Of the optimised model.
        opsets: Version by domain.
        nodes: In topological order.
        inputs: What the caller gives, in the model's order, with declared types.
        outputs: What the caller gets, in the model's order.
        constants: Initializers that stay inside skeletons.
        sparse: Sparse initializers; they stay inside skeletons too.
        weights: Initializers that are streamed.
        types: Types of all values, once inferred.
        names: Every name taken, those inside bodies included.
    """

    ir_version: int
    opsets: dict[str, int]
    nodes: list[NodeProto]
    inputs: list[ValueInfoProto]
    outputs: list[str]
    constants: dict[str, TensorProto] = field(default_factory=dict)
    sparse: dict[str, SparseTensorProto] = field(default_factory=dict)
    weights: dict[str, Weight] = field(default_factory=dict)
    types: dict[str, TypeProto] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    _views: dict[tuple[object, ...], str] = field(default_factory=dict)

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return self.opsets.get(ONNX_DOMAIN, 1)

    def fresh(self, wanted: str) -> str:
        """Return `wanted`, or with a number if it is taken, and take it."""
        name, number = wanted, 1
        while name in self.names:
            name, number = f"{wanted}.{number}", number + 1
        self.names.add(name)
        return name

    def constant(self, wanted: str, value: np.ndarray[Any, Any]) -> str:
        """Add a small constant and return its name."""
        name = self.fresh(wanted)
        self.constants[name] = numpy_helper.from_array(value, name)
        return name

    def weight(self, wanted: str, weight: Weight) -> str:
        """Add a weight and return its name; the same view of the same tensor is added once."""
        key = (id(weight.stored), weight.shape, weight.transposed, weight.axis, weight.span)
        name = self._views.get(key, "")
        known = self.weights.get(name)
        if known is not None and known.stored is weight.stored:
            return name
        name = self.fresh(wanted)
        self.adopt(name, weight)
        return name

    def adopt(self, name: str, weight: Weight) -> None:
        """Add a weight under a name that is taken already: its own."""
        key = (id(weight.stored), weight.shape, weight.transposed, weight.axis, weight.span)
        self._views[key] = name
        self.weights[name] = weight

    def node(
        self,
        op_type: str,
        inputs: Iterable[str],
        output: str,
        *,
        name: str = "",
        domain: str = ONNX_DOMAIN,
        **attributes: Any,
    ) -> NodeProto:
        """Return a new node with one output; the caller puts it in its place."""
        made: NodeProto = helper.make_node(
            op_type, list(inputs), [output], name=name, domain=domain or None, **attributes
        )
        self.opsets.setdefault(domain, 1)
        return made

    def drop_unread(self) -> None:
        """Forget nodes that no output needs, and constants and weights that no node reads."""
        needed, live = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(reads(node))
                live.append(node)
        self.nodes = live[::-1]
        read = {name for node in self.nodes for name in reads(node)}
        self.constants = {name: t for name, t in self.constants.items() if name in read}
        self.sparse = {name: t for name, t in self.sparse.items() if name in read}
        self.weights = {name: w for name, w in self.weights.items() if name in read}
