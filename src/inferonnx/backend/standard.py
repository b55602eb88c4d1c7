"""The standard's own backend interface (`onnx.backend.base`) over the sealed stream."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper
from onnx.backend.base import Backend, BackendRep

from inferonnx.app.host.arrays import to_numpy
from inferonnx.backend.everywhere import stream_everywhere
from inferonnx.errors import UsageError
from inferonnx.model import prepare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from onnx import ModelProto, NodeProto

    from inferonnx.app.host.session import Session
    from inferonnx.engine import PassEvent


class SealedRep(BackendRep):  # type: ignore[misc]  # onnx is not typed
    """A model that its first run takes apart, seals and opens: shapes come from the inputs.

    Attributes:
        n_partitions: Partitions of the sealed model; 0 before the first run.
        n_streamed: Blocks of weights that the last run read and opened.
    """

    def __init__(self, model: ModelProto, *, inline_bytes: int, layout: str) -> None:
        """Keep the model; arguments as for `SealedBackend.prepare`."""
        self._model = model
        self._inline_bytes = inline_bytes
        self._layout = layout
        self._session: Session | None = None
        self._events: list[PassEvent] = []
        constants = {tensor.name for tensor in model.graph.initializer}
        self._names = [v.name for v in model.graph.input if v.name not in constants]
        self.n_partitions = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def n_streamed(self) -> int:
        """Blocks of weights that the last run read and opened."""
        return sum(event.what == "load" for event in self._events)

    def run(self, inputs: Any, **_options: Any) -> tuple[Any, ...]:
        """Return the outputs, all of them, in the model's order.

        Args:
            inputs: Values in the order of the model's inputs, by their names, or the
                only one: arrays, lists for sequences, dicts for maps.

        Raises:
            ModelError: onnxruntime refuses the model.
            TensorError: An input does not fit.
            EngineError: onnxruntime fails a partition.
        """
        feeds = self._feeds(inputs)
        if self._session is None:
            self._session = self._open(feeds)
        self._events.clear()
        return tuple(to_numpy(value) for value in self._session.run(None, feeds))  # type: ignore[arg-type]  # no numpy yet

    def close(self) -> None:
        """Let the sealed model go."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _feeds(self, inputs: Any) -> Mapping[str, Any]:
        if isinstance(inputs, dict):
            return inputs
        values = inputs if isinstance(inputs, list | tuple) else [inputs]
        if len(values) != len(self._names):
            raise UsageError(f"the model has {len(self._names)} inputs, not {len(values)}")
        # A numpy scalar is a tensor of rank 0.
        return {
            name: np.asarray(value) if isinstance(value, np.generic) else value
            for name, value in zip(self._names, values, strict=True)
        }

    def _open(self, feeds: Mapping[str, Any]) -> Session:
        with os.fdopen(os.memfd_create("model"), "w+b") as file:
            file.write(self._model.SerializeToString())
            file.flush()
            path = f"/proc/self/fd/{file.fileno()}"
            with prepare(
                path, sample=feeds, layout=self._layout, inline_bytes=self._inline_bytes
            ) as prepared:
                session = stream_everywhere(prepared)
        session.trace(self._events.append)
        self.n_partitions = session.figures.n_partitions
        return session


class SealedBackend(Backend):  # type: ignore[misc]  # onnx is not typed
    """Runs models from sealed files that are cut at every possible place."""

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Return whether models run on `device`: on "CPU" only."""
        return device == "CPU"

    @classmethod
    def prepare(
        cls,
        model: ModelProto,
        device: str = "CPU",
        *,
        inline_bytes: int = 0,
        layout: str = "native",
        **_options: Any,
    ) -> SealedRep:
        """Return the model, to be sealed by its first run.

        Args:
            model: Any model that plain onnxruntime runs, its weights inside.
            device: "CPU".
            inline_bytes: Initializers of at most so many bytes are not streamed.
            layout: As for `model.prepare`.
            _options: Of other backends; the standard lets callers pass them.

        Raises:
            UsageError: Another device.
        """
        if not cls.supports_device(device):
            raise UsageError(f"there is no device {device!r}", hint="Use CPU.")
        return SealedRep(model, inline_bytes=inline_bytes, layout=layout)

    @classmethod
    def run_model(
        cls, model: ModelProto, inputs: Any, device: str = "CPU", **options: Any
    ) -> tuple[Any, ...]:
        """Seal a model, run it once and forget it; arguments as for `prepare` and `run`."""
        with cls.prepare(model, device, **options) as rep:
            return rep.run(inputs)

    @classmethod
    def run_node(
        cls,
        node: NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        **options: Any,
    ) -> tuple[Any, ...]:
        """Run one node as a model of its own.

        Args:
            node: The node.
            inputs: Values of its inputs that are there, in order, or the only one.
            device: "CPU".
            outputs_info: Not needed: onnxruntime infers types.
            options: `opset_version` of the node's domain (default: the newest); others
                as for `prepare`.
        """
        super().run_node(node, inputs, device, outputs_info, **options)  # checks the node
        values = inputs if isinstance(inputs, list | tuple) else [inputs]
        names = [name for name in node.input if name]
        infos = []
        for name, value in zip(names, values, strict=True):
            array = np.asarray(value)
            element = helper.np_dtype_to_tensor_dtype(array.dtype)
            infos.append(helper.make_tensor_value_info(name, element, array.shape))
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = helper.make_graph([node], "node", infos, outputs)
        version = options.pop("opset_version", onnx.defs.onnx_opset_version())
        opset = helper.make_opsetid(node.domain, version)
        model = helper.make_model_gen_version(graph, opset_imports=[opset])
        return cls.run_model(model, list(values), device, **options)
